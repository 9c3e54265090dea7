package gitops

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/provender-dev/provender/internal/problem"
)

// packOf returns a pack of one object, and the checksum left out.
func packOf(kind byte, length uint64, content []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), 1)
	c := kind<<4 | byte(length&15)
	for length >>= 4; length > 0; length >>= 7 {
		b = append(b, c|0x80)
		c = byte(length & 0x7f)
	}
	b = append(b, c)
	if kind == 7 { // a delta, of an object that is named
		b = append(b, make([]byte, 20)...)
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, _ = z.Write(content)
	_ = z.Close()
	return append(b, packed.Bytes()...)
}

// What says that it is too long, or is longer than it says, is not unpacked.
func TestPackTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		pack []byte
		code problem.Code
	}{
		"blob":                  {packOf(3, maxInflated+1, nil), problem.Exhausted},
		"more than an int":      {packOf(3, 1<<62, nil), problem.Internal},
		"delta":                 {packOf(7, 9, append([]byte{1}, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0)), problem.Exhausted},
		"delta without lengths": {packOf(7, 2, []byte{0xff, 0xff}), problem.Exhausted},
		"longer than it says":   {packOf(3, 10, bytes.Repeat([]byte{0}, 1<<20)), problem.Internal},
		"nothing":               {nil, problem.Internal},
		"no pack":               {[]byte("PUCK00000000"), problem.Internal},
	} {
		err := unpack(memory.NewStorage(), c.pack)
		if err == nil || problem.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server may answer anything.
func TestHostileServer(t *testing.T) {
	refs := "001e# service=git-upload-pack\n0000"
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>" + strings.Repeat("x", 1000)))
		},
		"an error":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary", http.StatusInternalServerError) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(refs + "00b1cafe")) },
		"no references": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(refs + "0000"))
		},
		"no end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(refs))
			line := []byte("003d1111111111111111111111111111111111111111 refs/heads/aaaaaaa\n")[:61]
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat(line, 1000)); err != nil {
					return
				}
			}
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/info/refs", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(answer))
			defer server.Close()
			w := newWorld(t)
			r := w.reconciler("git:"+strings.Replace(server.URL, "://", "://u:canary@", 1)+"/r.git", false)
			w.expect(r, Failed, 0)
			if s := r.Status(); strings.Contains(s.Message+w.log.String(), "canary") {
				t.Errorf("%s", s.Message)
			}
		})
	}
}

// FuzzPack: no bytes make the reading of a pack panic, beyond what look catches, or hang.
func FuzzPack(f *testing.F) {
	dir := f.TempDir()
	script := `git init -q . && echo 'kind: Entity' >a.yaml && git add . &&
		git -c user.name=a -c user.email=a@b commit -qm a && echo '# more' >>a.yaml &&
		git -c user.name=a -c user.email=a@b commit -qam b && git rev-list --objects --all | git pack-objects -q --stdout >pack`
	c := exec.Command("sh", "-ec", script)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
	pack, err := os.ReadFile(filepath.Join(dir, "pack"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pack)
	f.Add(packOf(7, 9, []byte{1, 0x80, 1, 0x90, 1}))
	f.Fuzz(func(t *testing.T, pack []byte) {
		read := func() (err error) {
			defer caught(&err)
			objects := memory.NewStorage()
			if err := unpack(objects, pack); err != nil {
				return err
			}
			for hash := range objects.Commits {
				if _, err := readCommit(context.Background(), objects, hash, "."); err != nil {
					return err
				}
			}
			return nil
		}
		_ = read()
	})
}
