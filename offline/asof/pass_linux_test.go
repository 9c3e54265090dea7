package asof

import (
	"os"
	"sync/atomic"
	"testing"
)

// TestManyFilesFewOpen: a source of many small files needs few descriptors.
func TestManyFilesFewOpen(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	files := make([][]fact, 600)
	for i := range files {
		files[i] = []fact{at(k(i), int64(i), 1.5), at(k(i), int64(i), 1.5)}
	}
	in := s.input(t, files, 1)
	const workers = 3
	descriptors := func() int64 {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Error(err)
		}
		return int64(len(list))
	}
	before := descriptors()
	var most atomic.Int64
	watch := func(_, _ int64) {
		for n, old := descriptors(), most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
	}
	r, err := Join(t.Context(), s.spine([]question{{k(599), 1000}}), in, []int{0}, Options{Workers: workers, Progress: watch})
	if err != nil {
		t.Fatal(err)
	}
	if got := answers(r, in.View, []int{0}); got[0] != "PRESENT @599 1.5" {
		t.Error(got)
	}
	// Each descriptor of the listing itself counts too: one per worker that looks.
	if open := most.Load() - before; open > 3*workers+2 {
		t.Errorf("%d files open at once with %d workers", open, workers)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
