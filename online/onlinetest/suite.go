// Package onlinetest has the conformance suite of online stores, and a real Redis for tests.
package onlinetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
)

// Subject is one empty store under test, and ways to harm its data behind its back.
type Subject struct {
	// Open opens the store's data: at first, and again after a Close.
	Open func(t *testing.T) online.Store
	// LoseMarker removes the marker of a generation, LoseAll everything there is.
	LoseMarker func(t *testing.T, gen online.GenerationID)
	LoseAll    func(t *testing.T)
	// Overwrite puts bytes in place of a row.
	Overwrite func(t *testing.T, gen online.Generation, key, stored []byte)
}

// Run runs the suite; every test of it gets its own subject.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, tt := range []struct {
		name string
		test func(*suite)
	}{
		{"NewestWins", (*suite).newestWins},
		{"WinEqual", (*suite).winEqual},
		{"WinAlways", (*suite).winAlways},
		{"RepeatedKeys", (*suite).repeatedKeys},
		{"RandomOrder", (*suite).randomOrder},
		{"ConcurrentWriters", (*suite).concurrentWriters},
		{"Sizes", (*suite).sizes},
		{"AbsentAndNull", (*suite).absentAndNull},
		{"Groups", (*suite).groups},
		{"GlobalKey", (*suite).globalKey},
		{"BinaryKeys", (*suite).binaryKeys},
		{"Delete", (*suite).delete},
		{"Drop", (*suite).drop},
		{"Generations", (*suite).generations},
		{"Scan", (*suite).scan},
		{"NeverCreated", (*suite).neverCreated},
		{"MarkerLost", (*suite).markerLost},
		{"WentBack", (*suite).wentBack},
		{"AllLost", (*suite).allLost},
		{"Claim", (*suite).claim},
		{"Reopen", (*suite).reopen},
		{"Damaged", (*suite).damaged},
		{"Cancelled", (*suite).cancelled},
		{"Closed", (*suite).closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			running := goleak.IgnoreCurrent()
			s := &suite{T: t, ctx: t.Context(), rnd: testenv.Rand(t), layout: Layout()}
			t.Cleanup(func() {
				if s.store != nil {
					s.ok(s.store.Close())
				}
				testenv.NoLeaks(t, running)
			})
			s.subject = open(t)
			s.store = s.subject.Open(t)
			_, err := s.store.Claim(s.ctx, "registry", "p1")
			s.ok(err)
			tt.test(s)
		})
	}
}

// Layout returns the layout of the suite's rows: one int64.
func Layout() *row.Layout {
	return row.NewLayout([]row.Field{{Name: "v", Type: columnar.Type{Kind: columnar.Int64}}})
}

// Fact is what the suite's rows say.
type Fact struct{ Event, Created, V int64 }

// At is a fact without created time.
func At(event, v int64) Fact { return Fact{event, row.NoCreated, v} }

// Row returns a fact as a stored row.
func (f Fact) Row() []byte {
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1)
	v.AppendInt64(f.V)
	return Layout().AppendRow(nil, f.Event, f.Created, []*columnar.Vector{v}, 0)
}

// Key returns the entity key of an int64.
func Key(x int64) []byte { return row.AppendInt64Key(nil, x) }

var (
	genA = online.Generation{ID: 1, Keyspace: 1}
	genB = online.Generation{ID: 300, Keyspace: 1} // more than one byte
	genC = online.Generation{ID: 2, Keyspace: 2}
)

// suite is one test of one store.
type suite struct {
	*testing.T
	ctx     context.Context
	rnd     *rand.Rand
	layout  *row.Layout
	subject Subject
	store   online.Store
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) create(gens ...online.Generation) {
	s.Helper()
	for _, gen := range gens {
		s.ok(s.store.CreateGeneration(s.ctx, gen))
	}
}

// write stores one fact and says what must become of it.
func (s *suite) write(gen online.Generation, key int64, f Fact, win online.Win, written bool) {
	s.Helper()
	got, err := s.store.Write(s.ctx, gen, []online.Entry{{Key: Key(key), Row: f.Row()}}, win)
	s.ok(err)
	want := online.WriteResult{Older: 1}
	if written {
		want = online.WriteResult{Written: 1}
	}
	if got != want {
		s.Errorf("%+v: got %+v, want %+v", f, got, want)
	}
}

// lookup reads one cell; nil where absent.
func (s *suite) lookup(gen online.Generation, key []byte) ([]byte, error) {
	var rows online.Rows
	err := s.store.Read(s.ctx, []online.Group{{
		Keyspace: gen.Keyspace, Generations: []online.GenerationID{gen.ID}, Keys: [][]byte{key},
	}}, &rows)
	if err != nil {
		return nil, err
	}
	return rows.Row(0, 0, 0, 1), nil
}

// want checks one cell; nil is absent.
func (s *suite) want(gen online.Generation, key []byte, want []byte) {
	s.Helper()
	got, err := s.lookup(gen, key)
	s.ok(err)
	if (got == nil) != (want == nil) || string(got) != string(want) {
		s.Errorf("key %x of generation %d: got %s, want %s", key, gen.ID, s.show(got), s.show(want))
	}
}

func (s *suite) show(stored []byte) string {
	if stored == nil {
		return "absent"
	}
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1)
	event, created, err := s.layout.Project([]int{0}).Append([]*columnar.Vector{v}, stored)
	if err != nil {
		return fmt.Sprintf("%x (%v)", stored, err)
	}
	return fmt.Sprintf("%+v", Fact{event, created, v.Int64s[0]})
}

// all returns every row of a generation by key.
func (s *suite) all(gen online.Generation) map[string]string {
	s.Helper()
	rows := map[string]string{}
	s.ok(s.store.Scan(s.ctx, gen, func(key, stored []byte) error {
		rows[string(key)] = string(stored)
		return nil
	}))
	return rows
}
