package parquet

import (
	"math/rand/v2"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
)

// BenchmarkEncode encodes a row group's column as an export does.
func BenchmarkEncode(b *testing.B) {
	const rows = 122_880
	rng := rand.New(rand.NewPCG(1, 2))
	floats := columnar.NewVector(columnar.Type{Kind: columnar.Float64}, rows)
	codes := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, rows)
	names := columnar.NewVector(columnar.Type{Kind: columnar.String}, rows)
	for range rows {
		if rng.IntN(20) == 0 {
			floats.AppendNull()
		} else {
			floats.AppendFloat64(rng.NormFloat64())
		}
		codes.AppendInt64(rng.Int64N(300))
		names.AppendBytes([]byte{'K', byte('A' + rng.IntN(20)), byte('A' + rng.IntN(20))})
	}
	for name, v := range map[string]*columnar.Vector{"float64": floats, "int64": codes, "string": names} {
		b.Run(name, func(b *testing.B) {
			var schema Schema
			schema.Add("x", v.Type)
			c := NewChunk(schema.Leaves()[0], rows)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				c.Reset()
				c.Append(v)
				e, err := Encode(c)
				if err != nil {
					b.Fatal(err)
				}
				size = len(e.bytes)
			}
			b.ReportMetric(float64(size)/rows, "bytes/row")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
