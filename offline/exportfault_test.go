package offline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
)

func TestExportReplacesWhole(t *testing.T) {
	w := newWorld(t)
	spine := w.path("spine.parquet")
	writeFile(t, spine, 100, field{"t", vec(timeType, noon)}, field{"airport", vec(stringType, "JFK")})
	req := w.request("one", spine)
	for _, path := range []string{req.Out, req.Out + ".manifest.json"} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("old"), 10_000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := entries(t, w.dir)
	w.export(t, req)
	wantColumn(t, req.Out, "departures", vec(int64Type, nil))
	if after := entries(t, w.dir); !slices.Equal(after, before) {
		t.Errorf("%v, before %v", after, before)
	}
}

func TestExportCanceled(t *testing.T) {
	for _, stage := range []string{"", "hourly", "hourly, features", "write"} {
		w := newWorld(t)
		bigSpine(t, w.path("spine.parquet"), groupRows+1)
		before := entries(t, w.dir)
		ctx, cancel := context.WithCancel(context.Background())
		req := w.request("one", w.path("spine.parquet"))
		req.Progress = func(p Progress) {
			if p.Stage == stage {
				cancel()
			}
		}
		if stage == "" {
			cancel()
		}
		if _, err := Export(ctx, req); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled in %q: %v", stage, err)
		}
		cancel()
		if after := entries(t, w.dir); !slices.Equal(after, before) {
			t.Errorf("canceled in %q: left %v, there was %v", stage, after, before)
		}
	}
}

func TestExportSpineChanges(t *testing.T) {
	w := newWorld(t)
	spine := w.path("spine.parquet")
	writeFile(t, spine, 100, field{"t", vec(timeType, noon)}, field{"airport", vec(stringType, "JFK")})
	req := w.request("one", spine)
	req.Progress = func(p Progress) {
		if p.Stage == "write" {
			writeFile(t, spine, 1, field{"t", vec(timeType, noon, noon, noon)}, field{"airport", vec(stringType, "JFK", "JFK", "JFK")})
		}
	}
	before := entries(t, w.dir)
	if _, err := Export(context.Background(), req); problem.CodeOf(err) != problem.Conflict {
		t.Errorf("%v", err)
	}
	if after := entries(t, w.dir); !slices.Equal(after, before) {
		t.Errorf("left %v, there was %v", after, before)
	}
}

// Whatever becomes of a spine's bytes, an export fails and leaves nothing, or it repeats what checksums vouch for.
func TestExportDamagedSpine(t *testing.T) {
	w := newWorld(t)
	spine := w.path("spine.parquet")
	writeFile(t, spine, 2, field{"t", vec(timeType, noon, noon, noon)}, field{"airport", vec(stringType, "JFK", nil, "SFO")},
		field{"label", vec(floatType, 1.0, nil, 2.0)})
	whole, err := os.ReadFile(spine)
	if err != nil {
		t.Fatal(err)
	}
	req := w.request("one", spine)
	w.export(t, req)
	want, err := os.ReadFile(req.Out)
	if err != nil {
		t.Fatal(err)
	}
	removeOutput(t, req)
	before := entries(t, w.dir)
	check := func(what string, at int, b []byte) {
		t.Helper()
		if err := os.WriteFile(spine, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Export(context.Background(), req); err != nil {
			if after := entries(t, w.dir); !slices.Equal(after, before) {
				t.Fatalf("%s at %d: left %v, there was %v", what, at, after, before)
			}
			return
		}
		got, err := os.ReadFile(req.Out)
		if err != nil {
			t.Fatal(err)
		}
		// What is not a value, such as the name of the writer, may differ.
		if openFile(t, req.Out).NumRows() != 3 || what == "cut" {
			t.Fatalf("%s at %d: took it; %d bytes, whole %d", what, at, len(got), len(want))
		}
		removeOutput(t, req)
	}
	for at := 0; at < len(whole); at += 11 {
		check("cut", at, whole[:at])
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x41
		check("flip", at, flipped)
	}
}

func removeOutput(t *testing.T, req ExportRequest) {
	t.Helper()
	if err := errors.Join(os.Remove(req.Out), os.Remove(req.Out+".manifest.json")); err != nil {
		t.Fatal(err)
	}
}

// childEnv makes a copy of the test process run one export; the value is its folder.
const childEnv = "PROVENDER_TEST_EXPORT_CHILD"

// TestExportChild is not a test by itself: the fault tests run it in another process.
func TestExportChild(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	w := newWorld(t)
	req := w.request("one", dir+"/spine.parquet")
	req.Out = dir + "/out.parquet"
	if os.Getenv(childEnv+"_SPILL") != "" {
		req.Memory = 1
	}
	if full := os.Getenv(childEnv + "_FULL"); full != "" {
		// Writes beyond this size fail as they do on a full disk.
		size, err := strconv.ParseUint(full, 10, 64)
		if err == nil {
			err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Export(context.Background(), req); err != nil {
		t.Fatal(err)
	}
}

// A part that can't be begun ends the export, which leaves nothing.
func TestExportPartFails(t *testing.T) {
	for _, format := range []Format{Parquet, Arrow} {
		w := newWorld(t)
		bigSpine(t, w.path("spine.parquet"), 10)
		before := entries(t, w.dir)
		req := w.request("one", w.path("spine.parquet"))
		req.Out, req.PartRows, req.OutFormat = w.path("parts"), 4, format
		req.Progress = func(p Progress) {
			if p.Stage != "write" || p.Done != 4 {
				return
			}
			unfinished, err := filepath.Glob(w.path(".parts.tmp-*"))
			if err != nil || len(unfinished) != 1 {
				t.Errorf("unfinished: %v, %v", unfinished, err)
				return
			}
			if err := os.WriteFile(filepath.Join(unfinished[0], "part-00001."+string(format)), nil, 0o644); err != nil {
				t.Error(err)
			}
		}
		_, err := Export(context.Background(), req)
		wantProblem(t, err, "out", "file exists")
		if after := entries(t, w.dir); !slices.Equal(after, before) {
			t.Errorf("left %v, there was %v", after, before)
		}
	}
}

// What comes out before an error has no end that would make it look whole.
func TestExportDamagedSpineToStdout(t *testing.T) {
	w := newWorld(t)
	bigSpine(t, w.path("spine.parquet"), 1000)
	spine := readFile(t, w.path("spine.parquet"))
	footer := int(binary.LittleEndian.Uint32(spine[len(spine)-8:]))
	spine[len(spine)-8-footer-1] ^= 1 // the last label
	if err := os.WriteFile(w.path("spine.parquet"), spine, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 20 { // who ends the output is a race
		var out bytes.Buffer
		req := w.request("one", w.path("spine.parquet"))
		req.Out, req.Stdout, req.OutFormat, req.GroupRows = "-", &out, Parquet, 100
		_, err := Export(context.Background(), req)
		if err == nil || !strings.Contains(err.Error(), "column \"label\"") {
			t.Fatalf("%v", err)
		}
		if bytes.HasSuffix(out.Bytes(), []byte("PAR1")) && out.Len() > len("PAR1") {
			t.Fatal("what is not whole has a footer")
		}
	}
}

func runChild(t *testing.T, dir string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestExportChild$", "-test.v")
	// What a killed child leaves of its own folders goes with the test's.
	cmd.Env = append(append(os.Environ(), childEnv+"="+dir, "TMPDIR="+t.TempDir()), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestExportKilled(t *testing.T) {
	for _, tt := range []struct {
		point    string
		out      bool // the output has its name
		manifest bool
	}{
		{failpoint.ExportBeforeRename, false, false},
		{failpoint.ExportBeforeManifest, true, false},
	} {
		for _, action := range []string{"kill", "error"} {
			dir := t.TempDir()
			bigSpine(t, dir+"/spine.parquet", 1000)
			if log, err := runChild(t, dir, failpoint.Env+"="+tt.point+"="+action); err == nil {
				t.Fatalf("%s at %s: the child went on\n%s", action, tt.point, log)
			}
			var names, temporary []string
			for _, name := range entries(t, dir) {
				if strings.HasPrefix(name, ".") {
					temporary = append(temporary, name)
				} else {
					names = append(names, name)
				}
			}
			if slices.Contains(names, "out.parquet") != tt.out || slices.Contains(names, "out.parquet.manifest.json") != tt.manifest {
				t.Errorf("%s at %s: %v", action, tt.point, names)
			}
			if action == "error" && len(temporary) > 0 {
				t.Errorf("left %v", temporary)
			}
			if tt.out {
				if rows := openFile(t, dir+"/out.parquet").NumRows(); rows != 1000 {
					t.Errorf("%s at %s: %d rows", action, tt.point, rows)
				}
			}
			if log, err := runChild(t, dir); err != nil {
				t.Errorf("after %s at %s: %v\n%s", action, tt.point, err, log)
			}
		}
	}
}

func TestExportDiskFull(t *testing.T) {
	for _, tt := range []struct{ full, spill, want string }{
		{"65536", "", "write %s/out.parquet"},
		{"1024", "1", "temporary file in %s: "},
	} {
		dir := t.TempDir()
		bigSpine(t, dir+"/spine.parquet", groupRows)
		before := entries(t, dir)
		log, err := runChild(t, dir, childEnv+"_FULL="+tt.full, childEnv+"_SPILL="+tt.spill)
		if err == nil || !strings.Contains(log, fmt.Sprintf(tt.want, dir)) {
			t.Errorf("%v\n%s", err, log)
		}
		if after := entries(t, dir); !slices.Equal(after, before) {
			t.Errorf("left %v, there was %v", after, before)
		}
	}
}

func TestExportOverItsSpine(t *testing.T) {
	w := newWorld(t)
	for spine, out := range map[string]string{"x.parquet": "x.parquet", "x.manifest.json": "x"} {
		bigSpine(t, w.path(spine), 10)
		req := w.request("one", w.path(spine))
		req.Out = w.path(out)
		if _, err := Export(context.Background(), req); err == nil || !strings.Contains(err.Error(), "is the spine itself") {
			t.Errorf("%s: %v", out, err)
		}
	}
}
