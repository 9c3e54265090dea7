package parquet_test

import (
	"context"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
)

// Hadoop compresses a page in parts of 256 KiB.
func TestLargePageOfHadoopLZ4(t *testing.T) {
	const name = "spark/lz4-large.parquet"
	r := bind(t, load(t, name), name, column("few", "int64"))
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
	if err := r.Read(context.Background(), 0, 0, v); err != nil {
		t.Fatal(err)
	}
	if v.Len() != 60_000 {
		t.Fatalf("%d rows", v.Len())
	}
	for i, got := range v.Int64s {
		if got != int64(i/5000) {
			t.Fatalf("row %d is %d", i, got)
		}
	}
}
