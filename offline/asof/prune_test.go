package asof

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
)

// TestTinySpineReadsLittle: of a long history a small spine reads only row groups and pages that its times and keys can
// need, and answers as if it had read all.
func TestTinySpineReadsLittle(t *testing.T) {
	const rows, group = 4000, 2000
	number := func(i int64) any { return i / 10 }
	name := func(i int64) any { return fmt.Sprintf("user-%06d", i/10) }
	for _, c := range []struct {
		name   string
		kinds  []columnar.Kind
		ttl    int64
		key    func(i int64) any
		events func(i int64) int64
		ask    question
		want   string
		groups int64
		most   int64 // rows
	}{
		{
			"by time", ints, 20 * second, func(int64) any { return int64(7) }, func(i int64) int64 { return i * second },
			question{k(7), 2500 * second},
			"PRESENT @2500000000 2500", 1, 200,
		},
		{
			"by time, across row groups", ints, 20 * second, func(int64) any { return int64(7) }, func(i int64) int64 { return i * second },
			question{k(7), 2000 * second},
			"PRESENT @2000000000 2000", 2, 300,
		},
		{
			"by integer keys", ints, 0, number, func(i int64) int64 { return (i % 10) * second },
			question{k(123), 5 * second},
			"PRESENT @5000000 1235", 1, 200,
		},
		{
			"by string keys",
			[]columnar.Kind{columnar.String},
			0, name, func(i int64) int64 { return (i % 10) * second },
			question{k("user-000123"), 5 * second},
			"PRESENT @5000000 1235", 1, 200,
		},
		{
			"a key beyond all", ints, 0, number, func(int64) int64 { return 0 },
			question{k(9999), 5 * second},
			"NOT_FOUND null", 0, 0,
		},
		{
			"a key that falls between those of row groups",
			[]columnar.Kind{columnar.String},
			0, name, func(int64) int64 { return 0 },
			question{k("user-000199x"), 5 * second},
			"NOT_FOUND null", 0, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := shape{keys: c.kinds, features: oneFloat, ttl: c.ttl, created: true}
			facts := make([]fact, rows)
			for i := range int64(rows) {
				facts[i] = at(k(c.key(i)), c.events(i), float64(i))
			}
			in := s.input(t, [][]fact{facts}, group)
			for workers := 1; workers <= 2; workers++ {
				r, err := Join(t.Context(), s.spine([]question{c.ask}), in, []int{0}, Options{Workers: workers})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{c.want}, answers(r, in.View, []int{0})); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				st := r.Stats
				if st.RowGroups != c.groups || st.RowsRead > c.most || st.RowsRead+st.RowsSkipped != rows {
					t.Errorf("read %d row groups, %d rows, skipped %d; want %d row groups, at most %d rows of %d",
						st.RowGroups, st.RowsRead, st.RowsSkipped, c.groups, c.most, rows)
				}
			}
		})
	}
}

func bound(x int64) parquet.Bound     { return parquet.Bound{Int: x} }
func textBound(x int64) parquet.Bound { return parquet.Bound{Bytes: fmt.Appendf(nil, "%010d", x)} }

// TestKeyRange: keys between bounds are found, few or many.
func TestKeyRange(t *testing.T) {
	r := testenv.Rand(t)
	for _, n := range []int{0, 1, 2, 3, 100, fewKeys + 100} {
		ints, strs := newIntTable(), newStringTable()
		iv, sv := columnar.NewVector(int64Type, n), columnar.NewVector(stringType, n)
		for range n {
			x := r.Int64N(1_000_000_000)
			iv.AppendInt64(x)
			sv.AppendString(fmt.Sprintf("%010d", x))
		}
		ints.number(iv, make([]int32, n))
		strs.number(sv, make([]int32, n))
		least, greatest := int64(1<<62), int64(-1)
		for _, x := range iv.Int64s {
			least, greatest = min(least, x), max(greatest, x)
		}
		ir, sr := newKeyRange(ints), newKeyRange(strs)
		for range 1000 {
			lo := r.Int64N(1_000_000_000)
			hi := lo + r.Int64N(1_000_000_000)>>r.IntN(30)
			want := false
			if ints.size() > fewKeys {
				want = lo <= greatest && hi >= least
			} else {
				for _, x := range iv.Int64s {
					want = want || x >= lo && x <= hi
				}
			}
			if got := ir.admits(bound(lo), bound(hi)); got != want {
				t.Fatalf("%d integers: [%d, %d] admitted: %v", n, lo, hi, got)
			}
			if got := sr.admits(textBound(lo), textBound(hi)); got != want {
				t.Fatalf("%d strings: [%d, %d] admitted: %v", n, lo, hi, got)
			}
		}
	}
}
