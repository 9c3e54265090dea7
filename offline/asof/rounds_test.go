package asof

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
)

// stored is a row as a store has it.
type stored struct {
	event, created int64
	encoding       []byte
	line           string
}

func (s stored) beats(other stored) bool {
	if s.event != other.event {
		return s.event > other.event
	}
	if s.created != other.created {
		return s.created > other.created
	}
	return bytes.Compare(s.encoding, other.encoding) > 0
}

// store keeps the greatest row of every entity that it is given (R11).
type store map[string]stored

// take writes a batch and returns its entities.
func (s store) take(in Input, b *Batch) (entities []string) {
	for i, event := range b.Event {
		var parts []string
		for _, v := range b.Keys {
			parts = append(parts, textAt(v, i))
		}
		key := strings.Join(parts, " ")
		entities = append(entities, key)
		for _, v := range b.Features {
			parts = append(parts, textAt(v, i))
		}
		r := stored{event, b.Created[i], in.View.Layout.AppendBody(nil, b.Features, i), ""}
		r.line = fmt.Sprintf("%s @%d %d", strings.Join(parts, " "), event-base, r.created)
		if old, ok := s[key]; !ok || r.beats(old) {
			s[key] = r
		}
	}
	return entities
}

func (s store) lines() []string {
	var lines []string
	for _, r := range s {
		lines = append(lines, r.line)
	}
	slices.Sort(lines)
	return lines
}

// round is what a call of RoundDone ends.
type round struct {
	Files    int
	Entities []string
}

// inRounds runs Latest into a store. No entity may come twice in a round.
func inRounds(t *testing.T, in Input, since int64, opts Options) (store, []round, Stats) {
	t.Helper()
	s := store{}
	rounds := []round{{}}
	opts.RoundDone = func(files int) error {
		r := &rounds[len(rounds)-1]
		r.Files = files
		slices.Sort(r.Entities)
		if n := len(slices.Compact(slices.Clone(r.Entities))); n != len(r.Entities) {
			t.Errorf("%d entities came %d times in a round", n, len(r.Entities))
		}
		rounds = append(rounds, round{})
		return nil
	}
	found := 0
	stats, err := Latest(t.Context(), in, since, opts, func(b *Batch) error {
		r := &rounds[len(rounds)-1]
		r.Entities = append(r.Entities, s.take(in, b)...)
		found = max(found, b.Entities)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, r := range rounds {
		total += len(r.Entities)
	}
	if last := rounds[len(rounds)-1]; len(rounds) < 2 || len(last.Entities) > 0 || found < total || found > total && !opts.Tolerate {
		t.Errorf("%d entities came, %d were announced; after the last round %d", total, found, len(last.Entities))
	}
	return s, rounds[:len(rounds)-1], stats
}

// entityBytes is what an entity of a view takes, but for text.
func entityBytes(in Input) int64 { return newEntities(in.View.KeyColumns).keyBytes() + winnerBytes }

// TestRoundsFoldToOne: whatever the budget, the newest of what comes in all rounds is what comes in one; rounds, and what
// is counted, depend on the rows alone; and what a round says is done is done.
func TestRoundsFoldToOne(t *testing.T) {
	r := testenv.Rand(t)
	for n := range 30 {
		d := newDraw(r)
		facts := make([]fact, d.size())
		for i := range facts {
			facts[i] = d.fact()
		}
		files := d.files(facts)
		in := d.shape.input(t, files, 1+d.size())
		in.Cutoff = base + d.Int64N(d.ticks+1)
		since := base + d.Int64N(d.ticks+1) - d.ticks/2
		one, _, want := inRounds(t, in, since, Options{Workers: 1})
		want.Ties = 0
		for _, memory := range []int64{1, entityBytes(in), 7 * entityBytes(in), 100 * entityBytes(in), 0} {
			rows := []int64{0, 1, 20}[d.IntN(3)]
			for workers := 1; workers <= 3; workers++ {
				restore := d.room()
				got, rounds, stats := inRounds(t, in, since, Options{Workers: workers, Memory: memory, RoundRows: rows})
				restore()
				if diff := cmp.Diff(one.lines(), got.lines(), equateEmpty); diff != "" {
					t.Fatalf("history %d, %d bytes, %d workers: -one round +several\n%s", n, memory, workers, diff)
				}
				checkRounds(t, in, since, rounds, memory, len(files))
				if stats.Ties = 0; !reflect.DeepEqual(stats, want) {
					t.Fatalf("history %d, %d bytes: counted %+v, in one round %+v", n, memory, stats, want)
				}
			}
		}
	}
}

// checkRounds holds rounds against the budget, and against the files that they say are done.
func checkRounds(t *testing.T, in Input, since int64, rounds []round, memory int64, files int) {
	t.Helper()
	if last := rounds[len(rounds)-1].Files; last != files {
		t.Errorf("%d files are done at the end, of %d", last, files)
	}
	came := map[string]bool{}
	done := 0
	for _, r := range rounds {
		// Of composite keys a column has less than there are entities.
		least := winnerBytes + int64(stringKeyBytes)
		if len(in.View.KeyColumns) > 1 {
			least = winnerBytes + intKeyBytes
		}
		if n := int64(len(r.Entities)); memory > 0 && n > max(1, memory/least) && len(in.View.KeyColumns) > 0 {
			t.Errorf("a round of %d entities within %d bytes", n, memory)
		}
		if r.Files < done {
			t.Errorf("%d files done, then %d", done, r.Files)
		}
		for _, e := range r.Entities {
			came[e] = true
		}
		if done == r.Files {
			continue
		}
		done = r.Files
		part := in
		part.Files = in.Files[:done]
		s, _, _ := inRounds(t, part, since, Options{Workers: 1})
		for e := range maps.Keys(s) {
			if !came[e] {
				t.Errorf("entity %s has not come, but %d files are done", e, done)
			}
		}
	}
}

// TestRowGroupBeyondTheBudget: a row group whose entities don't fit comes in ranges of its rows, wherever pages end, of
// which each row counts once.
func TestRowGroupBeyondTheBudget(t *testing.T) {
	for _, kind := range []columnar.Kind{columnar.Int64, columnar.String} {
		s := shape{keys: []columnar.Kind{kind}, features: oneFloat}
		var files [][]fact
		for range 2 { // one with a dictionary
			var facts []fact
			for i := range 1000 {
				key := []any{int64(i * 7 % 1000)}
				switch {
				case i%10 == 3:
					key = []any{nil}
				case kind == columnar.String:
					key = []any{fmt.Sprintf("user-%06d", i*7%1000)}
				}
				f := at(key, int64(i), float64(i))
				if i%10 == 5 {
					f.event = nil
				}
				facts = append(facts, f)
			}
			files = append(files, facts)
		}
		in := s.input(t, files, 1000)
		in.Cutoff = base + 949
		one, _, want := inRounds(t, in, base+20, Options{Workers: 2})
		for _, entities := range []int64{1, 10, 99, 500} {
			memory := entities * (entityBytes(in) + int64(len("user-000000")))
			got, rounds, stats := inRounds(t, in, base+20, Options{Workers: 2, Memory: memory})
			if diff := cmp.Diff(one.lines(), got.lines()); diff != "" {
				t.Errorf("%d entities: -one round +several\n%s", entities, diff)
			}
			stats.Ties, want.Ties = 0, 0
			if !reflect.DeepEqual(stats, want) {
				t.Errorf("%d entities: counted %+v, in one round %+v", entities, stats, want)
			}
			if least := int(1600 / entities); len(rounds) < least {
				t.Errorf("%d entities: %d rounds, want %d at least", entities, len(rounds), least)
			}
			for _, r := range rounds {
				if int64(len(r.Entities)) > entities {
					t.Errorf("a round of %d entities, where %d fit", len(r.Entities), entities)
				}
			}
		}
	}
}

// TestDictionaryOfUnusedKeys: keys that a dictionary has and no row take no room.
func TestDictionaryOfUnusedKeys(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	var facts []fact
	for i := range 100 {
		facts = append(facts, at(k(i), int64(i), 1.5))
	}
	in := s.input(t, [][]fact{facts}, 100)
	l := newLatest(mustKernel(t, in, Options{Workers: 1, Memory: 10 * entityBytes(in)}), math.MinInt64)
	defer l.pass.abandon()
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.entities.size(); n > 10 || n == 0 {
		t.Errorf("%d entities are known in the first round, where 10 fit", n)
	}
}

func mustKernel(t *testing.T, in Input, opts Options) *kernel {
	t.Helper()
	k, err := newKernel(in, opts)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestRoundsEndWithFiles: after RoundRows rows, and not within a file.
func TestRoundsEndWithFiles(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	var files [][]fact
	for i := range 7 {
		files = append(files, []fact{at(k(i), 0, 1.5), at(k(i), 1, 2.5), at(k(i), 2, 3.5)})
	}
	in := s.input(t, files, 2)
	for rows, want := range map[int64][]int{1: {1, 2, 3, 4, 5, 6, 7}, 3: {1, 2, 3, 4, 5, 6, 7}, 4: {2, 4, 6, 7}, 100: {7}} {
		_, rounds, _ := inRounds(t, in, base, Options{Workers: 2, RoundRows: rows})
		var got []int
		for _, r := range rounds {
			got = append(got, r.Files)
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %d rows: %v, want %v", rows, got, want)
		}
	}
	in.Files = nil
	if _, rounds, _ := inRounds(t, in, base, Options{}); len(rounds) != 1 {
		t.Errorf("%d rounds of no files", len(rounds))
	}
}

// TestRoundDoneEndsTheCall: with its error, after the batches of its round alone.
func TestRoundDoneEndsTheCall(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	in := s.input(t, [][]fact{{at(k(1), 0, 1.5)}, {at(k(2), 0, 1.5)}, {at(k(3), 0, 1.5)}}, 2)
	enough := errors.New("enough")
	for _, files := range []int{1, 3} {
		rows := 0
		_, err := Latest(t.Context(), in, 0, Options{Workers: 3, RoundRows: 1, RoundDone: func(n int) error {
			if n == files {
				return enough
			}
			return nil
		}}, func(b *Batch) error { rows += len(b.Event); return nil })
		if !errors.Is(err, enough) || rows != files {
			t.Errorf("%d files: %d rows, %v", files, rows, err)
		}
	}
}

// TestErrorsInRounds: a damaged file ends the call, whoever waits for whom.
func TestErrorsInRounds(t *testing.T) {
	s := shape{keys: ints, features: oneFloat}
	for bad := range 6 {
		dir := t.TempDir()
		var files [][]fact
		for i := range 6 {
			files = append(files, []fact{at(k(2*i), 0, 1.5), at(k(2*i+1), 0, 1.5)})
		}
		in := s.inputIn(t, dir, files, 1)
		if err := os.Truncate(dir+"/"+in.Files[bad].Path, in.Files[bad].Size-9); err != nil {
			t.Fatal(err)
		}
		listed, err := in.Source.List(t.Context(), []string{"data"})
		if err != nil {
			t.Fatal(err)
		}
		in.Files = listed
		for workers := 1; workers <= 4; workers++ {
			_, err := Latest(t.Context(), in, 0, Options{Workers: workers, Memory: 1}, func(*Batch) error { return nil })
			if err == nil || !strings.Contains(err.Error(), in.Files[bad].Path) {
				t.Errorf("%d workers: %v; want it to name %s", workers, err, in.Files[bad].Path)
			}
		}
	}
}

// TestLongValuesComeInSmallBatches: text of winners is bounded, whatever the number of rows.
func TestLongValuesComeInSmallBatches(t *testing.T) {
	s := shape{keys: ints, features: []columnar.Type{stringType, float64Type}}
	var facts []fact
	for i := range 40 {
		facts = append(facts, fact{k(i), int64(0), nil, []any{strings.Repeat(string(rune('a'+i%26)), 1<<20), float64(i)}})
	}
	in := s.input(t, [][]fact{facts}, 40)
	rows := 0
	_, err := Latest(t.Context(), in, 0, Options{Workers: 2}, func(b *Batch) error {
		if n := len(b.Features[0].Data); n > batchBytes {
			t.Errorf("a batch of %d bytes", n)
		}
		for i := range b.Event {
			if id := b.Keys[0].Int64s[i]; b.Features[0].BytesAt(i)[0] != byte('a'+id%26) || b.Features[1].Float64s[i] != float64(id) {
				t.Errorf("entity %d has the values of another", id)
			}
		}
		if b.Created[0] != row.NoCreated || b.Entities != 40 {
			t.Errorf("created %d, %d entities", b.Created[0], b.Entities)
		}
		rows += len(b.Event)
		return nil
	})
	if err != nil || rows != 40 {
		t.Errorf("%d rows, %v", rows, err)
	}
}
