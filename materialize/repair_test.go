package materialize_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/online"
)

// putBytes stores bytes under a key behind the runs' back.
func (w *world) putBytes(key, stored []byte) {
	w.t.Helper()
	_, err := w.store.Write(w.t.Context(), w.serving(), []online.Entry{{Key: key, Row: stored}}, online.WinAlways)
	check(w.t, err)
}

func (w *world) serving() online.Generation {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	return live[0].Generation
}

// everything returns all stored rows by key.
func (w *world) everything() map[string]string {
	w.t.Helper()
	rows := map[string]string{}
	check(w.t, w.store.Scan(w.t.Context(), w.serving(), func(key, stored []byte) error {
		rows[string(key)] = string(stored)
		return nil
	}))
	return rows
}

// harm makes one entity's row another than history has, and returns the class of what that is.
func (w *world) harm(rnd *rand.Rand, key string, stored []byte) string {
	w.t.Helper()
	view := w.snap.Views["v"]
	event, created, err := row.Times(stored)
	check(w.t, err)
	cols := newColumns(view)
	_, _, err = view.Layout.Project([]int{0, 1}).Append(cols, stored)
	check(w.t, err)
	encode := func(event, created int64, cols []*columnar.Vector) {
		w.putBytes([]byte(key), view.Layout.AppendRow(nil, event, created, cols, 0))
	}
	other := newColumns(view)
	other[0].AppendFloat64(-7)
	other[1].AppendInt64(-7)
	minute := time.Minute.Microseconds()
	switch rnd.IntN(7) {
	case 0:
		check(w.t, w.store.Delete(w.t.Context(), w.serving(), [][]byte{[]byte(key)}))
		return materialize.Missing
	case 1:
		encode(event, created, other)
	case 2:
		encode(event-minute/4, created, cols) // an older row of the same values
	case 3:
		encode(event-minute/4, created, other)
	case 4:
		encode(w.now.UnixMicro()+minute, created, other)
	case 5:
		damaged := slices.Clone(stored)
		damaged[rnd.IntN(len(damaged))] ^= 1 << rnd.IntN(8)
		w.putBytes([]byte(key), damaged)
	default:
		w.putBytes([]byte(key), stored[:rnd.IntN(len(stored))])
	}
	return materialize.Wrong
}

// Rows of every kind of harm are found, each entity by its name and class, and mended, and nothing else is touched.
func TestRepairRandom(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		rnd := testenv.Rand(t)
		rounds := 12
		if testenv.Long() {
			rounds = 300
		}
		w.write("0.parquet", facts(rnd, 60)...)
		w.write("1.parquet", facts(rnd, 60)...)
		w.run(materialize.Request{})
		for range rounds {
			before, alive := w.everything(), w.alive()
			names := slices.Sorted(maps.Keys(alive))
			rnd.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
			want := map[string]string{}
			for _, key := range names[:rnd.IntN(min(len(names), 6))] {
				k := columnar.NewVector(columnar.Type{Kind: columnar.String}, 1)
				check(t, row.ParseKey([]byte(key), []*columnar.Vector{k}))
				want["k="+string(k.BytesAt(0))] = w.harm(rnd, key, alive[key])
			}
			for i := range rnd.IntN(3) {
				name := fmt.Sprintf("s%d", i)
				w.put(name, []float64{10, -10}[rnd.IntN(2)], 1) // or of the future
				want["k="+name] = materialize.Extra
			}
			if rnd.IntN(2) == 0 {
				key := row.AppendInt64Key(nil, 7)
				w.putBytes(key, []byte("of another view"))
				want[fmt.Sprintf("key %x", key)] = materialize.Extra
			}
			got := map[string]string{}
			found := w.verify(materialize.VerifyRequest{Full: true})
			for _, d := range found.Diffs {
				got[d.Entity] = d.Class
			}
			for name := range want {
				// A damaged row may read as some other row, or as one of the future.
				if want[name] == materialize.Wrong && got[name] != "" {
					want[name] = got[name]
				}
			}
			if !maps.Equal(got, want) {
				t.Fatalf("found %v, want %v", got, want)
			}
			r := w.verify(materialize.VerifyRequest{Full: true, Repair: true})
			if !r.Sound() || r.Equal+r.Behind != r.Cells || r.Repaired != int64(len(want)) {
				t.Fatalf("harmed %v, repaired %+v", want, r)
			}
			if after := w.everything(); !maps.Equal(after, before) {
				t.Fatalf("harmed %v: stored %q, want %q", want, after, before)
			}
			w.clean()
		}
	})
}

// A repair of a sample mends what it has seen; repeated over a clean view it does nothing.
func TestRepairSample(t *testing.T) {
	w := one(t)
	var rows []fact
	for i := range 40 {
		rows = append(rows, at(fmt.Sprint("e", i), 10, float64(i)))
	}
	w.write("1.parquet", rows...)
	w.run(materialize.Request{})
	for i := range 40 {
		w.put(fmt.Sprint("e", i), 10, -1)
	}
	if r := w.verify(materialize.VerifyRequest{Sample: 7, Repair: true}); r.Repaired != 7 || r.Entities != 7 || !r.Sound() {
		t.Errorf("a sample: %+v", r)
	}
	if r := w.verify(materialize.VerifyRequest{Full: true}); r.Wrong != 2*33 {
		t.Errorf("after it: %+v", r)
	}
	if r := w.verify(materialize.VerifyRequest{Full: true, Repair: true}); r.Repaired != 33 || !r.Sound() {
		t.Errorf("the rest: %+v", r)
	}
	if r := w.verify(materialize.VerifyRequest{Full: true, Repair: true}); r.Repaired != 0 || !r.Sound() || r.Equal != 80 {
		t.Errorf("nothing: %+v", r)
	}
	_, err := w.svc.Verify(t.Context(), materialize.VerifyRequest{Repair: true, Now: noon}, nil)
	if problem.CodeOf(err) != problem.Invalid {
		t.Errorf("a repair at a fixed time: %v", err)
	}
}

// A repair and a run exclude each other; one that was cut off is repeated.
func TestRepairLease(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("b", 10, 2))
		w.run(materialize.Request{})
		w.put("a", 10, -1)
		w.delete("b")
		repair := materialize.VerifyRequest{Full: true, Repair: true}

		held, err := w.state.Acquire(t.Context(), "v", w.cfg.StoreName, "other:1", w.now, time.Minute)
		check(t, err)
		if _, err := w.svc.Verify(t.Context(), repair, nil); problem.CodeOf(err) != problem.Conflict {
			t.Errorf("while a run goes on: %v", err)
		}
		check(t, w.state.Release(t.Context(), held))

		cut := &intercepted{Store: w.store}
		cut.before = func(_ context.Context, call string) error {
			if call == "write" {
				w.fails(materialize.Request{}, problem.Conflict, "being materialized by other:1")
				return errCut
			}
			return nil
		}
		if _, err := w.service(cut, nil).Verify(t.Context(), repair, nil); !errors.Is(err, errCut) {
			t.Errorf("cut off: %v", err)
		}

		// Stopped until its lease was over, and gone on behind another's.
		taken := false
		late := &intercepted{Store: w.store}
		late.before = func(ctx context.Context, call string) error {
			if call == "write" && !taken {
				taken = true
				_, err := w.state.Acquire(ctx, "v", w.cfg.StoreName, "another:1", w.now.Add(time.Hour), time.Minute)
				return err
			}
			return nil
		}
		_, err = w.service(late, nil).Verify(t.Context(), repair, nil)
		if problem.CodeOf(err) != problem.Conflict || !strings.Contains(err.Error(), "has taken over") {
			t.Errorf("a lost lease: %v", err)
		}

		w.now = noon.Add(2 * time.Hour)
		if r := w.verify(repair); !r.Sound() || r.Equal != r.Cells {
			t.Errorf("repeated: %+v", r)
		}
		w.clean()
	})
}

// What a run would bring is behind, not wrong.
func TestVerifyBehind(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("b", 10, 2), at("c", 10, 3), at("d", -20, 4), at("a", -10, 5))
		w.run(materialize.Request{})
		w.clean()
		behind := func(entities, equal, behind int64) {
			t.Helper()
			r := w.verify(materialize.VerifyRequest{Full: true})
			if r.Entities != entities || r.Equal != equal || r.Behind != behind || !r.Sound() || len(r.Diffs) > 0 || r.Note != "" {
				t.Errorf("report %+v", r)
			}
			if s := w.verify(materialize.VerifyRequest{}); s.Behind != behind || s.Equal != equal {
				t.Errorf("a sample: %+v", s)
			}
			if r := w.verify(materialize.VerifyRequest{Full: true, Repair: true}); r.Repaired != 0 || r.Behind != behind {
				t.Errorf("repaired what is behind: %+v", r)
			}
		}
		behind(3, 6, 0)
		w.now = noon.Add(15 * time.Minute) // the held row of a is due, that of d is not
		behind(3, 4, 2)
		w.write("2.parquet", at("b", 9, 2.5), at("c", 11, 9), at("new", 1, 1)) // newer, older, new
		behind(4, 2, 6)
		w.put("c", 10, -1)
		if r := w.verify(materialize.VerifyRequest{Full: true, Repair: true}); r.Repaired != 1 || r.Behind != 6 || !r.Sound() {
			t.Errorf("a wrong row among those behind: %+v", r)
		}
		w.run(materialize.Request{})
		behind(4, 8, 0)
		// The same value, of a newer row: it lives longer.
		w.write("3.parquet", at("c", 5, 3))
		behind(4, 6, 2)
		w.run(materialize.Request{})
		w.clean()
	})
}

// A file that no run has read and that can't be read hides what is behind, and nothing else.
func TestVerifyBesideBrokenFile(t *testing.T) {
	w := one(t)
	w.write("1.parquet", at("a", 10, 1), at("b", 10, 2))
	w.run(materialize.Request{})
	check(t, os.WriteFile(w.path("2.parquet"), []byte("PAR1, half-written"), 0o644))
	w.delete("b")
	for _, req := range []materialize.VerifyRequest{{Full: true}, {}} {
		r := w.verify(req)
		if r.Equal != 2 || r.Missing != 2 || r.Behind != 0 ||
			!strings.Contains(r.Note, "what is behind can't be told") || !strings.Contains(r.Note, "2.parquet") {
			t.Errorf("report %+v", r)
		}
	}
	if r := w.verify(materialize.VerifyRequest{Full: true, Repair: true}); r.Repaired != 1 || r.Equal != 4 {
		t.Errorf("repaired %+v", r)
	}
}

// Rows of files that are no longer as they were read can't be compared; what history still shows can.
func TestVerifyAltered(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 20, 1), at("b", 20, 2), at("c", 20, 3))
		w.write("2.parquet", at("a", 10, 4), at("only", 10, 5))
		w.run(materialize.Request{})
		w.write("2.parquet", at("a", 5, 6))
		w.delete("b")
		w.put("c", 30, -1)
		r := w.verify(materialize.VerifyRequest{Full: true})
		if r.Missing != 2 || r.Wrong != 2 || r.Behind != 4 || r.Extra != 0 || !strings.Contains(r.Note, "1 of the files that were read have changed") {
			t.Errorf("report %+v", r)
		}
		stored := w.everything()
		r = w.verify(materialize.VerifyRequest{Full: true, Repair: true})
		if r.Repaired != 0 || !strings.Contains(r.Note, "nothing was repaired") || !maps.Equal(stored, w.everything()) {
			t.Errorf("repaired %+v", r)
		}
		w.run(materialize.Request{})
		w.clean()
	})
}

// Harm done in Redis itself. A key that something else has taken is not ours to remove: the error names it, and the rest is
// mended.
func TestRepairInRedis(t *testing.T) {
	w := redisWorld(t)
	w.write("1.parquet", at("a", 10, 1), at("b", 10, 2), at("c", 10, 3), at("d", 10, 4))
	w.run(materialize.Request{})
	before := w.everything()
	c, ctx := w.backend.redis.Client(t), t.Context()
	hash := func(name string) (key, field string) {
		t.Helper()
		for _, key := range c.Keys(ctx, "*").Val() {
			if strings.HasSuffix(key, name) && c.Type(ctx, key).Val() == "hash" {
				return key, c.HKeys(ctx, key).Val()[0]
			}
		}
		t.Fatalf("no hash of %s", name)
		return "", ""
	}
	a, field := hash("a")
	check(t, c.HSet(ctx, a, field, "short").Err())
	b, _ := hash("b")
	check(t, c.HDel(ctx, b, field).Err())
	d, _ := hash("d")
	check(t, c.Del(ctx, d).Err())
	check(t, c.Set(ctx, d, "another's", 0).Err())

	r := w.verify(materialize.VerifyRequest{Full: true})
	if want := []string{
		"k=a f: ERROR / 1 PRESENT", "k=a n: ERROR / 10 PRESENT", "k=b f: NOT_FOUND / 2 PRESENT", "k=b n: NOT_FOUND / 20 PRESENT",
		"k=d f: ERROR / 4 PRESENT", "k=d n: ERROR / 40 PRESENT",
	}; !slices.Equal(names(r.Diffs), want) || r.Wrong != 4 || r.Missing != 2 || r.Equal != 2 {
		t.Errorf("report %+v", r)
	}
	repair := materialize.VerifyRequest{Full: true, Repair: true}
	if _, err := w.svc.Verify(ctx, repair, nil); problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "is not a hash") {
		t.Errorf("another's key: %v", err)
	}
	if r := w.verify(materialize.VerifyRequest{Full: true}); r.Wrong != 2 || r.Missing != 0 || r.Equal != 6 {
		t.Errorf("beside another's key: %+v", r)
	}
	check(t, c.Del(ctx, d).Err())
	if r := w.verify(repair); r.Repaired != 1 || r.Equal != 8 || !maps.Equal(w.everything(), before) {
		t.Errorf("repaired %+v", r)
	}
}
