package fault

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// changes are what may happen to the file "second" of a world while a run reads it.
var changes = []struct {
	name   string
	change func(w *world, version, to int)
	broken bool // it is no Parquet file any more
}{
	{"rewritten in place", func(w *world, version, to int) {
		w.put("other", version, 0, to)
		w.overwrite("second", w.read("other"))
		w.files["second"] = w.files["other"]
		w.remove("other")
	}, false},
	{"truncated", func(w *world, _, _ int) { w.overwrite("second", w.read("second")[:1000]) }, true},
	{"grown", func(w *world, _, _ int) { w.overwrite("second", append(w.read("second"), "more"...)) }, true},
	{"deleted", func(w *world, _, _ int) { w.remove("second") }, false},
	{"replaced", func(w *world, version, to int) { w.put("second", version, 0, to) }, false},
	{"replaced by fewer rows", func(w *world, version, _ int) { w.put("second", version, 100, 200) }, false},
}

// TestFileChangesAtStep stops a run at a step and changes a file that it reads. The run fails and names the file, or
// what it wrote is what it should be; one more run, and all is.
func TestFileChangesAtStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onlinetest.StartRedis(t)+project.Patient)
	w.Must("materialize")
	for i, c := range changes {
		point := []string{failpoint.RunBeforeWrite, failpoint.RunAfterWrite}[i%2]
		w.put("second", 2, 0, drivers)
		w.changedDuring(t, i, 3, drivers, func() *project.Process {
			run := w.Start(stop(point), "materialize")
			run.AwaitStop()
			return run
		})
		if c.name != "deleted" {
			w.put("second", 1, 0, 1) // for the next one, and a rebuild
		}
	}
}

// TestFileChangesAtAnyMoment does the same at random moments, in a file that takes some time to read.
func TestFileChangesAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds := len(changes)
	if testenv.Long() {
		rounds *= 20
	}
	const many = 4 * drivers
	rnd := testenv.Rand(t)
	w := newWorld(t, project.Embedded)
	w.put("second", 2, 0, many)
	begun := time.Now()
	w.Must("materialize")
	takes := time.Since(begun)
	for round := range rounds {
		w.put("second", 3+2*round, 0, many)
		w.changedDuring(t, round%len(changes), 4+2*round, many, func() *project.Process {
			run := w.Start("", "materialize")
			<-time.After(time.Duration(rnd.Int64N(int64(takes))))
			run.Signal(syscall.SIGSTOP)
			return run
		})
	}
}

// changedDuring makes a change, which may write a version of the first drivers, while a run stands still that start has
// started, lets it go on, and checks what becomes of it.
func (w *world) changedDuring(t *testing.T, change, version, to int, start func() *project.Process) {
	t.Helper()
	before, c := w.status(), changes[change]
	run := start()
	c.change(w, version, to)
	if r := run.Resume(); r.Code != 0 {
		w.failed(r, "second.parquet")
		w.recordedNothing(before)
	} else {
		t.Logf("%s: the run succeeded", c.name)
	}
	if c.broken {
		w.fails([]string{"second.parquet"}, "materialize")
		w.put("second", version, 0, to)
	}
	w.clean()
}

// read returns the bytes of a file of the source.
func (w *world) read(name string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(w.Path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// overwrite writes new bytes into a file of the source, which stays the same file.
func (w *world) overwrite(name string, b []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.Path(name), b, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// TestMalformed damages a file in many ways, none of which may be taken for rows: the run fails and names the file,
// records nothing, and once the file is mended all is as it should be. A bit that no checksum guards may be taken for
// what it says, but then by history as well.
func TestMalformed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, project.Embedded)
	w.put("second", 2, 0, 100)
	w.Must("materialize")
	w.put("broken", 4, 0, 300)
	whole := w.read("broken")
	before := w.status()
	w.wantVersions(append(versionsOf(2, 100), append(versionsOf(1, drivers-100), 0)...))

	damaged := map[string][]byte{
		"empty":          {},
		"magic alone":    []byte("PAR1"),
		"text":           []byte("driver,at\n1,2\n"),
		"another footer": append(bytes.Clone(whole[:len(whole)-8]), 0xff, 0xff, 0xff, 0x7f, 'P', 'A', 'R', '1'),
		"zeros":          make([]byte, len(whole)),
		"no middle":      append(bytes.Clone(whole[:len(whole)/3]), whole[len(whole)/2:]...),
	}
	for _, n := range []int{1, 8, 12, len(whole) / 2, len(whole) - 8, len(whole) - 1} {
		damaged[fmt.Sprint("truncated to ", n)] = whole[:n]
	}
	for name, b := range damaged {
		w.overwrite("broken", b)
		w.fails([]string{"broken.parquet"}, "materialize")
		if st := w.recordedNothing(before); st.State != "failed" || !strings.Contains(st.Error, "broken.parquet") {
			t.Errorf("%s: status %+v", name, st)
		}
	}
	w.wantVersions(append(versionsOf(2, 100), append(versionsOf(1, drivers-100), 0)...))

	rnd := testenv.Rand(t)
	flips := 10
	if testenv.Long() {
		flips = 500
	}
	found := 0
	for range flips {
		b := bytes.Clone(whole)
		at := rnd.IntN(len(b))
		b[at] ^= 1 << rnd.IntN(8)
		w.overwrite("broken", b)
		if r := w.Run("materialize"); r.Code != 0 {
			found++
			w.failed(r, "broken.parquet")
			w.recordedNothing(before)
			continue
		}
		t.Logf("a flip at %d of %d is not noticed", at, len(b))
		w.Must("verify", "--full")
		before = w.status()
	}
	if t.Logf("%d of %d flips were noticed", found, flips); found < flips*3/4 {
		t.Error("that is too few")
	}
	w.overwrite("broken", whole)
	w.clean()
}

// versionsOf is n times a version.
func versionsOf(version, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = version
	}
	return out
}
