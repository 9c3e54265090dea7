package pit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/offline"
)

// TestMetamorphic changes the files of random histories in ways that change no answer: the same bytes come out. Shifting
// every time shifts the answers. PROVENDER_SEED=n repeats one.
func TestMetamorphic(t *testing.T) {
	first, count := seeds(t, 8)
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 4))
			w := newWorld(t, rng, random(rng))
			defer func() {
				if t.Failed() {
					t.Logf("repeat with PROVENDER_SEED=%d go test ./test/pit -run TestMetamorphic\n%+v\n%s%s", seed, w.shape, w.definitions(), w.c.text())
				}
			}()
			f := form{Spine: offline.Parquet, Out: offline.Parquet, Time: "instant", GroupRows: 3}
			s := w.spineFile(t, f)
			w.write(t, w.rows)
			m := w.export(t, f, s, randomEffort(rng))
			w.checkExport(t, w.rows, f, s, m)
			for _, change := range []struct {
				name string
				rows []Row
			}{
				{"rows and files in another order and form", w.shuffled(w.rows)},
				{"every row twice", w.shuffled(slices.Concat(w.rows, w.rows))},
				{"rows of other entities", w.shuffled(slices.Concat(w.rows, w.strangers()))},
				{"rows after the last spine row", w.shuffled(slices.Concat(w.rows, w.later()))},
			} {
				w.write(t, change.rows)
				other := w.export(t, f, s, randomEffort(rng))
				w.sameBytes(t, f, m, other, change.name)
				w.checkExport(t, change.rows, f, s, other) // ties and other counts too
			}
			w.shift([]time.Duration{time.Microsecond, -time.Second, 24 * time.Hour, -366 * 24 * time.Hour}[rng.IntN(4)])
			w.write(t, w.rows)
			s = w.spineFile(t, f)
			w.checkExport(t, w.rows, f, s, w.export(t, f, s, randomEffort(rng)))
		})
	}
}

// strangers are the rows again, of entities that no spine row names; none where there is but one entity.
func (w *world) strangers() (rows []Row) {
	if len(w.c.View.Keys) == 0 {
		return nil
	}
	for _, r := range w.rows {
		r.Keys = slices.Clone(r.Keys)
		last := len(r.Keys) - 1
		if r.Keys[last] = (Value{Bits: 77}); w.c.View.Keys[last].Type == "string" {
			r.Keys[last] = Value{Str: "stranger"}
		}
		rows = append(rows, r)
	}
	return rows
}

// later are the rows again, after the last spine row.
func (w *world) later() (rows []Row) {
	last := Instant(0)
	for _, a := range w.asks {
		last = max(last, a.At)
	}
	day := Instant(24 * time.Hour)
	for _, r := range w.rows {
		if r.Event = Instant(ceilMicros(last)*1000) + 1 + Instant(w.rng.IntN(3)); w.shape.day != "" {
			r.Event = (last/day + 2) * day
		}
		rows = append(rows, r)
	}
	return rows
}

// shift moves every time: by whole days where folders name them.
func (w *world) shift(by time.Duration) {
	if w.shape.day != "" {
		by = by.Truncate(24*time.Hour) + 24*time.Hour
	}
	for i := range w.rows {
		w.rows[i].Event += Instant(by)
		if c := w.rows[i].Created; c != nil {
			moved := *c + Instant(by)
			w.rows[i].Created = &moved
		}
	}
	for i, a := range w.asks {
		moved := *a
		moved.At += Instant(by)
		w.asks[i] = &moved
	}
}

// TestPruning asks for a few rows of histories in many row groups, ordered by time, by key, by both or by neither: what
// is passed over by statistics, page indexes and keys is never what answers. PROVENDER_SEED=n repeats one.
func TestPruning(t *testing.T) {
	first, count := seeds(t, 16)
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 5))
			w := newWorld(t, rng, long(rng))
			defer func() {
				if t.Failed() {
					t.Logf("repeat with PROVENDER_SEED=%d go test ./test/pit -run TestPruning\n%+v\n%s%s", seed, w.shape, w.definitions(), w.c.text())
				}
			}()
			w.write(t, w.rows)
			asks := w.asks
			for range 6 {
				w.asks = nil
				for range 1 + rng.IntN(5) {
					w.asks = append(w.asks, asks[rng.IntN(len(asks))])
				}
				w.checkLookup(t, w.rows)
			}
			f := randomForm(rng, &w.c.View)
			s := w.spineFile(t, f)
			w.checkExport(t, w.rows, f, s, w.export(t, f, s, randomEffort(rng)))
		})
	}
}

// long makes a case of many rows whose keys and times spread widely, in files that hold them in some order.
func long(rng *rand.Rand) *Case {
	c := random(rng)
	c.Steps = nil
	v := &c.View
	v.Rewrites = ""
	v.TTL = []int64{0, 1, 60e6, 3600e6}[rng.IntN(4)]
	// What strings' bounds are cut short to, and what lies beyond.
	prefix := []string{"", "a", string(slices.Repeat([]byte{'p'}, 64)), string(slices.Repeat([]byte{0xff}, 70))}[rng.IntN(4)]
	if prefix != "" && prefix[0] == 0xff {
		prefix = string(slices.Repeat([]rune{0x10ffff}, 20))
	}
	key := func(typ string, n int64) Value {
		switch {
		case n%41 == 40:
			return Value{Null: true}
		case typ == "string":
			return Value{Str: prefix + fmt.Sprintf("%03d", n)}
		}
		return Value{Bits: uint64([]int64{n, -n, n << 40}[n%3])}
	}
	entities := int64(1 + rng.IntN(60))
	keys := func(n int64) (out []Value) {
		for i, k := range v.Keys {
			out = append(out, key(k.Type, (n+int64(i))%entities))
		}
		return out
	}
	var rows []Row
	for range 20 + rng.IntN(200) {
		r := Row{File: string(rune('a' + rng.IntN(3))), Keys: keys(rng.Int64N(entities))}
		r.Event = Instant(base.UnixNano()) + Instant(rng.IntN(48))*Instant(30*time.Minute) + Instant(rng.IntN(5)-2)*1000
		if rng.IntN(2) == 0 {
			created := r.Event + Instant(rng.IntN(3))*1000
			r.Created = &created
		}
		for _, f := range v.Features {
			r.Values = append(r.Values, randomValue(rng, f.Type))
		}
		rows = append(rows, r)
	}
	text := func(keys []Value) string { return fmt.Sprint(keys) }
	switch rng.IntN(4) {
	case 0:
		slices.SortStableFunc(rows, func(a, b Row) int { return compareTimes(&a, &b) })
	case 1:
		slices.SortStableFunc(rows, func(a, b Row) int { return strings.Compare(text(a.Keys), text(b.Keys)) })
	case 2:
		slices.SortStableFunc(rows, func(a, b Row) int {
			if n := strings.Compare(text(a.Keys), text(b.Keys)); n != 0 {
				return n
			}
			return compareTimes(&a, &b)
		})
	}
	for i := range rows {
		c.Steps = append(c.Steps, Step{Row: &rows[i]})
	}
	for range 30 {
		r := rows[rng.IntN(len(rows))]
		at := Instant(ceilMicros(r.Event)+rng.Int64N(3)*v.TTL+rng.Int64N(3)-1) * 1000
		c.Steps = append(c.Steps, Step{Ask: &Ask{Keys: keys(rng.Int64N(entities)), At: at}}, Step{Ask: &Ask{Keys: r.Keys, At: at}})
	}
	return c
}
