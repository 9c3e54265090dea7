package row_test

import (
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
)

// BenchmarkEncode and BenchmarkDecode take rows of 5 float64 and 5 int64 below 10^6.
func BenchmarkEncode(b *testing.B) {
	const n = 1000
	l, cols := tenFeatures(n)
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf = l.AppendRow(buf[:0], 983448000e6, row.NoCreated, cols, i%n)
	}
}

func BenchmarkDecode(b *testing.B) {
	const n = 1000
	l, cols := tenFeatures(n)
	stored := make([][]byte, n)
	for i := range stored {
		stored[i] = l.AppendRow(nil, 983448000e6, row.NoCreated, cols, i)
	}
	for _, bench := range []struct {
		name   string
		fields []int
	}{{"All", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}, {"One", []int{9}}} {
		b.Run(bench.name, func(b *testing.B) {
			p := l.Project(bench.fields)
			out := make([]*columnar.Vector, len(bench.fields))
			for i, f := range bench.fields {
				out[i] = columnar.NewVector(l.Fields()[f].Type, n)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%n == 0 {
					for _, v := range out {
						v.Reset()
					}
				}
				if _, _, err := p.Append(out, stored[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	l, cols := tenFeatures(2)
	x, y := l.AppendRow(nil, 0, row.NoCreated, cols, 0), l.AppendRow(nil, 0, row.NoCreated, cols, 1)
	for b.Loop() {
		if row.Compare(x, y) == 0 {
			b.Fatal("equal")
		}
	}
}
