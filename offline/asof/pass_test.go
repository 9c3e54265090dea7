package asof

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
)

// manyTies gives one entity rows that are equal in both times but for one, in files that are each other's duplicates.
func manyTies(files, rows int) [][]fact {
	facts := make([]fact, rows)
	for i := range facts {
		facts[i] = at(k(1+i%2), 0, float64(i%7)+0.5)
	}
	all := make([][]fact, files)
	for i := range all {
		all[i] = facts
	}
	return all
}

// TestTiesInRounds settles ties while the scan goes on: neither the answers nor the count notice.
func TestTiesInRounds(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, manyTies(9, 40), 3)
	spine := s.spine([]question{{k(1), 0}, {k(2), 7}, {k(1), 8}})
	run := func(workers int) ([]string, Stats) {
		r, err := Join(t.Context(), spine, in, []int{0}, Options{Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		lines := answers(r, in.View, []int{0})
		for i := range lines {
			if file, pos, ok := r.Where(i); file != 0 || pos > 20 || !ok {
				t.Errorf("row %d: found at %d in file %d", i, pos, file)
			}
		}
		return lines, r.Stats
	}
	wantLines, want := run(2)
	if want.Ties != 9*40-2 {
		t.Errorf("%d ties, want %d", want.Ties, 9*40-2)
	}
	defer func(room int64, bytes int) { tieRoom, encodingRoom = room, bytes }(tieRoom, encodingRoom)
	tieRoom, encodingRoom = 10, 1
	for workers := 1; workers <= 4; workers++ {
		lines, stats := run(workers)
		if diff := cmp.Diff(wantLines, lines); diff != "" {
			t.Errorf("%d workers: -want +got\n%s", workers, diff)
		}
		if !reflect.DeepEqual(stats, want) {
			t.Errorf("%d workers: %+v, want %+v", workers, stats, want)
		}
	}
}

// TestBoardForgetsBeatenTies: ties of beaten candidates take no memory, however many there are.
func TestBoardForgetsBeatenTies(t *testing.T) {
	b := newBoard()
	out := sink{board: b}
	out.reserve(1)
	for event := range int64(100_000) {
		out.add(hit{event: event, pos: 2 * event})
		out.add(hit{event: event, pos: 2*event + 1})
	}
	out.flush()
	if n := b.ties.Load(); n > 2*1024 {
		t.Errorf("%d ties held", n)
	}
	if n := b.tied(); n != 1 {
		t.Errorf("%d rows tied with the last candidate, want 1", n)
	}
}

// TestBoardForgetsSettledTies: with the candidate that they tied with, by event time or, on a strict board, created time.
func TestBoardForgetsSettledTies(t *testing.T) {
	for _, strict := range []bool{false, true} {
		b := newBoard()
		b.strict = strict
		out := sink{board: b}
		out.reserve(2)
		add := func(h hit, created int64) {
			if strict {
				out.addStrict(h, created)
			} else {
				out.add(h)
			}
		}
		add(hit{event: 5, pos: 1, slot: 0}, 7)
		add(hit{event: 5, pos: 2, slot: 1}, 7)
		out.flush()
		b.decided(&contest{slot: 0, pos: 1, tied: 4})
		b.decided(&contest{slot: 1, pos: 2, tied: 3})
		add(hit{event: 4, pos: 3, slot: 0}, 9)
		out.flush()
		if n := b.tied(); n != 5 {
			t.Errorf("strict %v: %d rows tied, want 5", strict, n)
		}
		if strict {
			add(hit{event: 5, pos: 4, slot: 0}, 8)
		} else {
			add(hit{event: 6, pos: 4, slot: 0}, 0)
		}
		out.flush()
		if n := b.tied(); n != 2 {
			t.Errorf("strict %v: %d rows tied with the candidates that stand, want 2", strict, n)
		}
	}
}

func TestRowGroupsRuledOutAreNotRead(t *testing.T) {
	s := shape{keys: ints, features: oneFloat, ttl: 10 * second}
	var facts []fact
	for i := range int64(100) {
		facts = append(facts, at(k(1), i*second, float64(i)))
	}
	in := s.input(t, [][]fact{facts}, 10)
	in.Cutoff = base + 95*second
	// 2 × ttl reaches back from 60 to 40 s: the groups from 40 and 50 s, and that from 60 s itself.
	r, err := Join(t.Context(), s.spine([]question{{k(1), 60 * second}}), in, []int{0}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := Stats{Files: 1, RowGroups: 3, RowsRead: 30, RowsSkipped: 70, NewestEvent: base + 69*second}
	if diff := cmp.Diff(want, r.Stats); diff != "" {
		t.Errorf("join: -want +got\n%s", diff)
	}
	in.Cutoff = base + 84*second
	_, stats := newest(t, in, base+65*second, 2)
	want = Stats{Files: 1, RowGroups: 3, RowsRead: 30, RowsSkipped: 70, Future: 15, NewestEvent: base + 84*second}
	if diff := cmp.Diff(want, stats); diff != "" {
		t.Errorf("latest: -want +got\n%s", diff)
	}
}

// Rows after the cutoff are told by file, whether they are read or ruled out.
func TestHeldRowsAreToldByFile(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, [][]fact{
		{at(k(1), 0, 1.5), at(k(2), 8*second, 1.5), at(k(3), 9*second, 1.5), at(k(4), 7*second, 1.5), at(k(5), 6*second, 1.5)},
		{at(k(1), second, 1.5)},
		{at(k(1), 5*second+1, 1.5)},
	}, 2)
	in.Cutoff = base + 5*second
	type held struct{ Rows, Least int64 }
	got := map[int]held{}
	var mu sync.Mutex
	_, err := Latest(t.Context(), in, base, Options{Workers: 2, Held: func(file int, rows, least int64) {
		mu.Lock()
		defer mu.Unlock()
		h, ok := got[file]
		if !ok || least < h.Least {
			h.Least = least
		}
		h.Rows += rows
		got[file] = h
	}}, func(*Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]held{0: {4, base + 6*second}, 2: {1, base + 5*second + 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRejectedRowsAreTold(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, [][]fact{{at(k(nil), 0, 1.5), {k(1), nil, nil, []any{1.5}}, {k(1), nil, nil, []any{1.5}}, at(k(1), 0, 2.5)}}, 2)
	got := map[string]int64{}
	_, err := Join(t.Context(), s.spine([]question{{k(1), 5}}), in, []int{0}, Options{
		Rejected: func(why string, n int64) { got[why] += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"null key": 1, "null event time": 2}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestProgressReachesEveryRow(t *testing.T) {
	s := shape{keys: ints, features: oneFloat, ttl: second}
	in := s.input(t, manyTies(5, 21), 4)
	var most atomic.Int64
	_, err := Join(t.Context(), s.spine([]question{{k(1), 0}}), in, nil, Options{Workers: 3, Progress: func(done, about int64) {
		if about < done || done == 5*21 && about != done {
			t.Errorf("%d rows of about %d", done, about)
		}
		for old := most.Load(); done > old && !most.CompareAndSwap(old, done); old = most.Load() {
		}
	}})
	if err != nil || most.Load() != 5*21 {
		t.Errorf("%d rows, %v", most.Load(), err)
	}
}

// both runs Join and Latest and returns their errors.
func both(ctx context.Context, s shape, in Input) map[string]error {
	_, join := Join(ctx, s.spine([]question{{k(1), 5}}), in, []int{0}, Options{Workers: 2})
	_, latest := Latest(ctx, in, 0, Options{Workers: 2}, func(*Batch) error { return nil })
	return map[string]error{"join": join, "latest": latest}
}

func TestErrorsNameTheFile(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		also  string
	}{
		{"truncated", func(t *testing.T, path string) {
			if err := os.Truncate(path, 60); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"lacks a feature", func(t *testing.T, path string) {
			shape{keys: ints}.write(t, path, []fact{at(k(1), 0, nil)}, 1, false)
		}, "f0"},
		{"a key of another type", func(t *testing.T, path string) {
			shape{keys: strs, features: oneFloat}.write(t, path, []fact{at(k("1"), 0, nil)}, 1, false)
		}, "k0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			in := s.inputIn(t, dir, manyTies(3, 5), 2)
			bad := in.Files[1].Path
			c.spoil(t, filepath.Join(dir, bad))
			files, err := in.Source.List(t.Context(), []string{"data"})
			if err != nil {
				t.Fatal(err)
			}
			in.Files = files
			for name, err := range both(t.Context(), s, in) {
				if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), c.also) {
					t.Errorf("%s: %v; want it to name %s and %q", name, err, bad, c.also)
				}
			}
		})
	}
}

// TestFileReplacedMeanwhile: what was read of a file that is another by now is not an answer.
func TestFileReplacedMeanwhile(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	for _, c := range []struct {
		name     string
		rows     int64 // read before one of three files of five rows is replaced
		features []int
		winners  bool // that with the rows that answer; else the one that is read last
	}{
		{"before the first read", 0, []int{0}, false},
		{"between reads", 11, []int{0}, false},
		{"after the last read", 15, nil, false},
		{"before its winners are gathered", 15, []int{0}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var files [][]fact
			for i := range 3 {
				files = append(files, nil)
				for j := range 5 {
					files[i] = append(files[i], at(k(1), int64(5*i+j), 1.5))
				}
			}
			in := s.inputIn(t, dir, files, 2)
			path := in.Files[0].Path
			if c.winners {
				path = in.Files[2].Path
			}
			replace := func() { s.write(t, filepath.Join(dir, path), []fact{at(k(1), 1, 9.5)}, 1, false) }
			if c.rows == 0 {
				replace()
			}
			progress := func(done, _ int64) {
				if done == c.rows {
					replace()
				}
			}
			_, err := Join(t.Context(), s.spine([]question{{k(1), 99}}), in, c.features, Options{Workers: 1, Progress: progress})
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; want it to name %s", err, path)
			}
		})
	}
}

// TestRowGroupsInParallel: two workers share the row groups of one file. It hangs where they do not.
func TestRowGroupsInParallel(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, [][]fact{{at(k(1), 0, 1.5), at(k(1), 1, 2.5)}}, 1)
	var both sync.WaitGroup
	both.Add(2)
	meet := func(_, _ int64) {
		both.Done()
		both.Wait()
	}
	_, err := Join(t.Context(), s.spine([]question{{k(1), 5}}), in, nil, Options{Workers: 2, Progress: meet})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCancel(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, manyTies(5, 20), 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range both(ctx, s, in) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s, canceled before: %v", name, err)
		}
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	opts := Options{Workers: 3, Progress: func(_, _ int64) { cancel() }}
	if _, err := Join(ctx, s.spine([]question{{k(1), 5}}), in, []int{0}, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("join, canceled meanwhile: %v", err)
	}
	if _, err := Latest(ctx, in, 0, opts, func(*Batch) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("latest, canceled meanwhile: %v", err)
	}
}

func TestLatestStopsAtItsCallersError(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, [][]fact{{at(k(1), 0, 1.5)}, {at(k(2), 0, 1.5)}, {at(k(3), 0, 1.5)}}, 2)
	enough := errors.New("enough")
	calls := 0
	_, err := Latest(t.Context(), in, 0, Options{Workers: 3}, func(*Batch) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestSpineThatDoesNotFit(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, nil, 1)
	for name, spine := range map[string]Spine{
		"no keys":      {Times: []int64{base}},
		"another type": shape{keys: strs}.spine([]question{{k("a"), 0}}),
		"too few":      {Times: []int64{base, base}, Keys: shape{keys: ints}.spine([]question{{k(1), 0}}).Keys},
	} {
		if _, err := Join(t.Context(), spine, in, []int{0}, Options{}); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Join(t.Context(), s.spine(nil), in, []int{1}, Options{}); err == nil {
		t.Error("a feature that the view does not have was accepted")
	}
}

// TestCellsAppend: Cells leaves what dst held, whether nulls come before, within or not at all.
func TestCellsAppend(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, [][]fact{{at(k(1), 0, 1.5), at(k(2), 0, nil)}}, 2)
	r, err := Join(t.Context(), s.spine([]question{{k(1), 5}, {k(2), 5}, {k(3), 5}, {k(1), 5}}), in, []int{0}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, before := range []any{nil, 7.5} {
		for hi := range 5 {
			v := columnar.NewVector(float64Type, 0)
			appendAny(v, 7.5)
			appendAny(v, before)
			r.Cells(0, 0, hi, v)
			var got []string
			for i := range v.Len() {
				got = append(got, textAt(v, i))
			}
			want := append([]string{"7.5", text(before)}, []string{"1.5", "null", "null", "1.5"}[:hi]...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v before, %d cells: -want +got\n%s", before, hi, diff)
			}
		}
	}
}
