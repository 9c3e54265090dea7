package fault

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/test/project"
)

// TestFileChangesDuringRead stops a run in the middle and changes a file that it reads. The run fails and names the
// file, or what it wrote is what it should be; one more run, and all is.
func TestFileChangesDuringRead(t *testing.T) {
	t.Parallel()
	changes := []struct {
		name   string
		change func(t *testing.T, w *world)
	}{
		{"rewritten in place", func(t *testing.T, w *world) {
			w.put("other", 3, 0, drivers)
			w.overwrite("second", w.read("other"))
			w.files["second"] = w.files["other"]
			w.remove("other")
		}},
		{"truncated", func(t *testing.T, w *world) {
			w.overwrite("second", w.read("second")[:1000])
		}},
		{"grown", func(t *testing.T, w *world) {
			w.overwrite("second", append(w.read("second"), "more"...))
		}},
		{"deleted", func(t *testing.T, w *world) { w.remove("second") }},
		{"replaced", func(t *testing.T, w *world) { w.put("second", 3, 0, drivers) }},
		{"replaced by fewer rows", func(t *testing.T, w *world) { w.put("second", 3, 100, 200) }},
	}
	project.ForStores(t, func(t *testing.T, store string) {
		t.Parallel()
		w := newWorld(t, store)
		w.Must("materialize")
		for i, c := range changes {
			point := []string{failpoint.RunBeforeWrite, failpoint.RunAfterWrite}[i%2]
			w.put("second", 2, 0, drivers)
			before := w.status()
			run := w.Start(stop(point), "materialize")
			run.AwaitStop()
			c.change(t, w)
			if r := run.Resume(); r.Code != 0 {
				w.failed(r, "second.parquet")
				w.recordedNothing(before)
			} else {
				t.Logf("%s at %s: the run succeeded", c.name, point)
			}
			if c.name == "truncated" || c.name == "grown" {
				w.fails([]string{"second.parquet"}, "materialize")
				w.put("second", 2, 0, drivers)
			}
			w.clean()
			w.put("second", 1, 0, 1) // for the next one, and a rebuild
		}
	})
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
	for _, n := range []int{1, 4, 8, 11, 12, 100, len(whole) / 2, len(whole) - 100, len(whole) - 8, len(whole) - 4, len(whole) - 1} {
		damaged[fmt.Sprint("truncated to ", n)] = whole[:n]
	}
	for name, b := range damaged {
		w.overwrite("broken", b)
		w.fails([]string{"broken.parquet"}, "materialize")
		w.recordedNothing(before)
		if st := w.status(); st.State != "failed" || !strings.Contains(st.Error, "broken.parquet") {
			t.Errorf("%s: status %+v", name, st)
		}
	}
	w.wantVersions(append(versionsOf(2, 100), append(versionsOf(1, drivers-100), 0)...))

	rnd := testenv.Rand(t)
	flips := 16
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
	t.Logf("%d of %d flips were noticed", found, flips)
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
