package asof

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
)

// draw is a random source of facts and questions, small in every dimension so that rules meet each other.
type draw struct {
	*rand.Rand
	shape    shape
	entities int64
	ticks    int64 // times lie in [0, ticks]
}

func newDraw(r *rand.Rand) *draw {
	d := &draw{Rand: r, entities: 1 + r.Int64N(12), ticks: 1 + r.Int64N(60)}
	if r.IntN(4) == 0 {
		d.entities, d.ticks = 500, 1+r.Int64N(2000) // few rows answer a small spine
	}
	for range r.IntN(4) {
		d.shape.keys = append(d.shape.keys, []columnar.Kind{columnar.Int64, columnar.String}[r.IntN(2)])
	}
	for range 1 + r.IntN(4) {
		d.shape.features = append(d.shape.features, []columnar.Type{float64Type, int64Type, stringType, listType}[r.IntN(4)])
	}
	if r.IntN(4) > 0 {
		d.shape.ttl = 1 + r.Int64N(d.ticks)
	}
	d.shape.created = r.IntN(3) > 0
	d.shape.narrow = r.IntN(2) == 0
	return d
}

// room draws how many ties may pile up, and bytes of encodings, until restore is called.
func (d *draw) room() (restore func()) {
	ties, encodings := tieRoom, encodingRoom
	tieRoom, encodingRoom = []int64{0, 1, 7, ties}[d.IntN(4)], []int{1, encodings}[d.IntN(2)]
	return func() { tieRoom, encodingRoom = ties, encodings }
}

func (d *draw) keys() []any {
	var keys []any
	for _, kind := range d.shape.keys {
		n := d.Int64N(d.entities)
		switch {
		case d.IntN(20) == 0:
			keys = append(keys, nil)
		case kind == columnar.Int64:
			keys = append(keys, n*111-200)
		default:
			keys = append(keys, strings.Repeat("x", int(n%20))+strings.Repeat("y", int(n/20)))
		}
	}
	return keys
}

func (d *draw) fact() fact {
	f := fact{keys: d.keys(), event: d.Int64N(d.ticks + 1)}
	if d.IntN(40) == 0 {
		f.event = nil
	}
	if d.IntN(3) > 0 {
		f.created = d.Int64N(3)
	}
	for _, typ := range d.shape.features {
		n := d.IntN(3)
		var x any
		switch {
		case d.IntN(6) == 0:
		case typ.List:
			x = make([]int64, n)
		case typ.Kind == columnar.Float64:
			x = []float64{math.NaN(), math.Copysign(0, -1), 0.5}[n]
		case typ.Kind == columnar.Int64:
			x = int64(n - 1)
		default:
			x = strings.Repeat("é", n)
		}
		f.values = append(f.values, x)
	}
	return f
}

// files deals facts to files, some rows and some whole files more than once.
func (d *draw) files(facts []fact) [][]fact {
	files := make([][]fact, 1+d.IntN(5))
	for _, f := range facts {
		for range 1 + d.IntN(8)/7 {
			i := d.IntN(len(files))
			files[i] = append(files[i], f)
		}
	}
	if d.IntN(4) == 0 {
		files = append(files, files[0])
	}
	return files
}

func (d *draw) questions(n int) []question {
	var q []question
	for range n {
		q = append(q, question{d.keys(), d.Int64N(2*d.ticks) - d.ticks/4})
	}
	return q
}

// size draws 0, 1, and both sides of powers of two.
func (d *draw) size() int {
	n := 1 << d.IntN(9)
	return max(0, n-1+d.IntN(3)-d.IntN(2))
}

func sameKeys(a, b []any) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil || a[i] != b[i] {
			return false
		}
	}
	return true
}

// precedes reports whether a comes before b in R4's order.
func (s shape) precedes(layout *row.Layout, a, b fact) bool {
	ae, be := a.event.(int64), b.event.(int64)
	if ae != be {
		return ae < be
	}
	if s.created && a.created != b.created {
		return a.created == nil || b.created != nil && a.created.(int64) < b.created.(int64)
	}
	return bytes.Compare(s.encoding(layout, a), s.encoding(layout, b)) < 0
}

// naive answers one question by looking at every fact.
func (s shape) naive(layout *row.Layout, facts []fact, q question, cutoff int64, features []int) string {
	var best *fact
	for i, f := range facts {
		if f.event == nil || !sameKeys(f.keys, q.keys) || f.event.(int64) > q.time || f.event.(int64) > cutoff {
			continue
		}
		if best == nil || s.precedes(layout, *best, f) {
			best = &facts[i]
		}
	}
	age := int64(0)
	if best != nil {
		age = q.time - best.event.(int64)
	}
	var b strings.Builder
	switch {
	case best == nil || s.ttl > 0 && age > 2*s.ttl:
		b.WriteString("NOT_FOUND")
		best = nil
	case s.ttl > 0 && age > s.ttl:
		fmt.Fprintf(&b, "EXPIRED @%d", best.event)
		best = nil
	default:
		fmt.Fprintf(&b, "PRESENT @%d", best.event)
	}
	for _, f := range features {
		if best == nil {
			b.WriteString(" null")
		} else {
			b.WriteString(" " + text(best.values[f]))
		}
	}
	return b.String()
}

func TestJoinAgainstNaive(t *testing.T) {
	r := testenv.Rand(t)
	for round := range 150 {
		d := newDraw(r)
		facts := make([]fact, d.size())
		for i := range facts {
			facts[i] = d.fact()
		}
		questions := d.questions(d.size())
		cutoff := int64(math.MaxInt64)
		if d.IntN(3) == 0 {
			cutoff = d.Int64N(d.ticks + 1)
		}
		features := d.Perm(len(d.shape.features))[:d.IntN(len(d.shape.features)+1)]
		var want []string
		layout := d.shape.view(t).Layout
		for _, q := range questions {
			want = append(want, d.shape.naive(layout, facts, q, cutoff, features))
		}
		for range 2 {
			d.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
			files := d.files(facts)
			in := d.shape.input(t, files, 1+d.size())
			if cutoff != math.MaxInt64 {
				in.Cutoff = base + cutoff
			}
			for workers := 1; workers <= 4; workers++ {
				restore := d.room()
				got, err := Join(t.Context(), d.shape.spine(questions), in, features, Options{Workers: workers})
				restore()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, answers(got, in.View, features), equateEmpty); diff != "" {
					t.Fatalf("round %d, %d workers, %+v: -want +got\n%s", round, workers, d.shape, diff)
				}
				for i, q := range questions {
					if err := d.shape.checkWhere(got, i, q, files, layout); err != nil {
						t.Fatalf("round %d, %d workers, %+v: spine row %d: %v", round, workers, d.shape, i, err)
					}
				}
			}
		}
	}
}

// TestCrowdedTiesAgainstNaive: where ties crowd, created times are compared as rows come, whether most rows have a key of
// the spine or few.
func TestCrowdedTiesAgainstNaive(t *testing.T) {
	r := testenv.Rand(t)
	for round := range 4 {
		d := newDraw(r)
		d.shape.keys, d.shape.created = d.shape.keys[:min(len(d.shape.keys), 1)], true
		d.entities, d.ticks = []int64{2, 100}[round%2], 3
		facts := make([]fact, 12_000)
		for i := range facts {
			facts[i] = d.fact()
		}
		questions := d.questions(5)
		features := []int{0}
		layout := d.shape.view(t).Layout
		var want []string
		for _, q := range questions {
			want = append(want, d.shape.naive(layout, facts, q, math.MaxInt64, features))
		}
		in := d.shape.input(t, d.files(facts), 500)
		var first Stats
		for workers := 1; workers <= 3; workers++ {
			restore := d.room()
			got, err := Join(t.Context(), d.shape.spine(questions), in, features, Options{Workers: workers})
			restore()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, answers(got, in.View, features), equateEmpty); diff != "" {
				t.Fatalf("round %d, %d workers, %+v: -want +got\n%s", round, workers, d.shape, diff)
			}
			if workers == 1 {
				first = got.Stats
			} else if !reflect.DeepEqual(got.Stats, first) {
				t.Fatalf("round %d: %d workers count %+v, one counts %+v", round, workers, got.Stats, first)
			}
		}
	}
}

// checkWhere fails unless Where names the first of the facts equal to the one that answered spine row i.
func (s shape) checkWhere(r *Result, i int, q question, files [][]fact, layout *row.Layout) error {
	file, position, ok := r.Where(i)
	if !ok {
		if r.Status[i] != columnar.NotFound {
			return fmt.Errorf("%s, but nowhere", r.Status[i])
		}
		return nil
	}
	at := files[file][position]
	if !sameKeys(at.keys, q.keys) || at.event.(int64) != r.Event[i]-base {
		return fmt.Errorf("file %d, row %d is %v, which does not answer %v", file, position, at, q)
	}
	for n, facts := range files[:file+1] {
		for m, f := range facts {
			if n == file && int64(m) == position {
				return nil
			}
			if f.event != nil && sameKeys(f.keys, at.keys) && !s.precedes(layout, f, at) && !s.precedes(layout, at, f) {
				return fmt.Errorf("file %d, row %d, not the first: file %d, row %d", file, position, n, m)
			}
		}
	}
	return nil
}

// equateEmpty shows lists of lines as text, so that nil is an empty one.
var equateEmpty = cmp.Transformer("text", func(s []string) string { return strings.Join(s, "\n") })

// newest writes what Latest gives as sorted lines.
func newest(t *testing.T, in Input, since int64, workers int) ([]string, Stats) {
	t.Helper()
	var lines []string
	stats, err := Latest(t.Context(), in, since, Options{Workers: workers}, func(b *Batch) error {
		for i, event := range b.Event {
			var parts []string
			for _, v := range b.Keys {
				parts = append(parts, textAt(v, i))
			}
			created := "none"
			if b.Created[i] != row.NoCreated {
				created = fmt.Sprint(b.Created[i] - base)
			}
			parts = append(parts, fmt.Sprintf("@%d %s", event-base, created))
			for _, v := range b.Features {
				parts = append(parts, textAt(v, i))
			}
			lines = append(lines, strings.Join(parts, " "))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines, stats
}

func TestLatestAgainstNaive(t *testing.T) {
	r := testenv.Rand(t)
	for round := range 150 {
		d := newDraw(r)
		facts := make([]fact, d.size())
		for i := range facts {
			facts[i] = d.fact()
		}
		since, cutoff := d.Int64N(d.ticks+1)-d.ticks/2, d.Int64N(d.ticks+1)
		layout := d.shape.view(t).Layout
		best := map[string]fact{}
		for _, f := range facts {
			if f.event == nil || f.event.(int64) < since || f.event.(int64) > cutoff || slices.Contains(f.keys, nil) {
				continue
			}
			key := fmt.Sprintf("%#v", f.keys)
			if b, ok := best[key]; !ok || d.shape.precedes(layout, b, f) {
				best[key] = f
			}
		}
		var want []string
		for _, f := range best {
			var parts []string
			for _, key := range f.keys {
				parts = append(parts, text(key))
			}
			created := any("none")
			if d.shape.created && f.created != nil {
				created = f.created
			}
			parts = append(parts, fmt.Sprintf("@%d %v", f.event, created))
			for _, v := range f.values {
				parts = append(parts, text(v))
			}
			want = append(want, strings.Join(parts, " "))
		}
		slices.Sort(want)
		in := d.shape.input(t, d.files(facts), 1+d.size())
		in.Cutoff = base + cutoff
		var first Stats
		for workers := 1; workers <= 4; workers++ {
			restore := d.room()
			got, stats := newest(t, in, base+since, workers)
			restore()
			if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
				t.Fatalf("round %d, %d workers, %+v: -want +got\n%s", round, workers, d.shape, diff)
			}
			if workers == 1 {
				first = stats
			} else if !reflect.DeepEqual(stats, first) {
				t.Fatalf("round %d: %d workers count %+v, one counts %+v", round, workers, stats, first)
			}
		}
	}
}

func TestTablesAgainstMaps(t *testing.T) {
	r := testenv.Rand(t)
	for _, n := range []int{0, 1, 31, 32, 33, 63, 64, 65, 1023, 1025, 5000} {
		ints, strs := newIntTable(), newStringTable()
		intWant, strWant := map[int64]int32{}, map[string]int32{}
		iv, sv := columnar.NewVector(int64Type, n), columnar.NewVector(stringType, n)
		for range n {
			x := r.Int64N(int64(n)) << r.IntN(40)
			s := fmt.Sprint(x)
			iv.AppendInt64(x)
			sv.AppendString(s)
			if _, ok := intWant[x]; !ok {
				intWant[x] = int32(len(intWant))
				strWant[s] = int32(len(strWant))
			}
		}
		for _, step := range []struct {
			table table
			keys  *columnar.Vector
			want  func(i int) int32
		}{
			{ints, iv, func(i int) int32 { return intWant[iv.Int64s[i]] }},
			{strs, sv, func(i int) int32 { return strWant[string(sv.BytesAt(i))] }},
		} {
			for _, resolve := range []func(*columnar.Vector, []int32){step.table.number, step.table.number, step.table.find} {
				ids := make([]int32, n)
				resolve(step.keys, ids)
				for i, id := range ids {
					if id != step.want(i) {
						t.Fatalf("%d keys: value %d has number %d, want %d", n, i, id, step.want(i))
					}
				}
			}
			if step.table.size() != len(intWant) {
				t.Fatalf("size %d, want %d", step.table.size(), len(intWant))
			}
		}
	}
}
