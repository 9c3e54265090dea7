package asof

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
)

// k is a key.
func k(parts ...any) []any {
	for i, p := range parts {
		if n, ok := p.(int); ok {
			parts[i] = int64(n)
		}
	}
	return parts
}

// at is a fact with one float64 feature.
func at(key []any, event int64, value any) fact { return fact{key, event, nil, []any{value}} }

// written is at with a created time.
func written(key []any, event int64, created, value any) fact {
	if n, ok := created.(int); ok {
		created = int64(n)
	}
	return fact{key, event, created, []any{value}}
}

var (
	ints     = []columnar.Kind{columnar.Int64}
	strs     = []columnar.Kind{columnar.String}
	oneFloat = []columnar.Type{float64Type}
)

func TestRules(t *testing.T) {
	const ttl = 10 * second
	cases := []struct {
		name   string
		shape  shape
		cutoff int64 // after base; 0: none
		files  [][]fact
		spine  []question
		want   []string
		stats  Stats // of those counts a case is about
	}{
		{
			name:  "R2: an event at the spine's time is seen, one a microsecond later is not",
			shape: shape{keys: ints, features: oneFloat},
			files: [][]fact{{at(k(1), 100, 1.5), at(k(1), 200, 2.5)}},
			spine: []question{{k(1), 99}, {k(1), 100}, {k(1), 199}, {k(1), 200}, {k(1), 201}},
			want:  []string{"NOT_FOUND null", "PRESENT @100 1.5", "PRESENT @100 1.5", "PRESENT @200 2.5", "PRESENT @200 2.5"},
		},
		{
			name:  "R3, R6: both ends of ttl and of 2 × ttl are inclusive",
			shape: shape{keys: ints, features: oneFloat, ttl: ttl},
			files: [][]fact{{at(k(1), 0, 1.5)}},
			spine: []question{
				{k(1), ttl - 1}, {k(1), ttl}, {k(1), ttl + 1}, {k(1), 2*ttl - 1}, {k(1), 2 * ttl}, {k(1), 2*ttl + 1},
			},
			want: []string{
				"PRESENT @0 1.5", "PRESENT @0 1.5", "EXPIRED @0 null", "EXPIRED @0 null", "EXPIRED @0 null", "NOT_FOUND null",
			},
		},
		{
			name:  "R3: each end alone, with no spine row between",
			shape: shape{keys: ints, features: oneFloat, ttl: ttl},
			files: [][]fact{{at(k(1), 0, 1.5), at(k(2), 0, 1.5), at(k(3), 0, 1.5), at(k(4), 0, 1.5)}},
			spine: []question{{k(1), ttl}, {k(2), ttl + 1}, {k(3), 2 * ttl}, {k(4), 2*ttl + 1}},
			want:  []string{"PRESENT @0 1.5", "EXPIRED @0 null", "EXPIRED @0 null", "NOT_FOUND null"},
		},
		{
			name:  "R6: 2 × ttl before the only spine row",
			shape: shape{keys: ints, features: oneFloat, ttl: ttl},
			files: [][]fact{{at(k(1), 0, 1.5)}, {at(k(1), -1, 2.5)}},
			spine: []question{{k(1), 2 * ttl}},
			want:  []string{"EXPIRED @0 null"},
		},
		{
			name:  "R3: a row a microsecond past 2 × ttl does not hide, nor is hidden by, a later one",
			shape: shape{keys: ints, features: oneFloat, ttl: ttl},
			files: [][]fact{{at(k(1), 0, 1.5), at(k(1), 5*ttl, 2.5)}},
			spine: []question{{k(1), 2*ttl + 1}, {k(1), 5 * ttl}, {k(1), 6*ttl + 1}, {k(1), 0}},
			want:  []string{"NOT_FOUND null", "PRESENT @50000000 2.5", "EXPIRED @50000000 null", "PRESENT @0 1.5"},
		},
		{
			name:  "R3: no ttl never expires",
			shape: shape{keys: ints, features: oneFloat},
			files: [][]fact{{at(k(1), 0, 1.5)}},
			spine: []question{{k(1), 100 * 365 * 86400 * second}},
			want:  []string{"PRESENT @0 1.5"},
		},
		{
			name:  "R4: the greatest created time wins, null is the lowest, a later event beats both",
			shape: shape{keys: ints, features: oneFloat, created: true},
			files: [][]fact{
				{written(k(1), 0, 7, 1.5), written(k(1), 0, 9, 2.5), written(k(1), 0, 8, 3.5)},
				{written(k(2), 0, nil, 1.5), written(k(2), 0, -5, 2.5)},
				{written(k(3), 0, 99, 1.5), written(k(3), 1, nil, 2.5)},
			},
			spine: []question{{k(1), 5}, {k(2), 5}, {k(3), 5}},
			want:  []string{"PRESENT @0 2.5", "PRESENT @0 2.5", "PRESENT @1 2.5"},
		},
		{
			name:  "R4: an exact tie is decided by all features, the first of which is not asked for",
			shape: shape{keys: ints, features: []columnar.Type{stringType, stringType}, created: true},
			files: [][]fact{
				{{k(1), int64(0), int64(3), []any{"a", "second"}}},
				{{k(1), int64(0), int64(3), []any{"b", "first"}}, {k(1), int64(0), int64(3), []any{"b", "first"}}},
			},
			spine: []question{{k(1), 5}},
			want:  []string{`PRESENT @0 "first"`},
			stats: Stats{Ties: 2},
		},
		{
			name:  "R4: ties of a row that is beaten in the end do not count",
			shape: shape{keys: ints, features: oneFloat},
			files: [][]fact{{at(k(1), 0, 1.5), at(k(1), 0, 2.5), at(k(1), 1, 3.5)}},
			spine: []question{{k(1), 5}},
			want:  []string{"PRESENT @1 3.5"},
		},
		{
			name:  "R5: a null of the newest row is its value",
			shape: shape{keys: ints, features: []columnar.Type{float64Type, listType}},
			files: [][]fact{{
				{k(1), int64(0), nil, []any{1.5, []int64{1}}},
				{k(1), int64(1), nil, []any{nil, []int64{}}},
				{k(2), int64(1), nil, []any{2.5, nil}},
			}},
			spine: []question{{k(1), 5}, {k(2), 5}},
			want:  []string{"PRESENT @1 []int64{}", "PRESENT @1 null"},
		},
		{
			name:  "R7: rows in, rows out, in order, repeats kept, a null key not found",
			shape: shape{keys: ints, features: oneFloat},
			files: [][]fact{{at(k(1), 0, 1.5), at(k(2), 3, 2.5)}},
			spine: []question{{k(2), 9}, {k(1), 9}, {k(nil), 9}, {k(1), 2}, {k(2), 9}, {k(2), 9}, {k(3), 9}},
			want: []string{
				"PRESENT @3 2.5", "PRESENT @0 1.5", "NOT_FOUND null", "PRESENT @0 1.5", "PRESENT @3 2.5", "PRESENT @3 2.5",
				"NOT_FOUND null",
			},
		},
		{
			name:  "R7: a source row with a null key is dropped and counted",
			shape: shape{keys: []columnar.Kind{columnar.Int64, columnar.String}, features: oneFloat},
			files: [][]fact{{at(k(nil, "a"), 0, 1.5), at(k(1, nil), 0, 2.5), at(k(1, nil), 5, 4.5), at(k(1, "a"), 0, 3.5)}},
			spine: []question{{k(1, "a"), 5}, {k(1, nil), 5}, {k(nil, "a"), 5}},
			want:  []string{"PRESENT @0 3.5", "NOT_FOUND null", "NOT_FOUND null"},
			stats: Stats{NullKeys: 3},
		},
		{
			name:  "R8: (1,12) is not (11,2), of integers",
			shape: shape{keys: []columnar.Kind{columnar.Int64, columnar.Int64}, features: oneFloat},
			files: [][]fact{{at(k(1, 12), 0, 1.5), at(k(11, 2), 0, 2.5)}},
			spine: []question{{k(11, 2), 5}, {k(1, 12), 5}, {k(1, 2), 5}, {k(12, 1), 5}},
			want:  []string{"PRESENT @0 2.5", "PRESENT @0 1.5", "NOT_FOUND null", "NOT_FOUND null"},
		},
		{
			name:  "R8: (1,12) is not (11,2), of strings, nor of three columns",
			shape: shape{keys: []columnar.Kind{columnar.String, columnar.String, columnar.String}, features: oneFloat},
			files: [][]fact{{at(k("1", "12", ""), 0, 1.5), at(k("11", "2", ""), 0, 2.5), at(k("", "11", "2"), 0, 3.5)}},
			spine: []question{{k("11", "2", ""), 5}, {k("1", "12", ""), 5}, {k("", "11", "2"), 5}, {k("11", "", "2"), 5}},
			want:  []string{"PRESENT @0 2.5", "PRESENT @0 1.5", "PRESENT @0 3.5", "NOT_FOUND null"},
		},
		{
			name:  "R8: an int32 column matches an int64 key",
			shape: shape{keys: ints, features: oneFloat, narrow: true},
			files: [][]fact{{at(k(-1), 0, 1.5), at(k(1<<31-1), 0, 2.5)}},
			spine: []question{{k(1<<31 - 1), 5}, {k(-1), 5}, {k(1<<32 - 1), 5}},
			want:  []string{"PRESENT @0 2.5", "PRESENT @0 1.5", "NOT_FOUND null"},
		},
		{
			name:  "R8: a global view answers everybody",
			shape: shape{features: oneFloat, ttl: ttl},
			files: [][]fact{{at(k(), 0, 1.5)}, {at(k(), 5, 2.5)}},
			spine: []question{{nil, 4}, {nil, 5}, {nil, -1}, {nil, 5 + ttl + 1}, {nil, 4}},
			want:  []string{"PRESENT @0 1.5", "PRESENT @5 2.5", "NOT_FOUND null", "EXPIRED @5 null", "PRESENT @0 1.5"},
		},
		{
			name:   "R11: rows after Cutoff take no part",
			shape:  shape{keys: ints, features: oneFloat},
			cutoff: 10,
			files:  [][]fact{{at(k(1), 10, 1.5), at(k(1), 11, 2.5), at(k(2), 12, 3.5)}},
			spine:  []question{{k(1), 10}, {k(1), 11}, {k(2), 20}},
			want:   []string{"PRESENT @10 1.5", "PRESENT @10 1.5", "NOT_FOUND null"},
			stats:  Stats{Future: 2},
		},
		{
			name:  "a row without an event time takes no part",
			shape: shape{keys: strs, features: oneFloat},
			files: [][]fact{{{k("a"), nil, nil, []any{1.5}}, at(k("a"), 1, 2.5)}},
			spine: []question{{k("a"), 5}},
			want:  []string{"PRESENT @1 2.5"},
		},
		{
			name:  "an empty spine",
			shape: shape{keys: strs, features: oneFloat},
			files: [][]fact{{at(k("a"), 1, 2.5)}},
			want:  []string{},
		},
		{
			name:  "no files, and a file without rows",
			shape: shape{keys: strs, features: oneFloat},
			files: [][]fact{{}},
			spine: []question{{k("a"), 5}},
			want:  []string{"NOT_FOUND null"},
		},
		{
			name:  "the empty string is a key and a value",
			shape: shape{keys: strs, features: []columnar.Type{stringType}},
			files: [][]fact{{{k(""), int64(0), nil, []any{""}}}},
			spine: []question{{k(""), 5}, {k("\x00"), 5}},
			want:  []string{`PRESENT @0 ""`, "NOT_FOUND null"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// Reversed files and rows, and other row groups, change nothing.
			for _, reversed := range []bool{false, true} {
				for _, groupRows := range []int{1, 2, 100} {
					files := c.files
					if reversed {
						files = nil
						for _, f := range slices.Backward(c.files) {
							f = slices.Clone(f)
							slices.Reverse(f)
							files = append(files, f)
						}
					}
					in := c.shape.input(t, files, groupRows)
					if c.cutoff != 0 {
						in.Cutoff = base + c.cutoff
					}
					features := []int{len(c.shape.features) - 1}
					r, err := Join(t.Context(), c.shape.spine(c.spine), in, features, Options{Workers: 2})
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(c.want, answers(r, in.View, features)); diff != "" {
						t.Errorf("reversed %v, row groups of %d: -want +got\n%s", reversed, groupRows, diff)
					}
					got := Stats{Ties: r.Stats.Ties, NullKeys: r.Stats.NullKeys, Future: r.Stats.Future}
					if !reflect.DeepEqual(got, c.stats) {
						t.Errorf("reversed %v, row groups of %d: counted %+v, want %+v", reversed, groupRows, got, c.stats)
					}
				}
			}
		})
	}
}
