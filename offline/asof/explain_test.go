package asof

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
)

// placed is a fact and where a test's files have it.
type placed struct {
	fact
	encoding  []byte
	file, row int
}

// naiveCandidates lists an entity's facts on one side of an instant as Explain shall, all of them.
func (s shape) naiveCandidates(files [][]fact, layout *row.Layout, keys []any, later bool, at int64) (lines []string, rows int64) {
	var all []placed
	for f, facts := range files {
		for r, x := range facts {
			if x.event != nil && sameKeys(x.keys, keys) && (x.event.(int64) > at) == later {
				all = append(all, placed{x, s.encoding(layout, x), f, r})
			}
		}
	}
	created := func(p placed) int64 {
		if !s.created || p.created == nil {
			return math.MinInt64
		}
		return p.created.(int64)
	}
	order := func(a, b placed) int {
		events := cmp.Compare(b.event.(int64), a.event.(int64))
		if later {
			events = -events
		}
		return cmp.Or(events, cmp.Compare(created(b), created(a)), bytes.Compare(b.encoding, a.encoding))
	}
	slices.SortStableFunc(all, order) // the first place of equal ones stays first
	for i := 0; i < len(all); {
		n := i + 1
		for n < len(all) && order(all[i], all[n]) == 0 {
			n++
		}
		c := all[i]
		line := fmt.Sprintf("@%d/%d at %d:%d, %d copies", c.event, created(c), c.file, c.row, n-i-1)
		for _, copied := range all[i+1 : min(n, i+1+maxCopiesAt)] {
			line += fmt.Sprintf(" %d:%d", copied.file, copied.row)
		}
		for _, x := range c.values {
			line += " " + text(x)
		}
		lines, i = append(lines, line), n
	}
	return lines, int64(len(all))
}

func candidateLines(list []Candidate) (lines []string) {
	for _, c := range list {
		created := c.Created
		if created != row.NoCreated {
			created -= base
		}
		line := fmt.Sprintf("@%d/%d at %d:%d, %d copies", c.Event-base, created, c.File, c.Row, c.Copies)
		for _, at := range c.CopiesAt {
			line += fmt.Sprintf(" %d:%d", at.File, at.Row)
		}
		for _, v := range c.Features {
			line += " " + textAt(v, 0)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestExplainAgainstNaive(t *testing.T) {
	defer func(room int) { shortlistRoom = room }(shortlistRoom)
	r := testenv.Rand(t)
	skipped := int64(0)
	defer func() {
		if skipped == 0 {
			t.Error("no row group was ruled out by its keys")
		}
	}()
	for round := range 150 {
		d := newDraw(r)
		facts := make([]fact, d.size())
		for i := range facts {
			facts[i] = d.fact()
		}
		shortlistRoom = []int{1, 2, 16, 4096}[d.IntN(4)]
		files := d.files(facts)
		groupRows := 1 + d.size()
		in := d.shape.input(t, files, groupRows)
		layout := in.View.Layout
		questions := d.questions(8)
		for i := range questions[:4] {
			// Instants at which an answer changes.
			if len(facts) > 0 {
				if event := facts[d.IntN(len(facts))].event; event != nil {
					questions[i].time = event.(int64) + d.shape.ttl*d.Int64N(3) + d.Int64N(3) - 1
				}
			}
		}
		spine := d.shape.spine(questions)
		joined, err := Join(t.Context(), spine, in, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range questions {
			n := d.IntN(5)
			got, err := Explain(t.Context(), oneRow(spine.Keys, i), spine.Times[i], n, in, Options{Workers: 1 + d.IntN(4)})
			if slices.Contains(q.keys, nil) {
				if problem.CodeOf(err) != problem.Invalid {
					t.Fatalf("a null key: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			skipped += got.Stats.RowsSkipped
			before, rowsBefore := d.shape.naiveCandidates(files, layout, q.keys, false, q.time)
			after, rowsAfter := d.shape.naiveCandidates(files, layout, q.keys, true, q.time)
			where := fmt.Sprintf("round %d, %d candidates, %+v, %v", round, n, d.shape, q)
			if diff := gocmp.Diff(before[:min(1+n, len(before))], candidateLines(got.Before), equateEmpty); diff != "" {
				t.Fatalf("%s: before, -want +got\n%s", where, diff)
			}
			if diff := gocmp.Diff(after[:min(n, len(after))], candidateLines(got.After), equateEmpty); diff != "" {
				t.Fatalf("%s: after, -want +got\n%s", where, diff)
			}
			if got.RowsBefore != rowsBefore || got.RowsAfter != rowsAfter {
				t.Fatalf("%s: %d and %d rows, want %d and %d", where, got.RowsBefore, got.RowsAfter, rowsBefore, rowsAfter)
			}
			// The first is the row that the join answers with.
			status := columnar.NotFound
			if len(got.Before) > 0 {
				first := got.Before[0]
				status = columnar.Judge(first.Event, spine.Times[i], in.View.TTLMicros)
				if file, at, ok := joined.Where(i); ok && (file != first.File || at != first.Row) {
					t.Fatalf("%s: the join answers with %d:%d, not %d:%d", where, file, at, first.File, first.Row)
				}
				for _, c := range append(got.Before, got.After...) {
					if c.Group != int(c.Row)/groupRows {
						t.Fatalf("%s: row %d is not in row group %d of %d rows each", where, c.Row, c.Group, groupRows)
					}
				}
			}
			if joined.Status[i] != status {
				t.Fatalf("%s: %s, the join says %s", where, status, joined.Status[i])
			}
		}
	}
}

func TestExplainNearMisses(t *testing.T) {
	s := shape{keys: []columnar.Kind{columnar.String, columnar.Int64}, features: []columnar.Type{int64Type}}
	var files [][]fact
	for _, name := range []string{"jfk", "JFK ", "jfk", "0JFK", "JFK.0", "\tjFk", "JFKX", "", "J FK", "00jfk", "000jfk"} {
		files = append(files, []fact{{keys: []any{name, int64(7)}, event: int64(1), values: []any{int64(1)}}})
	}
	files = append(files, []fact{
		{keys: []any{"JFK", int64(8)}, event: int64(2), values: []any{int64(1)}},
		{keys: []any{nil, int64(7)}, event: int64(3), values: []any{int64(1)}},
		{keys: []any{"JFK", nil}, event: int64(9), values: []any{int64(1)}},
	})
	in := s.input(t, files, 2)
	keys := s.spine([]question{{keys: []any{"JFK", int64(7)}}}).Keys
	for workers := 1; workers <= 4; workers++ {
		got, err := Explain(t.Context(), keys, base, 3, in, Options{Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		var near []string
		for _, m := range got.NearMisses {
			near = append(near, fmt.Sprintf("%s %s %d", textAt(m.Keys[0], 0), textAt(m.Keys[1], 0), m.Rows))
		}
		want := []string{`"jfk" 7 2`, `"\tjFk" 7 1`, `"0JFK" 7 1`, `"JFK " 7 1`, `"00jfk" 7 1`}
		if diff := gocmp.Diff(want, near); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if want := []int64{2, 12}; !slices.Equal(got.Matching, want) {
			t.Errorf("matching %v, want %v", got.Matching, want)
		}
		if got.First != base+1 || got.Last != base+9 || got.Stats.NullKeys != 2 || len(got.Before)+len(got.After) != 0 {
			t.Errorf("%+v", got)
		}
	}
}

// Of many rows that tie a few are held.
func TestExplainIsBounded(t *testing.T) {
	s := shape{features: []columnar.Type{stringType}}
	var facts []fact
	for i := range 50_000 {
		facts = append(facts, fact{event: int64(i / 25_000), values: []any{strings.Repeat("x", i%1000)}})
	}
	in := s.input(t, [][]fact{facts}, 20_000)
	k, err := newKernel(in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func(room int) { shortlistRoom = room }(shortlistRoom)
	shortlistRoom = 1000
	l := shortlist{kernel: k, keep: 4}
	most := 0
	for i, f := range facts {
		x := standing{event: base + f.event.(int64), created: row.NoCreated}
		x.spots[0].pos = position(0, int64(i))
		if err := l.offer(t.Context(), &x); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(l.rows))
	}
	got, err := l.candidates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if most > shortlistRoom || len(got) != 4 || got[0].Copies != 24 || got[0].Features[0].Size(0) != 895 { // the length comes first, 7 bits at a time
		t.Errorf("%d rows held, %d candidates, the first %+v", most, len(got), got[0])
	}
}
