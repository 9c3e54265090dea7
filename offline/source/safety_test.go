package source_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/test/stores"
)

// Names that lead elsewhere once they were listed, as somebody may arrange who can write below a root: nothing but the file
// that was listed is opened, and nothing is waited for.
func TestNamesThatMoveBetweenListAndOpen(t *testing.T) {
	secret := t.TempDir()
	tree(t, secret, "a.parquet", "in/a.parquet")
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	for name, test := range map[string]struct {
		moved string // what is replaced
		by    func(path string) error
		want  string
	}{
		"a link to a file outside":   {"v/in/a.parquet", link(filepath.Join(secret, "a.parquet")), "escapes"},
		"a folder that is outside":   {"v/in", link(filepath.Join(secret, "in")), "escapes"},
		"a relative link outside":    {"v/in", link("../../../../../../../../../.." + filepath.Join(secret, "in")), "escapes"},
		"a link to itself":           {"v/in/a.parquet", link("a.parquet"), "too many levels"},
		"a link to another file":     {"v/in/a.parquet", link("b.parquet"), "has changed since it was listed"},
		"a folder":                   {"v/in/a.parquet", func(path string) error { return os.Mkdir(path, 0o755) }, "has changed since it was listed"},
		"a pipe that nobody writes":  {"v/in/a.parquet", func(path string) error { return syscall.Mkfifo(path, 0o644) }, "has changed since it was listed"},
		"nothing":                    {"v/in/a.parquet", func(string) error { return nil }, "is gone since it was listed"},
		"a root that is another now": {"v", link(secret), "has changed since it was listed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tree(t, dir, "v/in/a.parquet", "v/in/b.parquet")
			files := source.New(dir, map[string]string{"lake": "v"})
			list, err := files.List(t.Context(), []string{"lake:in/a.parquet"})
			if err != nil {
				t.Fatal(err)
			}
			moved := filepath.Join(dir, filepath.FromSlash(test.moved))
			if err := os.RemoveAll(moved); err != nil {
				t.Fatal(err)
			}
			if err := test.by(moved); err != nil {
				t.Fatal(err)
			}
			h, err := files.Open(t.Context(), list[0])
			if err == nil {
				_ = h.Close()
				t.Fatal("it was opened")
			}
			if !strings.HasPrefix(err.Error(), "lake:in/a.parquet") || !strings.Contains(err.Error(), test.want) || problem.CodeOf(err) == problem.Internal {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

// A root may be a link: whoever writes provender.yaml says what may be read.
func TestRootsMayBeLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	tree(t, elsewhere, "v/a.parquet")
	if err := os.Symlink(elsewhere, filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	list, err := source.New(dir, map[string]string{"lake": "data"}).List(t.Context(), []string{"lake:v"})
	if err != nil || len(list) != 1 {
		t.Errorf("%d files: %v", len(list), err)
	}
	if list, err := source.New(dir, nil).List(t.Context(), []string{"data/v"}); err == nil {
		t.Errorf("without a root the link leads out: %s", paths(list))
	}
}

// nameServer answers every question for an A record with an address, and makes it the one that names are looked up with.
func nameServer(t *testing.T, address *atomic.Pointer[net.IP]) {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answer(buf[:n], *address.Load()), from)
		}
	}()
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = usual
		_ = conn.Close()
	})
}

// answer is the DNS message that answers a question.
func answer(question []byte, ip net.IP) []byte {
	end := 12
	for question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5
	a := append([]byte{question[0], question[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
	if v4 := ip.To4(); binary.BigEndian.Uint16(question[end-4:]) == 1 {
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, v4[0], v4[1], v4[2], v4[3])
	}
	return a
}

// The address that counts is the one that is connected to, whatever a name led to before.
func TestNamesThatLeadToMetadata(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		scheme := "gs"
		if r.URL.Query().Has("list-type") {
			scheme = "s3"
		}
		fmt.Fprintf(w, listings[scheme], false, "")
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var address atomic.Pointer[net.IP]
	nameServer(t, &address)
	for _, scheme := range []string{"s3", "gs"} {
		s := &stores.Store{Scheme: scheme, Endpoint: "http://lake.rebinding.test:" + at.Port()}
		s.Setenv(t, "")
		list := func(ip string) error {
			to := net.ParseIP(ip)
			address.Store(&to)
			_, err := source.New(t.TempDir(), map[string]string{"lake": s.URL(stores.Lake, "p")}).List(t.Context(), []string{"lake:**"})
			return err
		}
		requests.Store(0)
		if err := list("127.0.0.1"); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		for _, ip := range []string{"169.254.169.254", "169.254.1.1", "100.100.100.200", "168.63.129.16", "0.0.0.0"} {
			if err := list(ip); err == nil || !strings.Contains(err.Error(), ip+" is a link-local or metadata address") {
				t.Errorf("%s at %s: %v", scheme, ip, err)
			}
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%s: %d requests", scheme, n)
		}
	}
}

// Endpoints that name such an address, however it is written; those of a private network are none.
func TestMetadataEndpoints(t *testing.T) {
	list := func(root string) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is to be sent
		_, err := source.New(t.TempDir(), map[string]string{"lake": root}).List(ctx, []string{"lake:**"})
		return err
	}
	for _, host := range []string{
		"169.254.169.254", "169.254.170.2", "[fe80::1]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]",
		"[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "metadata.google.internal", "METADATA.google.internal.", "[::]", "224.0.0.1",
	} {
		if err := list("s3://lake/p?endpoint=http://" + url.QueryEscape(host)); err == nil || !strings.Contains(err.Error(), "link-local or metadata address") {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"10.0.0.1", "192.168.1.1:9000", "[fd12::1]", "[64:ff9b::a00:1]", "[2002:a00:1::1]", "minio"} {
		if err := list("s3://lake/p?endpoint=http://" + url.QueryEscape(host)); err == nil || strings.Contains(err.Error(), "metadata") {
			t.Errorf("%s: %v", host, err)
		}
	}
	// A bucket's name may be what makes the name of such a host; a proxy might look it up.
	root := "s3://metadata/p?path_style=false&endpoint=http://google.internal"
	t.Setenv("AWS_ACCESS_KEY_ID", stores.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", stores.Secret)
	if _, err := source.New(t.TempDir(), map[string]string{"lake": root}).List(t.Context(), []string{"lake:**"}); err == nil ||
		!strings.Contains(err.Error(), "metadata.google.internal is a link-local or metadata address") {
		t.Errorf("%v", err)
	}
}
