package asof

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
)

const (
	beyond  = int64(300_000_000_000_000_000) // microseconds after base: after the year 9999
	invalid = "\xff"                         // as text
)

// spoil makes facts of which some can't be represented: of text keys and values, of unsigned keys, of times.
func (d *draw) spoil(f *fact) {
	bad := func() bool { return d.IntN(15) == 0 }
	for i, key := range f.keys {
		switch key := key.(type) {
		case int64:
			f.keys[i] = key + 200 // not negative
			if bad() {
				f.keys[i] = int64(-1)
			}
		case string:
			if bad() {
				f.keys[i] = invalid
			}
		}
	}
	if f.event != nil && bad() {
		f.event = beyond
	}
	if f.created != nil && bad() {
		f.created = beyond
	}
	for i, v := range f.values {
		if _, ok := v.(string); ok && d.IntN(4) == 0 {
			f.values[i] = invalid
		}
	}
}

func badValue(f fact) bool { return slices.Contains(f.values, any(invalid)) }

// leftOut says why a fact takes no part, "" where it does.
func (s shape) leftOut(f fact, since, cutoff int64) string {
	switch {
	case slices.Contains(f.keys, nil):
		return "null key"
	case slices.ContainsFunc(f.keys, func(key any) bool { return key == any(int64(-1)) || key == any(invalid) }):
		return "key out of range"
	case f.event == nil:
		return "null event time"
	case f.event == beyond:
		return "time out of range"
	case f.event.(int64) < since || f.event.(int64) > cutoff:
		return "another time"
	case s.created && f.created == beyond:
		return "time out of range"
	}
	return ""
}

// ruledOut reports whether the statistics of a row group say that none of its rows is asked for.
func ruledOut(group []fact, since, cutoff int64) bool {
	least, greatest := int64(math.MaxInt64), int64(math.MinInt64)
	for _, f := range group {
		if f.event != nil {
			least, greatest = min(least, f.event.(int64)), max(greatest, f.event.(int64))
		}
	}
	return least <= greatest && greatest < beyond && (greatest < since || least > cutoff)
}

// laid is a fact and where it lies.
type laid struct {
	fact
	where string
}

// tolerant finds the newest rows, what is rejected on the way and what ties in the end, by looking at every fact.
func (s shape) tolerant(in Input, files [][]fact, groupRows int, since, cutoff int64) (lines []string, list []Rejected, ties int64) {
	rejected := map[string][]string{}
	byEntity := map[string][]laid{}
	for n, facts := range files {
		for i, f := range facts {
			group := facts[i-i%groupRows : min(i-i%groupRows+groupRows, len(facts))]
			if ruledOut(group, since, cutoff) {
				continue
			}
			where := fmt.Sprintf("%s, row group %d, row %d", in.Files[n].Path, i/groupRows, i%groupRows)
			if why := s.leftOut(f, since, cutoff); why != "" {
				rejected[why] = append(rejected[why], where)
			} else {
				key := fmt.Sprintf("%#v", f.keys)
				byEntity[key] = append(byEntity[key], laid{f, where})
			}
		}
	}
	var values []string
	for _, facts := range byEntity {
		// The newest last; what can't be represented is the greatest of those that tie.
		slices.SortStableFunc(facts, func(a, b laid) int {
			x, y := a.fact, b.fact
			if badValue(a.fact) || badValue(b.fact) {
				x.values, y.values = make([]any, len(s.features)), make([]any, len(s.features))
			}
			switch {
			case s.precedes(in.View.Layout, x, y):
				return -1
			case s.precedes(in.View.Layout, y, x):
				return 1
			case badValue(a.fact) != badValue(b.fact):
				if badValue(b.fact) {
					return -1
				}
				return 1
			}
			return 0
		})
		for len(facts) > 0 && badValue(facts[len(facts)-1].fact) {
			values = append(values, facts[len(facts)-1].where)
			facts = facts[:len(facts)-1]
		}
		if len(facts) == 0 {
			continue
		}
		newest := facts[len(facts)-1].fact
		lines = append(lines, s.line(newest))
		for _, f := range facts[:len(facts)-1] {
			if f.event == newest.event && (!s.created || f.created == newest.created) {
				ties++
			}
		}
	}
	rejected["value"] = values
	for _, why := range reasonNames {
		if where := rejected[why]; len(where) > 0 {
			sortPlaces(where)
			list = append(list, Rejected{why, int64(len(where)), where[:min(len(where), maxSamples)]})
		}
	}
	slices.Sort(lines)
	return lines, list, ties
}

// sortPlaces orders places as rows lie.
func sortPlaces(where []string) {
	slices.SortFunc(where, func(a, b string) int {
		var groupA, groupB, rowA, rowB int
		fileA, a, _ := strings.Cut(a, ", ")
		fileB, b, _ := strings.Cut(b, ", ")
		fmt.Sscanf(a, "row group %d, row %d", &groupA, &rowA)
		fmt.Sscanf(b, "row group %d, row %d", &groupB, &rowB)
		if c := strings.Compare(fileA, fileB); c != 0 {
			return c
		}
		if groupA != groupB {
			return groupA - groupB
		}
		return rowA - rowB
	})
}

// line writes a fact as a store's lines are.
func (s shape) line(f fact) string {
	var parts []string
	for _, v := range slices.Concat(f.keys, f.values) {
		parts = append(parts, text(v))
	}
	created := int64(row.NoCreated)
	if s.created && f.created != nil {
		created = base + f.created.(int64)
	}
	return fmt.Sprintf("%s @%d %d", strings.Join(parts, " "), f.event, created)
}

// places leaves of samples where they are.
func places(list []Rejected) []Rejected {
	list = slices.Clone(list)
	for i := range list {
		list[i].Samples = slices.Clone(list[i].Samples)
		for j, s := range list[i].Samples {
			list[i].Samples[j] = placeOf(s)
		}
	}
	return list
}

func placeOf(sample string) string {
	at := strings.Index(sample, ", row group ")
	end := strings.Index(sample[at:], ": ")
	return sample[:at+end]
}

func withoutValues(list []Rejected) []Rejected {
	return slices.DeleteFunc(slices.Clone(list), func(r Rejected) bool { return r.Reason == "value" })
}

// TestTolerateAgainstNaive: rows that can't be represented are left out and counted, the next newest win, and where rows are
// one round's, the same rows are rejected whatever the workers.
func TestTolerateAgainstNaive(t *testing.T) {
	r := testenv.Rand(t)
	for n := range 60 {
		d := newDraw(r)
		d.shape.narrow, d.shape.unsigned, d.shape.plain = false, true, d.IntN(2) == 0
		d.shape.features = append(d.shape.features, stringType)
		facts := make([]fact, d.size())
		for i := range facts {
			facts[i] = d.fact()
			d.spoil(&facts[i])
		}
		files := d.files(facts)
		groupRows := 1 + d.size()
		in := d.shape.input(t, files, groupRows)
		since, cutoff := d.Int64N(d.ticks+1)-d.ticks/2, d.Int64N(d.ticks+1)
		in.Cutoff = base + cutoff
		lines, want, ties := d.shape.tolerant(in, files, groupRows, since, cutoff)
		want = slices.DeleteFunc(want, func(r Rejected) bool { return r.Reason == "another time" })
		for _, memory := range []int64{0, 5 * entityBytes(in)} {
			var first Stats
			for workers := 1; workers <= 3; workers++ {
				restore := d.room()
				var held atomic.Int64
				got, _, stats := inRounds(t, in, base+since, Options{
					Workers: workers, Tolerate: true, Memory: memory, Held: func(_ int, rows, _ int64) { held.Add(rows) },
				})
				restore()
				if held.Load() != stats.Future {
					t.Errorf("%d rows are held, %d counted", held.Load(), stats.Future)
				}
				if diff := cmp.Diff(lines, got.lines(), equateEmpty); diff != "" {
					t.Fatalf("history %d, %d bytes, %d workers, %+v: -want +got\n%s", n, memory, workers, d.shape, diff)
				}
				rejected := places(stats.Rejected)
				if memory > 0 {
					// Each round has its newest rows.
					rejected, want = withoutValues(rejected), withoutValues(want)
				}
				if diff := cmp.Diff(want, rejected, cmpopts.EquateEmpty()); diff != "" || memory == 0 && stats.Ties != ties {
					t.Fatalf("history %d, %d workers, %+v: %d ties, want %d; rejected -want +got\n%s",
						n, workers, d.shape, stats.Ties, ties, diff)
				}
				if workers == 1 {
					first = stats
				} else if !reflect.DeepEqual(stats, first) {
					t.Fatalf("history %d, %d bytes: %d workers count %+v, one counts %+v", n, memory, workers, stats, first)
				}
			}
		}
	}
}

// TestRejectedRowsAreNamed: where each is and what is wrong with it; the caller that does not tolerate them gets the error.
func TestRejectedRowsAreNamed(t *testing.T) {
	s := shape{keys: ints, features: []columnar.Type{stringType}, created: true, unsigned: true}
	of := func(key any, event, created any, value any) fact {
		return fact{[]any{key}, event, created, []any{value}}
	}
	good := of(int64(1), int64(0), int64(0), "good")
	for name, c := range map[string]struct {
		bad   fact
		want  []Rejected
		fails bool
	}{
		"null key":   {of(nil, int64(1), nil, "x"), []Rejected{{"null key", 1, []string{"row 1: null key"}}}, false},
		"null event": {of(int64(1), nil, nil, "x"), []Rejected{{"null event time", 1, []string{"row 1: null event time"}}}, false},
		"key": {
			of(int64(-1), int64(1), nil, "x"),
			[]Rejected{{"key out of range", 1, []string{`row 1: column "k0": an integer beyond what its type here holds`}}},
			true,
		},
		"event": {
			of(int64(1), beyond, nil, "x"),
			[]Rejected{{"time out of range", 1, []string{`row 1: column "event": an instant outside the years 0001–9999`}}},
			true,
		},
		"created": {
			of(int64(1), int64(1), beyond, "x"),
			[]Rejected{{"time out of range", 1, []string{`row 1: column "created": an instant outside the years 0001–9999`}}},
			true,
		},
		"value": {
			of(int64(1), int64(1), nil, invalid),
			[]Rejected{{"value", 1, []string{`row 1: column "f0": a string that is not valid UTF-8`}}},
			true,
		},
		"value of an older row": {of(int64(1), int64(-1), nil, invalid), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := s.input(t, [][]fact{{good}, {good, c.bad}}, 2)
			got, _, stats := inRounds(t, in, math.MinInt64, Options{Tolerate: true})
			if diff := cmp.Diff([]string{s.line(good)}, got.lines()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			for i := range c.want {
				c.want[i].Samples[0] = in.Files[1].Path + ", row group 0, " + c.want[i].Samples[0]
			}
			for i := range stats.Rejected {
				stats.Rejected[i].Samples[0], _, _ = strings.Cut(stats.Rejected[i].Samples[0], ";")
			}
			if diff := cmp.Diff(c.want, stats.Rejected); diff != "" {
				t.Errorf("rejected: -want +got\n%s", diff)
			}
			_, err := Latest(t.Context(), in, math.MinInt64, Options{}, func(*Batch) error { return nil })
			if (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), in.Files[1].Path) {
				t.Errorf("not tolerated: %v", err)
			}
		})
	}
}

// TestRefusedRowsAreBounded: a source of which nothing can be represented ends with an error that names a row.
func TestRefusedRowsAreBounded(t *testing.T) {
	s := shape{keys: ints, features: []columnar.Type{stringType}}
	for rows, fails := range map[int]bool{maxRefused: false, maxRefused + 1: true} {
		var facts []fact
		for i := range rows {
			facts = append(facts, fact{k(i), int64(1), nil, []any{invalid}}, fact{k(i), int64(0), nil, []any{"good"}})
		}
		in := s.input(t, [][]fact{facts}, 400)
		n := 0
		_, err := Latest(t.Context(), in, math.MinInt64, Options{Tolerate: true}, func(b *Batch) error { n += len(b.Event); return nil })
		if fails != (problem.CodeOf(err) == problem.Precondition) || fails && !strings.Contains(err.Error(), "not valid UTF-8") || !fails && n != rows {
			t.Errorf("%d rows: %d delivered, %v", rows, n, err)
		}
	}
}

// TestDamageIsNotTolerated: only values are.
func TestDamageIsNotTolerated(t *testing.T) {
	s := shape{keys: ints, features: []columnar.Type{stringType}}
	in := s.input(t, [][]fact{{{k(1), int64(0), nil, []any{strings.Repeat("long", 10)}}}}, 1)
	_, err := Latest(t.Context(), in, 0, Options{Tolerate: true, Limits: parquet.Limits{ValueBytes: 5}}, func(*Batch) error { return nil })
	if problem.CodeOf(err) != problem.Exhausted {
		t.Errorf("a value over the limit: %v", err)
	}
}

// TestTieThatCanNotBeRepresented: is refused before any row that it ties with wins, whatever their encodings.
func TestTieThatCanNotBeRepresented(t *testing.T) {
	s := shape{keys: ints, features: []columnar.Type{stringType, stringType}}
	of := func(a, b any) fact { return fact{k(1), int64(0), nil, []any{a, b}} }
	for _, facts := range [][]fact{
		{of("good", nil), of(invalid, "x"), of("good", "y"), of(invalid, "x")},
		{of(invalid, "x"), of(invalid, nil), of(nil, nil)},
	} {
		in := s.input(t, [][]fact{facts}, 1)
		got, _, stats := inRounds(t, in, math.MinInt64, Options{Tolerate: true})
		lines, want, ties := s.tolerant(in, [][]fact{facts}, 1, math.MinInt64, math.MaxInt64)
		if diff := cmp.Diff(lines, got.lines()); diff != "" || stats.Ties != ties {
			t.Errorf("%d ties, want %d; -want +got\n%s", stats.Ties, ties, diff)
		}
		if diff := cmp.Diff(want, places(stats.Rejected)); diff != "" || want[0].Rows != 2 {
			t.Errorf("rejected -want +got\n%s", diff)
		}
	}
}
