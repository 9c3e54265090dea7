package materialize_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/registry"
)

// alive returns by key the stored rows that can be part of an answer at T.
func (w *world) alive() map[string][]byte {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	rows := map[string][]byte{}
	check(w.t, w.store.Scan(w.t.Context(), live[0].Generation, func(key, stored []byte) error {
		event, _, err := row.Times(stored)
		if err != nil {
			return err
		}
		if columnar.Judge(event, live[0].T, w.snap.Views["v"].TTLMicros) != columnar.NotFound {
			rows[string(key)] = bytes.Clone(stored)
		}
		return nil
	}))
	return rows
}

// step is one thing that happens to a project.
type step struct {
	file  string // written, or removed where rows is nil
	rows  []fact
	after time.Duration // of the run, after the last
	cut   int           // batches after which the run fails; 0: it does not
	again bool          // the run is repeated
	full  bool
	// of the run that is cut off, and of the one after it
	memory, rounds int64
	cancelled      bool // rather than failed
}

// history of a project: files come, are rewritten and go, runs are cut off, repeated, moved on.
func steps(rnd *rand.Rand) []step {
	var all []step
	var files []string
	for i := range 6 + rnd.IntN(6) {
		s := step{after: time.Duration(rnd.IntN(40)) * time.Minute, again: rnd.IntN(4) == 0, full: rnd.IntN(8) == 0}
		if rnd.IntN(3) == 0 {
			s.cut = 1 + rnd.IntN(8)
			s.cancelled = rnd.IntN(3) == 0
		}
		if rnd.IntN(2) == 0 {
			s.memory = 1 << rnd.IntN(12)
		}
		if rnd.IntN(2) == 0 {
			s.rounds = 1 + rnd.Int64N(10)
		}
		switch {
		case len(files) > 1 && rnd.IntN(5) == 0:
			k := rnd.IntN(len(files))
			s.file = files[k]
			files = slices.Delete(files, k, k+1)
		case len(files) > 0 && rnd.IntN(5) == 0:
			s.file, s.rows = files[rnd.IntN(len(files))], facts(rnd, 1+rnd.IntN(20))
		default:
			s.file, s.rows = fmt.Sprintf("%d-%d.parquet", rnd.IntN(100), i), facts(rnd, 1+rnd.IntN(30))
			files = append(files, s.file)
		}
		all = append(all, s)
	}
	return all
}

var errCut = errors.New("cut off")

// play makes the steps happen and checks R11 after each run that ended well.
func (w *world) play(all []step) {
	w.t.Helper()
	w.now = noon.Add(-4 * time.Hour)
	for _, s := range all {
		if s.rows == nil {
			w.remove(s.file)
		} else {
			w.write(s.file, s.rows...)
		}
		w.now = w.now.Add(s.after)
		w.svc = w.service(w.store, func(c *materialize.Config) { c.Memory, c.RoundRows = s.memory, s.rounds })
		if s.cut > 0 {
			ctx, cancel := context.WithCancelCause(w.t.Context())
			st := &intercepted{Store: w.store}
			left := s.cut
			st.before = func(_ context.Context, call string) error {
				if left--; left < 0 {
					cancel(errCut)
					if s.cancelled {
						return context.Canceled
					}
					return errCut
				}
				return nil
			}
			_, err := w.service(st, func(c *materialize.Config) {
				c.Writers, c.Memory, c.RoundRows = 1, s.memory, s.rounds
			}).Run(ctx, materialize.Request{Full: s.full}, nil)
			cancel(nil)
			if err != nil && !errors.Is(err, errCut) {
				w.t.Fatal(err)
			}
			if s.again {
				continue // the next step's run makes up for it
			}
		}
		w.run(materialize.Request{Full: s.full})
		if s.again {
			w.run(materialize.Request{})
		}
		w.clean()
	}
	w.now = w.now.Add(time.Minute)
	w.run(materialize.Request{To: w.now})
	w.clean()
}

// One run ≡ any ordered split ≡ repeats ≡ runs cut off ≡ shuffled and duplicated files ≡ Redis ≡ embedded, with files
// added, rewritten and deleted in between.
func TestRandomHistories(t *testing.T) {
	rnd := testenv.Rand(t)
	server := onlinetest.StartRedisServer(t)
	for round := range 5 {
		all := steps(rnd)
		snap := snapshot(nil)
		if rnd.IntN(3) == 0 {
			snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.TTL = 0 })
		}
		check(t, server.Client(t).FlushAll(t.Context()).Err())
		a := newWorld(t, backend{URL: filepath.Join(t.TempDir(), "online")})
		b := newWorld(t, backend{URL: server.URL, redis: server})
		for _, w := range []*world{a, b} {
			w.snap = snap
			w.play(all)
		}
		files := map[string][]fact{}
		for _, s := range all {
			if files[s.file] = s.rows; s.rows == nil {
				delete(files, s.file)
			}
		}
		// The same rows in other files, shuffled, some of them twice, in one run.
		c := one(t)
		c.snap, c.now = snap, a.now
		var rows []fact
		for _, name := range slices.Sorted(maps.Keys(files)) {
			rows = append(rows, files[name]...)
		}
		rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		half := len(rows) / 2
		c.write("x.parquet", rows[:half]...)
		c.write("y.parquet", rows[half:]...)
		c.write("z.parquet", rows[half/2:]...)
		c.run(materialize.Request{To: c.now})
		c.clean()
		want := c.alive()
		for name, got := range map[string]map[string][]byte{"embedded": a.alive(), "redis": b.alive()} {
			if !maps.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("round %d: %s has %d rows, one run gives %d, and they differ", round, name, len(got), len(want))
			}
		}
	}
}

// Rows come out the same whatever the number of workers, writers and rows of a batch, the memory, and the rate.
func TestRandomConfigurations(t *testing.T) {
	rnd := testenv.Rand(t)
	rows := facts(rnd, 400)
	var want map[string][]byte
	for _, c := range [][5]int64{{1, 1, 1}, {4, 1, 4096}, {1, 5, 3}, {3, 3, 2, 1, 1}, {2, 2, 64, 200, 0}, {3, 2, 7, 0, 150}, {1, 3, 16, 1000, 1}} {
		w := one(t)
		for i := 0; i < len(rows); i += 100 {
			w.write(fmt.Sprintf("%d.parquet", i), rows[i:i+100]...)
		}
		svc := w.service(w.store, func(cfg *materialize.Config) {
			cfg.Workers, cfg.Writers, cfg.BatchRows = int(c[0]), int(c[1]), int(c[2])
			cfg.Memory, cfg.RoundRows, cfg.Rate = c[3], c[4], 10_000
		})
		runs, err := svc.Run(t.Context(), materialize.Request{To: noon}, nil)
		check(t, err)
		w.clean()
		got := w.alive()
		if want == nil {
			want = got
		}
		if !maps.EqualFunc(got, want, bytes.Equal) || c[3]+c[4] == 0 && (runs[0].Written != int64(len(got)) || runs[0].Older != 0) {
			t.Errorf("%v: %d rows, want %d; run %+v", c, len(got), len(want), runs[0])
		}
	}
}

var _ online.Store = (*intercepted)(nil)
