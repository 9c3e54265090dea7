package parquet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
)

// counted counts the bytes that are read.
type counted struct {
	io.ReaderAt
	read atomic.Int64
}

func (c *counted) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, at)
	c.read.Add(int64(n))
	return n, err
}

// indexed is a file of one row group of 200,000 rows in pages of 8 KiB, with a page index: number ascends, text repeats it,
// mixed does not ascend.
func indexed(t *testing.T) []byte {
	t.Helper()
	type row struct {
		Number int64  `parquet:"number,plain"`
		Text   string `parquet:"text,plain"`
		Mixed  int64  `parquet:"mixed,plain"`
	}
	rows := make([]row, 200_000)
	for i := range rows {
		rows[i] = row{int64(i), fmt.Sprintf("%06d", i), int64(i*7919) % 200_000}
	}
	var b bytes.Buffer
	w := pq.NewGenericWriter[row](&b, pq.PageBufferSize(8<<10))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openIndexed(t *testing.T, b []byte) (*parquet.Reader, *counted) {
	t.Helper()
	in := &counted{ReaderAt: bytes.NewReader(b)}
	f, err := parquet.Open(t.Context(), in, source.File{Path: "x.parquet", Size: int64(len(b))}, parquet.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Bind([]parquet.Column{column("number", "int64"), column("text", "string"), column("mixed", "int64")})
	if err != nil {
		t.Fatal(err)
	}
	in.read.Store(0)
	return r, in
}

// TestFewRowsReadFewBytes: a few rows of a large row group, and the pages of a span, are read without the rest.
func TestFewRowsReadFewBytes(t *testing.T) {
	b := indexed(t)
	r, in := openIndexed(t, b)
	rows := []int32{3, 100_000, 199_999}
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
	if err := r.Gather(t.Context(), 0, 2, rows, v); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if want := int64(row) * 7919 % 200_000; v.Int64s[i] != want {
			t.Errorf("row %d is %d, want %d", row, v.Int64s[i], want)
		}
	}
	span := parquet.Span{From: 120_000, To: 120_010}
	seen := map[int]string{}
	err := r.PagesOf(t.Context(), 0, 1, []parquet.Span{span}, func(p parquet.Page) error {
		for i := range p.Rows {
			seen[p.First+i] = string(p.Values.BytesAt(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for row := span.From; row < span.To; row++ {
		if seen[row] != fmt.Sprintf("%06d", row) {
			t.Errorf("row %d is %q", row, seen[row])
		}
	}
	if len(seen) > 5000 {
		t.Errorf("%d rows decoded for %v", len(seen), span)
	}
	before := in.read.Load()
	spans, ok := r.Spans(t.Context(), 0, 0, func(least, greatest parquet.Bound) bool { return least.Int <= 777 && greatest.Int >= 777 })
	if !ok || len(spans) != 1 || spans[0].From > 777 || spans[0].To <= 777 || spans[0].To-spans[0].From > 5000 {
		t.Errorf("777 is in %v, %v", spans, ok)
	}
	if n := in.read.Load() - before; n > 64<<10 {
		t.Errorf("%d bytes read of a page index", n)
	}
	spans, ok = r.Spans(t.Context(), 0, 1, func(least, greatest parquet.Bound) bool {
		return string(least.Bytes) <= "150000" && string(greatest.Bytes) >= "150000"
	})
	if !ok || len(spans) != 1 || spans[0].From > 150_000 || spans[0].To <= 150_000 {
		t.Errorf("150000 is in %v, %v", spans, ok)
	}
}

// TestLeapsOverLargePages: of large pages, most of which are not wanted, little more than headers is read.
func TestLeapsOverLargePages(t *testing.T) {
	type row struct {
		X int64 `parquet:"x,plain"`
	}
	var b bytes.Buffer
	w := pq.NewGenericWriter[row](&b, pq.PageBufferSize(1<<20))
	for i := range int64(1_000_000) {
		if _, err := w.Write([]row{{i}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in := &counted{ReaderAt: bytes.NewReader(b.Bytes())}
	f, err := parquet.Open(t.Context(), in, source.File{Path: "x.parquet", Size: int64(b.Len())}, parquet.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Bind([]parquet.Column{column("x", "int64")})
	if err != nil {
		t.Fatal(err)
	}
	in.read.Store(0)
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
	if err := r.Gather(t.Context(), 0, 0, []int32{900_000}, v); err != nil {
		t.Fatal(err)
	}
	if n := in.read.Load(); v.Int64s[0] != 900_000 || n > 2<<20 {
		t.Errorf("row 900000 is %d; %d bytes of %d read for it", v.Int64s[0], n, b.Len())
	}
}

// TestDamagedPageIndex: whatever the bytes of a page index are, reading it neither fails nor panics; what is cut off is not
// trusted.
func TestDamagedPageIndex(t *testing.T) {
	b := indexed(t)
	rnd := testenv.Rand(t)
	footer := len(b) - 8 - int(binary.LittleEndian.Uint32(b[len(b)-8:]))
	start := footer - 60<<10 // the index lies before the footer
	for range 200 {
		bad := slices.Clone(b)
		for range 1 + rnd.IntN(20) {
			bad[start+rnd.IntN(footer-start)] = byte(rnd.IntN(256))
		}
		r, _ := openIndexed(t, bad)
		for c := range 3 {
			spans, ok := r.Spans(t.Context(), 0, c, func(_, _ parquet.Bound) bool { return rnd.IntN(2) == 0 })
			at := 0
			for _, s := range spans {
				if !ok || s.From < at || s.From >= s.To || s.To > r.Rows(0) {
					t.Fatalf("spans %v", spans)
				}
				at = s.To
			}
		}
	}
}

// TestKeysOutsideStatistics: keys that contradict the statistics, by which other calls skip row groups, are an error where
// keys are read.
func TestKeysOutsideStatistics(t *testing.T) {
	b := indexed(t)
	r, _ := openIndexed(t, b)
	_, greatest, ok := r.KeyBounds(0, 1)
	if !ok || string(greatest.Bytes) != "199999" {
		t.Fatalf("the greatest text is %q, %v", greatest.Bytes, ok)
	}
	for c, last := range map[int][]byte{0: binary.LittleEndian.AppendUint64(nil, 199_999), 1: []byte("199999")} {
		// The footer's copies of the greatest value; what is before them are pages and their index.
		footer := len(b) - 8 - int(binary.LittleEndian.Uint32(b[len(b)-8:]))
		bad := slices.Clone(b)
		tail := bad[footer:]
		lower := slices.Clone(last)
		if c == 0 {
			lower[0]--
		} else {
			lower[len(lower)-1]--
		}
		copy(tail, bytes.ReplaceAll(tail, last, lower))
		r, _ := openIndexed(t, bad)
		err := r.PagesOf(context.Background(), 0, c, nil, func(parquet.Page) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "is not within the row group's statistics") {
			t.Errorf("column %d: %v", c, err)
		}
		stop := errors.New("stop")
		if err := r.Pages(context.Background(), 0, c, func(parquet.Page) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("column %d: %v", c, err)
		}
	}
}

// TestIntersect: rows in both lists of spans, by looking at every row.
func TestIntersect(t *testing.T) {
	rnd := testenv.Rand(t)
	draw := func() (spans []parquet.Span, has [64]bool) {
		for at := rnd.IntN(8); at < 60; {
			s := parquet.Span{From: at, To: at + 1 + rnd.IntN(60-at)/(1+rnd.IntN(4))}
			for i := s.From; i < s.To; i++ {
				has[i] = true
			}
			spans = append(spans, s)
			at = s.To + 1 + rnd.IntN(6)
		}
		return spans, has
	}
	for range 500 {
		a, hasA := draw()
		b, hasB := draw()
		var got [64]bool
		for _, s := range parquet.Intersect(a, b) {
			for i := s.From; i < s.To; i++ {
				got[i] = true
			}
		}
		for i := range got {
			if got[i] != (hasA[i] && hasB[i]) {
				t.Fatalf("row %d of %v and %v: %v", i, a, b, got[i])
			}
		}
	}
}
