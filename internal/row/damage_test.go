package row_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
)

// seal ends b with the checksum of docs/format/row.md.
func seal(b []byte) []byte {
	c := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return binary.LittleEndian.AppendUint16(append([]byte(nil), b...), uint16(c^c>>16))
}

// TestEveryBitFlip: no flip of one bit goes unnoticed, nor a cut at any length.
func TestEveryBitFlip(t *testing.T) {
	l := row.NewLayout([]row.Field{{Name: "b", Type: columnar.Type{Kind: columnar.Bytes}}})
	for _, size := range []int{0, 1, 50, 1000, 4096} {
		v := columnar.NewVector(columnar.Type{Kind: columnar.Bytes}, 1)
		v.AppendBytes(make([]byte, size))
		stored := l.AppendRow(nil, 1, 1, []*columnar.Vector{v}, 0)
		for i := range 8 * len(stored) {
			stored[i/8] ^= 1 << (i % 8)
			if _, _, err := row.Times(stored); !errors.Is(err, row.ErrDamaged) {
				t.Fatalf("%d bytes: flip of bit %d went unnoticed", size, i)
			}
			stored[i/8] ^= 1 << (i % 8)
		}
		missed := 0
		for n := range stored {
			if _, _, err := row.Times(stored[:n]); err == nil {
				missed++
			}
		}
		if missed > 1 {
			t.Errorf("%d bytes: %d of %d truncations went unnoticed", size, missed, len(stored))
		}
	}
}

// TestDamageLeavesColumns cuts and changes rows whose checksum agrees: an error appends nothing anywhere, and the
// columns go on working.
func TestDamageLeavesColumns(t *testing.T) {
	r := testenv.Rand(t)
	fields := everyType()
	l := row.NewLayout(fields)
	var all []int
	for i := range fields {
		all = append(all, i)
	}
	p := l.Project(all)
	cols, out, clean := vectors(fields), vectors(fields), vectors(fields)
	damaged := 0
	for i := range 300 {
		for _, v := range cols {
			appendRandom(r, v, true)
		}
		stored := l.AppendRow(nil, 5, row.NoCreated, cols, i)
		for range 20 {
			bad := append([]byte(nil), stored[:len(stored)-2]...)
			if r.IntN(2) == 0 {
				bad = bad[:r.IntN(len(bad))]
			} else {
				bad[r.IntN(len(bad))] ^= byte(1 << r.IntN(8))
			}
			before := out[0].Len()
			if _, _, err := p.Append(out, seal(bad)); err == nil {
				for _, v := range out { // another row, as good as the checksum can tell
					if v.Len() != before+1 {
						t.Fatal("columns out of step")
					}
				}
				out, clean = vectors(fields), vectors(fields)
				continue
			}
			damaged++
			for _, v := range out {
				if v.Len() != before {
					t.Fatal("an error left a value behind")
				}
			}
		}
		for _, dst := range [][]*columnar.Vector{out, clean} {
			if _, _, err := p.Append(dst, stored); err != nil {
				t.Fatal(err)
			}
		}
		for f, v := range out {
			for j := range v.Len() {
				if !v.EqualAt(j, clean[f], j) {
					t.Fatalf("%s: an earlier error changed a value", fields[f].Type)
				}
			}
		}
	}
	if damaged < 1000 {
		t.Errorf("only %d rows were seen as damaged", damaged)
	}
}

// TestDamagedForms has rows with a right checksum and a wrong form.
func TestDamagedForms(t *testing.T) {
	const day = "\x0f\x00\x00\x00\x00" // a time of whole seconds
	int64s := columnar.Type{Kind: columnar.Int64}
	tests := []struct {
		name, body string
		typ        columnar.Type
	}{
		{"no times", "", int64s},
		{"no created time", day, int64s},
		{"event below the bias", "\x00\x00\x00\x00\x02\x00\x10\x00", int64s},
		{"micros of zero", "\x0f\x00\x00\x00\x01\x00\x00\x00\x00\x10\x00", int64s},
		{"micros of a second", "\x0f\x00\x00\x00\x01\x0f\x42\x40\x00\x10\x00", int64s},
		{"beyond year 9999", "\xff\x00\x00\x00\x00\x00\x10\x00", int64s},
		{"no body", day + "\x00", int64s},
		{"version 0", day + "\x00\x00\x00", int64s},
		{"version 2", day + "\x00\x20\x00", int64s},
		{"unknown flag", day + "\x00\x12\x00", int64s},
		{"nulls without a bitmap", day + "\x00\x11", int64s},
		{"bitmap without a null", day + "\x00\x11\x00\x00", int64s},
		{"bitmap wider than the fields", day + "\x00\x11\x03", int64s},
		{"trailing byte", day + "\x00\x10\x00\x00", int64s},
		{"no value", day + "\x00\x10", int64s},
		{"long varint", day + "\x00\x10\x80\x00", int64s},
		{"endless varint", day + "\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", int64s},
		{"int32 out of range", day + "\x00\x10\x80\x80\x80\x80\x10", columnar.Type{Kind: columnar.Int32}},
		{"bool wider than a bit", day + "\x00\x10\x02", columnar.Type{Kind: columnar.Bool}},
		{"null bool with a value", day + "\x00\x11\x01\x01", columnar.Type{Kind: columnar.Bool}},
		{"string longer than the row", day + "\x00\x10\x05ab", columnar.Type{Kind: columnar.String}},
		{"string of 2^63 bytes", day + "\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", columnar.Type{Kind: columnar.String}},
		{"short float32", day + "\x00\x10abc", columnar.Type{Kind: columnar.Float32}},
		{"short float64", day + "\x00\x10abcdefg", columnar.Type{Kind: columnar.Float64}},
		{"list longer than the row", day + "\x00\x10\xfe\xff\xff\xff\x0fabc", columnar.Type{Kind: columnar.Int64, List: true}},
		{"list with a bitmap but no null", day + "\x00\x10\x03\x00\x00", columnar.Type{Kind: columnar.Int64, List: true}},
		{"empty list with a bitmap", day + "\x00\x10\x01", columnar.Type{Kind: columnar.Int64, List: true}},
		{"null element with a value", day + "\x00\x10\x03\x01\x01", columnar.Type{Kind: columnar.Bool, List: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := row.NewLayout([]row.Field{{Name: "x", Type: tt.typ}})
			for _, fields := range [][]int{{0}, {}} {
				out := make([]*columnar.Vector, len(fields))
				for i := range out {
					out[i] = columnar.NewVector(tt.typ, 0)
				}
				if _, _, err := l.Project(fields).Append(out, seal([]byte(tt.body))); !errors.Is(err, row.ErrDamaged) {
					t.Fatalf("projection of %v: got %v", fields, err)
				}
				for _, v := range out {
					if v.Len() != 0 || v.Elem != nil && v.Elem.Len() != 0 {
						t.Fatal("an error left a value behind")
					}
				}
			}
		})
	}
	for _, b := range []string{"", "x", "xx"} {
		if _, _, err := row.Times([]byte(b)); !errors.Is(err, row.ErrDamaged) {
			t.Errorf("%q: got %v", b, err)
		}
	}
}

// FuzzDecode: whatever the bytes, no panic, nothing left behind on an error, and what decodes encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	fields := everyType()
	l := row.NewLayout(fields)
	var all []int
	for i := range fields {
		all = append(all, i)
	}
	p, none := l.Project(all), l.Project(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = row.Times(b)
		for _, stored := range [][]byte{b, seal(b)} {
			out := vectors(fields)
			event, created, err := p.Append(out, stored)
			if _, _, skipped := none.Append(nil, stored); (skipped == nil) != (err == nil) {
				t.Fatalf("all fields: %v; no field: %v", err, skipped)
			}
			for _, v := range out {
				if want := map[bool]int{true: 1}[err == nil]; v.Len() != want {
					t.Fatalf("%v left %d values", err, v.Len())
				}
			}
			if err == nil {
				if again := l.AppendRow(nil, event, created, out, 0); string(again) != string(stored) {
					t.Fatalf("not canonical:\n%x\n%x", stored, again)
				}
			}
		}
	})
}

// FuzzKey: whatever the bytes, no panic, and what parses encodes to the same bytes.
func FuzzKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, kinds uint8, key []byte) {
		var cols []*columnar.Vector
		for ; kinds > 1; kinds >>= 1 {
			kind := columnar.Int64
			if kinds&1 != 0 {
				kind = columnar.String
			}
			cols = append(cols, columnar.NewVector(columnar.Type{Kind: kind}, 1))
		}
		if err := row.ParseKey(key, cols); err != nil {
			for _, v := range cols {
				if v.Len() != 0 {
					t.Fatal("an error left a value behind")
				}
			}
			return
		}
		if again, ok := row.AppendKey(nil, cols, 0); !ok || string(again) != string(key) {
			t.Fatalf("not canonical:\n%x\n%x", key, again)
		}
	})
}
