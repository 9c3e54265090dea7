package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/registry/definition"
)

// patient is a doctor for a new project, whose configuration is a few lines of YAML.
func patient(t *testing.T, yaml string) *doctor {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "provender.yaml"), []byte("version: 1\nproject: test\n"+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Open(dir, definition.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p.doctor(t.Context(), slog.New(slog.DiscardHandler))
}

// finds returns what a look finds, by name. What is not well says how to mend it.
func (d *doctor) finds(t *testing.T, at func(*doctor, context.Context) []checkup.Check) map[string]checkup.Check {
	t.Helper()
	found := map[string]checkup.Check{}
	for _, c := range at(d, t.Context()) {
		if _, twice := found[c.Name]; twice || c.Name == "" || c.Text == "" || c.State != checkup.OK && c.Fix == "" {
			t.Errorf("%+v", c)
		}
		found[c.Name] = c
	}
	return found
}

func want(t *testing.T, c checkup.Check, state checkup.State, parts ...string) {
	t.Helper()
	if c.State != state {
		t.Errorf("%+v, want %s", c, state)
	}
	for _, part := range parts {
		if !strings.Contains(c.Text+" fix: "+c.Fix, part) {
			t.Errorf("%q is not in %+v", part, c)
		}
	}
}

// What hangs does not keep the others from being told, nor whoever asks from an answer.
func TestDoctorDoesNotHang(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	well := func(*doctor, context.Context) []checkup.Check { return []checkup.Check{{Name: "well"}} }
	stuck := func(*doctor, context.Context) []checkup.Check { <-hang; return nil }
	found := (&doctor{}).examine(t.Context(), []look{{"first", stuck}, {"well", well}, {"second", stuck}}, 10*time.Millisecond)
	if len(found) != 3 || found[1].Name != "well" {
		t.Fatalf("%+v", found)
	}
	want(t, found[0], checkup.Error, "no answer within 10ms")
	want(t, found[2], checkup.Error, "no answer within 10ms")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir, addr := t.TempDir(), silent.Addr().String()
	for _, yaml := range []string{
		"online: redis://" + addr + "\n",
		"registry: postgres://me:secret@" + addr + "/x?sslmode=disable\n",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		d := patient(t, "roots: {lake: "+dir+"}\n"+yaml)
		names := map[string]checkup.State{}
		for _, c := range d.Doctor(ctx, d.logger) {
			names[c.Name] = c.State
		}
		cancel()
		if (names["online store"] == checkup.Error) == (names["registry"] == checkup.Error) || names["root lake"] != checkup.OK || names["memory"] != checkup.OK {
			t.Errorf("%s%v", yaml, names)
		}
	}
}

func TestDoctorClocks(t *testing.T) {
	d := patient(t, "registry: "+postgres.Database(t)+"\nonline: "+onlinetest.StartRedis(t)+"\n")
	for _, c := range []struct {
		ahead time.Duration
		state checkup.State
		text  string
	}{
		{0, checkup.OK, "this machine's"},
		{750 * time.Millisecond, checkup.Warning, "behind this machine's"},
		{-3 * time.Second, checkup.Error, "ahead of this machine's"},
		{3 * time.Second, checkup.Error, "behind this machine's"},
	} {
		d.now = func() time.Time { return time.Now().Add(c.ahead) }
		found := d.finds(t, (*doctor).lookAtClocks)
		for _, name := range []string{"clock and registry", "clock and online store"} {
			want(t, found[name], c.state, c.text)
		}
	}
	d.kernel = func() (synchronised, known bool) { return false, true }
	want(t, d.finds(t, (*doctor).lookAtClocks)["clock"], checkup.Warning, "chrony")
	d.kernel = func() (synchronised, known bool) { return true, true }
	want(t, d.finds(t, (*doctor).lookAtClocks)["clock"], checkup.OK, "synchronised")
	d.kernel = func() (synchronised, known bool) { return false, false }
	if c, told := d.finds(t, (*doctor).lookAtClocks)["clock"]; told {
		t.Errorf("%+v", c)
	}
	found := d.finds(t, (*doctor).lookAtVersions)
	want(t, found["versions"], checkup.OK, "Provender ", "go1.", "PostgreSQL ", "schema version 2")
	want(t, found["servers"], checkup.OK, "none says")
}

// A slow answer is no proof of a clock that is wrong.
func TestClockWithinRoundTrip(t *testing.T) {
	c := checkup.Clocks("clock", []checkup.Offset{{Server: "far", Ahead: 2 * time.Second, Within: 1900 * time.Millisecond}})
	want(t, c, checkup.OK, "that of far is 2s ahead", "± 1.9s")
	c = checkup.Clocks("clock", []checkup.Offset{{Server: "a", Ahead: -2 * time.Second}, {Server: "b", Ahead: 600 * time.Millisecond}})
	want(t, c, checkup.Error, "that of a is 2s behind", "that of b is 600ms ahead")
}

func TestDoctorDisks(t *testing.T) {
	d := patient(t, "roots: {lake: lake, none: nothing}\n")
	if err := os.Mkdir(filepath.Join(d.Dir, "lake"), 0o755); err != nil {
		t.Fatal(err)
	}
	found := d.finds(t, (*doctor).lookAtRoots)
	want(t, found["root lake"], checkup.OK)
	want(t, found["root none"], checkup.Error, "cannot open root", "roots.none")

	found = d.finds(t, (*doctor).lookAtDisks)
	if !strings.Contains(found["project folder"].Text, "are free") || found["project folder"].State == checkup.Error {
		t.Errorf("%+v", found)
	}
	if left, err := filepath.Glob(filepath.Join(d.Dir, stateFolder, "*doctor*")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if err := os.RemoveAll(filepath.Join(d.Dir, stateFolder)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Dir, stateFolder), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", filepath.Join(d.Dir, "nowhere"))
	found = d.finds(t, (*doctor).lookAtDisks)
	want(t, found["project folder"], checkup.Error, "can't be written", "let this user write")
	want(t, found["temporary folder"], checkup.Error, "can't be written", "TMPDIR")
	for _, c := range []struct {
		free, all uint64
		scarce    bool
	}{
		{1<<30 - 1, 2 << 30, true}, {1 << 30, 2 << 30, false}, {49 << 30, 1000 << 30, true}, {51 << 30, 1000 << 30, false},
	} {
		if got := scarce(c.free, c.all); got != c.scarce {
			t.Errorf("%d of %d: %v", c.free, c.all, got)
		}
	}
}

func TestDoctorAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	d := patient(t, "server: {grpc: \""+taken+"\", http: \"127.0.0.1:0\", admin: \"off\"}\n")
	found := d.finds(t, (*doctor).lookAtAddresses)
	want(t, found["address of grpc"], checkup.Warning, "taken by another process", "server.grpc")
	want(t, found["address of http"], checkup.OK, "free")
	if len(found) != 2 {
		t.Errorf("%+v", found)
	}
	raw, err := json.Marshal(Addresses{GRPC: taken, HTTP: "127.0.0.1:1", PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	pki.Put(t, mkdir(t, d.Dir, stateFolder, "serve.json"), raw)
	found = d.finds(t, (*doctor).lookAtAddresses)
	want(t, found["address of grpc"], checkup.OK, "the project's server, process "+strconv.Itoa(os.Getpid()))
	want(t, found["address of http"], checkup.OK, "listens on 127.0.0.1:1")

	d = patient(t, "server: {grpc: \"0.0.0.0:0\", http: \"192.0.2.1:6566\", admin: \""+taken+"\"}\n")
	found = d.finds(t, (*doctor).lookAtAddresses)
	want(t, found["address of grpc"], checkup.Warning, "others than this machine reach it", "serve refuses")
	want(t, found["address of http"], checkup.Error, "can't listen")
	want(t, found["address of admin"], checkup.Warning, "no server of this project")
	d.Config.Server.AdminByDefault = true
	want(t, d.finds(t, (*doctor).lookAtAddresses)["address of admin"], checkup.Warning, "no admin address")
	d.Config.Server.Insecure = true
	want(t, d.finds(t, (*doctor).lookAtAddresses)["address of grpc"], checkup.Warning, "server.insecure allows that", "server.auth")
	d.Config.Server.Auth, d.Config.Server.TLS.Cert = true, "server.crt"
	want(t, d.finds(t, (*doctor).lookAtAddresses)["address of grpc"], checkup.OK)
}

func mkdir(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDoctorTLS(t *testing.T) {
	if found := patient(t, "").finds(t, (*doctor).lookAtTLS); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	ca := pki.New(t)
	d := patient(t, "server: {auth: true, tls: {cert: server.crt, key: server.key, client_ca: ca.crt}}\n")
	pki.Put(t, filepath.Join(d.Dir, "ca.crt"), ca.PEM)
	for _, c := range []struct {
		left  time.Duration
		state checkup.State
		text  string
	}{
		{expiryNotice + time.Hour, checkup.OK, "is good until"},
		{expiryNotice - time.Hour, checkup.Warning, "for 29 days"},
		{-time.Minute, checkup.Error, "was good until"},
	} {
		ca.Write(t, d.Dir, "server", pki.Leaf{Name: "shown", End: time.Now().Add(c.left)})
		found := d.finds(t, (*doctor).lookAtTLS)
		want(t, found["certificate"], c.state, "CN=shown", c.text)
		want(t, found["authorities of clients"], checkup.Warning, "for 0 days", "renew") // the test's authority has an hour
	}
	now := d.now
	d.now = func() time.Time { return now().Add(-2 * time.Hour) }
	want(t, d.finds(t, (*doctor).lookAtTLS)["certificate"], checkup.Error, "is good from")
	d.now = now
	_, key := ca.Issue(t, pki.Leaf{})
	pki.Put(t, filepath.Join(d.Dir, "server.key"), key)
	want(t, d.finds(t, (*doctor).lookAtTLS)["certificate"], checkup.Error, "private key does not match", "server.tls")
}

// cgroup is a file system as the kernel shows a process with a limit of memory.
func cgroup(groups string, limits map[string]string) fstest.MapFS {
	system := fstest.MapFS{"proc/self/cgroup": {Data: []byte(groups)}}
	for name, limit := range limits {
		system["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: []byte(limit + "\n")}
	}
	return system
}

func TestMemoryLimit(t *testing.T) {
	const v1 = "memory/memory.limit_in_bytes"
	none := strconv.Itoa(math.MaxInt64 &^ 4095)
	for name, c := range map[string]struct {
		system fstest.MapFS
		want   uint64
	}{
		"no cgroups":              {fstest.MapFS{}, 0},
		"version 2":               {cgroup("0::/\n", map[string]string{"memory.max": "536870912"}), 512 << 20},
		"version 2, none":         {cgroup("0::/\n", map[string]string{"memory.max": "max"}), 0},
		"one above is less":       {cgroup("0::/a/b\n", map[string]string{"a/memory.max": "1000", "a/b/memory.max": "2000"}), 1000},
		"one above has none":      {cgroup("0::/a/b\n", map[string]string{"a/memory.max": "max", "a/b/memory.max": "2000"}), 2000},
		"the host's path":         {cgroup("0::/kubepods/pod1\n", map[string]string{"memory.max": "3000"}), 3000},
		"version 1":               {cgroup("4:memory:/a\n0::/\n", map[string]string{"memory/a/memory.limit_in_bytes": "4000", v1: none}), 4000},
		"version 1, none":         {cgroup("4:memory:/\n", map[string]string{v1: none}), 0},
		"version 1, other groups": {cgroup("3:cpu:/\n", map[string]string{v1: "5000"}), 0},
		"nonsense":                {cgroup("memory\n::\n", map[string]string{"memory.max": "-1"}), 0},
	} {
		limit, bounded := memoryLimit(c.system)
		if !bounded {
			limit = 0
		}
		if limit != c.want {
			t.Errorf("%s: %d, want %d", name, limit, c.want)
		}
	}
}

func TestDoctorLimits(t *testing.T) {
	d := patient(t, "")
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }()
	for cur, state := range map[uint64]checkup.State{leastFiles: checkup.OK, leastFiles - 1: checkup.Warning} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: cur, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
		want(t, d.finds(t, (*doctor).lookAtLimits)["file descriptors"], state, fmt.Sprint(cur))
	}

	d.system = cgroup("0::/\n", map[string]string{"memory.max": strconv.Itoa(4 << 30)})
	want(t, d.finds(t, (*doctor).lookAtLimits)["memory"], checkup.OK, "2.8 GiB", "allows 4.0 GiB")
	d.system = cgroup("0::/\n", map[string]string{"memory.max": strconv.Itoa(1 << 30)})
	want(t, d.finds(t, (*doctor).lookAtLimits)["memory"], checkup.Warning, "256 MiB for the embedded", "allows 1.0 GiB", "limits.exports")
	d.Config.Limits.Exports = 1
	d.Config.Online = "embedded://.provender/online?cache=1MiB"
	want(t, d.finds(t, (*doctor).lookAtLimits)["memory"], checkup.Warning, "1.0 GiB at once", "1.0 MiB for the embedded")
	d.Config.Online = "redis://127.0.0.1"
	want(t, d.finds(t, (*doctor).lookAtLimits)["memory"], checkup.OK)

	go1 := debug.SetMemoryLimit(2 << 30)
	defer debug.SetMemoryLimit(go1)
	want(t, d.finds(t, (*doctor).lookAtLimits)["memory"], checkup.Warning, "GOMEMLIMIT says 2.0 GiB")
}

// A server keeps to nine tenths of what its cgroup allows, unless GOMEMLIMIT says something.
func TestLimitMemory(t *testing.T) {
	const most = math.MaxInt64
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(most))
	bounded := cgroup("0::/\n", map[string]string{"memory.max": "1000000000"})
	for name, c := range map[string]struct {
		system fstest.MapFS
		env    string
		want   int64
		logged int
	}{
		"no limit":       {cgroup("0::/\n", map[string]string{"memory.max": "max"}), "", most, 0},
		"a limit":        {bounded, "", 900_000_000, 1},
		"GOMEMLIMIT":     {bounded, "500MiB", most, 0},
		"GOMEMLIMIT off": {bounded, "off", most, 0},
	} {
		debug.SetMemoryLimit(most)
		var log strings.Builder
		limitMemory(c.system, func(string) string { return c.env }, slog.New(slog.NewTextHandler(&log, nil)))
		if got := debug.SetMemoryLimit(-1); got != c.want || strings.Count(log.String(), "\n") != c.logged {
			t.Errorf("%s: %d, want %d; log %q", name, got, c.want, &log)
		}
	}
}
