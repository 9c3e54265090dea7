package parquet_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go/format"

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

// A page may be compressed in several members of gzip or frames of zstd, an empty one and a skippable one among them.
func TestMembersAndFrames(t *testing.T) {
	values := plainInt64s(1, 2)
	for codec, between := range map[format.CompressionCodec][]byte{
		format.Gzip: compressed(t, format.Gzip, nil),
		format.Zstd: {0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'},
	} {
		body := append(compressed(t, codec, values[:7]), between...)
		body = append(body, compressed(t, codec, values[7:])...)
		c := craftOne(format.Int64, false, 2, format.Plain, body)
		c.columns[0].codec = codec
		c.columns[0].pages[0].size = int32(len(values))
		if got := readColumnText(t, c.bytes(t), column("x", "int64")); fmt.Sprint(got) != "[1 2]" {
			t.Errorf("%s: %v", codec, got)
		}
	}
}

// Hadoop's framing may hold several blocks, each under its own size or all under one.
func TestFramesOfHadoopLZ4(t *testing.T) {
	values := plainInt64s(1, 2)
	one := compressed(t, format.Lz4, values)
	two := append(compressed(t, format.Lz4, values[:8]), compressed(t, format.Lz4, values[8:])...)
	first, second := compressed(t, format.Lz4, values[:8])[4:], compressed(t, format.Lz4, values[8:])[4:]
	under := append(append([]byte{0, 0, 0, 16}, first...), second...)
	for name, body := range map[string][]byte{"one": one, "two": two, "two under one size": under} {
		c := craftOne(format.Int64, false, 2, format.Plain, body)
		c.columns[0].codec = format.Lz4
		c.columns[0].pages[0].size = int32(len(values))
		if got := readColumnText(t, c.bytes(t), column("x", "int64")); fmt.Sprint(got) != "[1 2]" {
			t.Errorf("%s: %v", name, got)
		}
	}
}
