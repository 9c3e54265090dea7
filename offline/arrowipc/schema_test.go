package arrowipc

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/provender-dev/provender/internal/testenv"
)

func someSchema(ordered bool) *arrow.Schema {
	metadata := arrow.NewMetadata([]string{"pandas", "k"}, []string{"{}", "v"})
	text := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String, Ordered: ordered}
	return arrow.NewSchema([]arrow.Field{
		{Name: "t", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/Berlin"}},
		{Name: "text", Type: text, Nullable: true, Metadata: metadata},
		{Name: "list", Type: arrow.ListOf(arrow.StructOf(
			arrow.Field{Name: "a", Type: arrow.BinaryTypes.StringView, Nullable: true}, arrow.Field{Name: "b", Type: text, Nullable: true},
		)), Nullable: true},
		{Name: "union", Type: arrow.DenseUnionOf([]arrow.Field{{Name: "a", Type: arrow.Null}}, []arrow.UnionTypeCode{3})},
	}, &metadata)
}

func TestSchema(t *testing.T) {
	want := someSchema(false)
	for _, ordered := range []bool{false, true} {
		value, err := FormatSchema(someSchema(ordered))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadSchema(value)
		if err != nil || !got.Equal(want) {
			t.Errorf("%v, %v", got, err)
		}
	}
	value, err := FormatSchema(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "AAAA", "*", "/////w==", value[:len(value)/8*4]} {
		if got, err := ReadSchema(bad); err == nil || !strings.HasPrefix(err.Error(), "read ARROW:schema: ") {
			t.Errorf("%.20q: %v, %v", bad, got, err)
		}
	}
}

// A schema whose numbers lie is an error or another schema, and takes no memory that its bytes do not have.
func TestDamagedSchema(t *testing.T) {
	r := testenv.Rand(t)
	value, err := FormatSchema(someSchema(true))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tries := 0
	try := func(b []byte) {
		_, _ = ReadSchema(base64.StdEncoding.EncodeToString(b))
		tries++
	}
	for at := 0; at+4 <= len(whole); at++ {
		for _, lie := range []uint32{0, 1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			b := bytes.Clone(whole)
			binary.LittleEndian.PutUint32(b[at:], lie)
			try(b)
		}
		b := bytes.Clone(whole)
		b[at] ^= 1 << r.IntN(8)
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		try(b)
	}
	runtime.ReadMemStats(&after)
	if most := uint64(tries) << 18; after.TotalAlloc-before.TotalAlloc > most {
		t.Errorf("%d bytes were allocated for %d schemas of %d", after.TotalAlloc-before.TotalAlloc, tries, len(whole))
	}
}
