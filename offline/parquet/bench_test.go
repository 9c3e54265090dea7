package parquet_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	parquetgo "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
)

// wideRow is a row of a view: times, a key, and features of which some may be null.
type wideRow struct {
	Event   int64    `parquet:"event,timestamp(microsecond),zstd"`
	Created int64    `parquet:"created,timestamp(microsecond),zstd"`
	Key     int64    `parquet:"key,zstd"`
	F0      *float64 `parquet:"f0,optional,zstd"`
	F1      *float64 `parquet:"f1,optional,zstd"`
	F2      *float64 `parquet:"f2,optional,zstd"`
	F3      *float64 `parquet:"f3,optional,zstd"`
	F4      float64  `parquet:"f4,zstd"`
	F5      float64  `parquet:"f5,zstd"`
	F6      float64  `parquet:"f6,zstd"`
	F7      float64  `parquet:"f7,zstd"`
	F8      float64  `parquet:"f8,zstd"`
	F9      float64  `parquet:"f9,zstd"`
}

// cpuTime returns the seconds of processor time used, which a busy machine distorts less than the wall's.
func cpuTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func wideFile(b *testing.B, rows int) []byte {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	opt := func() *float64 {
		if r.IntN(10) == 0 {
			return nil
		}
		f := r.Float64()
		return &f
	}
	all := make([]wideRow, rows)
	at := int64(978307200_000000)
	for i := range all {
		at += r.Int64N(1_000_000)
		all[i] = wideRow{
			at, at + r.Int64N(1e9), r.Int64N(1_000_000), opt(), opt(), opt(), opt(),
			r.Float64(), r.Float64(), r.Float64(), r.Float64(), r.Float64(), r.Float64(),
		}
	}
	var buf bytes.Buffer
	if err := parquetgo.Write(&buf, all, parquetgo.MaxRowsPerRowGroup(125_000)); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

func BenchmarkWide(b *testing.B) {
	const rows = 500_000
	ctx := context.Background()
	file := wideFile(b, rows)
	columns := []parquet.Column{column("event", "timestamp"), column("created", "timestamp"), column("key", "int64")}
	for i := range 10 {
		columns = append(columns, column(fmt.Sprintf("f%d", i), "float64"))
	}
	r := bind(b, file, "wide.parquet", columns...)
	vectors := make([]*columnar.Vector, len(columns))
	for i, c := range columns {
		vectors[i] = columnar.NewVector(c.Type, 0)
	}
	var wanted []int32
	for row := int32(0); row < int32(r.Rows(0)); row += 50 {
		wanted = append(wanted, row)
	}
	for name, read := range map[string]func(group, column int) error{
		"Read": func(group, column int) error {
			vectors[column].Reset()
			return r.Read(ctx, group, column, vectors[column])
		},
		"Pages": func(group, column int) error {
			return r.Pages(ctx, group, column, func(parquet.Page) error { return nil })
		},
		"Gather2Percent": func(group, column int) error {
			vectors[column].Reset()
			return r.Gather(ctx, group, column, wanted, vectors[column])
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				for g := range r.RowGroups() {
					for c := range columns {
						if err := read(g, c); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			b.ReportMetric(float64(rows)*float64(b.N)/(cpuTime(b)-before)/1e6, "Mrows/cpu-s")
		})
	}
}
