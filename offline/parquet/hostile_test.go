package parquet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// hostile are limits under which the tests' files are read and hostile ones can't take much.
var hostile = parquet.Limits{PageBytes: 1 << 20, ValueBytes: 1 << 16, FooterBytes: 1 << 20, GroupValues: 1 << 16}

// readAll reads every column of a file in every way, as far as they can be bound.
func readAll(b []byte) (map[string][]any, error) {
	ctx := context.Background()
	f, err := parquet.Open(ctx, bytes.NewReader(b), source.File{Path: "x.parquet", Size: int64(len(b))}, hostile)
	if err != nil {
		return nil, err
	}
	all := map[string][]any{}
	var errs []error
	for _, info := range f.Columns() {
		c := parquet.Column{Name: info.Name, Type: info.Type, Round: parquet.RoundUp}
		if info.Date {
			c.At = registry.AtStart
		}
		r, err := f.Bind([]parquet.Column{c})
		if err != nil {
			continue // not a type of ours
		}
		v := columnar.NewVector(info.Type, 0)
		for g := range r.RowGroups() {
			r.Bounds(g, 0)
			errs = append(errs, fromPages(ctx, r, g, 0, columnar.NewVector(info.Type, 0)))
			rows := []int32{}
			for row := 0; row < r.Rows(g); row += 3 {
				rows = append(rows, int32(row))
			}
			errs = append(errs, r.Gather(ctx, g, 0, rows, columnar.NewVector(info.Type, 0)))
			before := v.Len()
			if err := r.Read(ctx, g, 0, v); err != nil {
				errs = append(errs, err)
				break
			}
			if v.Len()-before != r.Rows(g) {
				errs = append(errs, errors.New("silently missing rows"))
			}
			all[info.Name] = texts(v)
		}
	}
	return all, errors.Join(errs...)
}

// samples are the files that are cut and altered.
var samples = []string{
	"none-v1-dict.parquet", "zstd-v2-dict.parquet", "snappy-v2-plain.parquet", "lz4-v1-dict.parquet", "gzip-v2-dict.parquet",
	"brotli-v1-plain.parquet", "encodings-v1.parquet", "encodings-v2.parquet", "duckdb-zstd-v2.parquet", "fallback.parquet", "time-int96-dict.parquet",
}

func TestTruncationIsAnError(t *testing.T) {
	for _, name := range []string{"time-int96-dict.parquet", "fallback.parquet", "duckdb-gzip-v1.parquet"} {
		b := load(t, name)
		for n := range len(b) {
			if _, err := open(b[:n:n], name); err == nil {
				t.Fatalf("%s: cut to %d of %d bytes, it opens", name, n, len(b))
			} else if !strings.HasPrefix(err.Error(), name) || problem.CodeOf(err) != problem.Precondition {
				t.Fatalf("%s: cut to %d: %v", name, n, err)
			}
		}
		// Cut after the footer was read.
		r := bytes.NewReader(b)
		f, err := parquet.Open(context.Background(), r, source.File{Path: name, Size: int64(len(b))}, parquet.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		info := f.Columns()[0]
		bound, err := f.Bind([]parquet.Column{{Name: info.Name, Type: info.Type, Round: parquet.RoundDown}})
		if err != nil {
			t.Fatal(err)
		}
		r.Reset(b[:20])
		err = bound.Read(context.Background(), 0, 0, columnar.NewVector(info.Type, 0))
		if err == nil || !strings.HasPrefix(err.Error(), name+": row group 0: column \""+info.Name) {
			t.Errorf("%s: cut while it is read: %v", name, err)
		}
	}
}

func TestAlteredFiles(t *testing.T) {
	rnd := testenv.Rand(t)
	perFile := 250 * long()
	for _, name := range samples {
		whole := load(t, name)
		if _, err := readAll(whole); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		footer := len(whole) - 8 - int(binary.LittleEndian.Uint32(whole[len(whole)-8:]))
		for range perFile {
			b := bytes.Clone(whole)
			for range 1 + rnd.IntN(3) {
				at := rnd.IntN(len(b))
				if rnd.IntN(2) == 0 {
					at = footer + rnd.IntN(len(b)-footer)
				}
				if rnd.IntN(2) == 0 {
					b[at] ^= 1 << rnd.IntN(8)
				} else {
					b[at] = byte(rnd.IntN(256))
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readAll(b)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 512<<20 {
				t.Fatalf("%s: an altered file took %d MiB", name, took>>20)
			}
			if err != nil && strings.Contains(err.Error(), "silently missing") {
				t.Fatal(err)
			}
			for _, one := range strings.Split(fmt.Sprint(err), "\n") {
				if err != nil && !strings.HasPrefix(one, "x.parquet: ") {
					t.Fatalf("%s: an error does not name the file: %s", name, one)
				}
				if strings.Contains(one, "can't be decoded") {
					t.Errorf("%s: a decoder panicked: %s", name, one)
				}
			}
		}
	}
}

// Damage below a checksum never passes: bytes of pages with checksums, in every codec.
func TestChecksums(t *testing.T) {
	rnd := testenv.Rand(t)
	for _, name := range []string{
		"none-v1-dict.parquet", "zstd-v1-plain.parquet", "brotli-v1-plain.parquet", "zstd-v2-dict.parquet", "lz4-v2-plain.parquet",
		"spark/legacy-int96-snappy.parquet",
	} {
		whole := load(t, name)
		f, err := open(whole, name)
		if err != nil {
			t.Fatal(err)
		}
		bodies := parquet.PageBodies(f, whole)
		for range 100 * long() {
			b := bytes.Clone(whole)
			body := bodies[rnd.IntN(len(bodies))]
			at, to := body[0]+rnd.IntN(body[1]-body[0]), byte(rnd.IntN(256))
			if b[at] == to {
				continue
			}
			b[at] = to
			if _, err := readAll(b); err == nil || !strings.Contains(err.Error(), "the page's checksum does not match") {
				t.Errorf("%s: byte %d as %#x: %v", name, at, to, err)
			}
		}
	}
}

// long is how many times more a random test does where there is time.
func long() int {
	if testenv.Long() {
		return 30
	}
	return 1
}

func TestLimits(t *testing.T) {
	ctx := context.Background()
	b := load(t, "duckdb-zstd-v2.parquet")
	for _, test := range []struct {
		limits parquet.Limits
		column string
		want   string
	}{
		{parquet.Limits{FooterBytes: 100}, "k", "(limits.parquet_footer)"},
		{parquet.Limits{GroupValues: 10}, "k", "row group 0: 100 rows are over the limit of 10 (limits.parquet_group_values)"},
		{parquet.Limits{PageBytes: 10}, "k", `row group 0: column "k": a page of`},
		{parquet.Limits{ValueBytes: 1}, "w", "is over the limit of 1 (limits.parquet_value)"},
	} {
		f, err := parquet.Open(ctx, bytes.NewReader(b), source.File{Path: "x.parquet", Size: int64(len(b))}, test.limits)
		if err == nil {
			typ := columnar.Type{Kind: columnar.Int64}
			if test.column == "w" {
				typ.Kind = columnar.String
			}
			var r *parquet.Reader
			if r, err = f.Bind([]parquet.Column{{Name: test.column, Type: typ}}); err != nil {
				t.Fatal(err)
			}
			err = r.Read(ctx, 0, 0, columnar.NewVector(typ, 0))
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || problem.CodeOf(err) != problem.Exhausted {
			t.Errorf("%+v: %v", test.limits, err)
		}
	}
}

// A small file must not make a reader take memory by what it merely declares.
func TestHollowFooters(t *testing.T) {
	footers := map[string][]byte{
		"schema of 2 billion":     {0x15, 0x02, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07},
		"row groups of 2 billion": {0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, 'r', 0x15, 0x00, 0x00, 0x16, 0x00, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07},
		"nested lists":            append([]byte{0x15, 0x02, 0xc9}, bytes.Repeat([]byte{0x19}, 100_000)...),
		"string of 2 GiB":         {0x15, 0x02, 0x19, 0x1c, 0x48, 0xff, 0xff, 0xff, 0xff, 0x07},
		"hollow chunks":           append([]byte{0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, 'r', 0x15, 0x00, 0x00, 0x16, 0x00, 0x19, 0x1c, 0x19, 0xfc, 0xa0, 0x8d, 0x06}, make([]byte, 100_000)...),
	}
	for name, footer := range footers {
		b := append([]byte("PAR1"), footer...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(footer)))
		b = append(b, "PAR1"...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := open(b, "x.parquet")
		runtime.ReadMemStats(&after)
		if err == nil || after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%s: %v, %d bytes allocated", name, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}
