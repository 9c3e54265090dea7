package pit

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// layout is how a file holds its rows: none of it may change an answer.
type layout struct {
	rowsPerGroup int
	codec        compress.Codec
	dictionary   bool
	narrow       bool // int32 for int64, float32 for float64, where every value allows it
	dataPageV1   bool
	pageBytes    int
}

func randomLayout(rng *rand.Rand) layout {
	return layout{
		rowsPerGroup: []int{1, 2, 3, 7, 64, 1 << 20}[rng.IntN(6)],
		codec:        []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd, &parquet.Gzip}[rng.IntN(4)],
		dictionary:   rng.IntN(2) == 0,
		narrow:       rng.IntN(3) == 0,
		dataPageV1:   rng.IntN(2) == 0,
		pageBytes:    []int{16, 256, 1 << 20}[rng.IntN(3)],
	}
}

// column is one column to write.
type column struct {
	name, typ string
	at        func(row int) Value
}

// writeParquet writes columns with parquet-go's own writer, value by value.
func writeParquet(t testing.TB, path string, rows int, columns []column, how layout) {
	t.Helper()
	group := parquet.Group{}
	for i := range columns {
		c := &columns[i]
		if how.narrow {
			c.typ = narrowed(*c, rows)
		}
		group[c.name] = node(c.typ, how.dictionary)
	}
	schema := parquet.NewSchema("row", group)
	index := map[string]int{}
	for i, p := range schema.Columns() {
		index[p[0]] = i
	}
	version := 2
	if how.dataPageV1 {
		version = 1
	}
	var out bytes.Buffer
	w := parquet.NewGenericWriter[any](&out, schema, parquet.Compression(how.codec), parquet.DataPageVersion(version),
		parquet.PageBufferSize(how.pageBytes))
	for r := range rows {
		leaves := make([][]parquet.Value, len(columns))
		for _, c := range columns {
			leaves[index[c.name]] = levels(c.typ, c.at(r), index[c.name])
		}
		var row parquet.Row
		for _, l := range leaves {
			row = append(row, l...)
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			t.Fatalf("write %s: %v", path, err)
		}
		if (r+1)%how.rowsPerGroup == 0 {
			if err := w.Flush(); err != nil {
				t.Fatalf("write %s: %v", path, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// Another file of the same name, never the same file with other bytes: as pipelines do it.
	if err := os.WriteFile(path+".tmp", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// narrowed returns the narrower type that holds every value of the column exactly, if there is one.
func narrowed(c column, rows int) string {
	for r := range rows {
		v := c.at(r)
		switch {
		case v.Null:
		case c.typ == "int64" && int64(v.Bits) != int64(int32(v.Bits)):
			return c.typ
		case c.typ == "float64":
			f := math.Float64frombits(v.Bits)
			if math.Float64bits(float64(float32(f))) != v.Bits || math.IsNaN(f) {
				return c.typ
			}
		}
	}
	switch c.typ {
	case "int64":
		return "int32"
	case "float64":
		return "float64 as float32"
	}
	return c.typ
}

func node(typ string, dictionary bool) parquet.Node {
	if elem, list := strings.CutPrefix(typ, "list<"); list {
		return parquet.Optional(parquet.List(node(strings.TrimSuffix(elem, ">"), dictionary)))
	}
	var n parquet.Node
	switch typ {
	case "bool":
		return parquet.Optional(parquet.Leaf(parquet.BooleanType))
	case "int32":
		n = parquet.Int(32)
	case "int64":
		n = parquet.Int(64)
	case "float32", "float64 as float32":
		n = parquet.Leaf(parquet.FloatType)
	case "float64":
		n = parquet.Leaf(parquet.DoubleType)
	case "string":
		n = parquet.String()
	case "bytes":
		n = parquet.Leaf(parquet.ByteArrayType)
	case "timestamp":
		n = parquet.Timestamp(parquet.Microsecond)
	case "instant":
		n = parquet.Timestamp(parquet.Nanosecond)
	}
	if dictionary {
		n = parquet.Encoded(n, &parquet.RLEDictionary)
	}
	return parquet.Optional(n)
}

// levels turns a value into what one row has in the leaf column.
func levels(typ string, v Value, col int) []parquet.Value {
	elem, list := strings.CutPrefix(typ, "list<")
	switch {
	case v.Null:
		return []parquet.Value{parquet.NullValue().Level(0, 0, col)}
	case !list:
		return []parquet.Value{scalar(typ, v).Level(0, 1, col)}
	case len(v.List) == 0:
		return []parquet.Value{parquet.NullValue().Level(0, 1, col)}
	}
	elem = strings.TrimSuffix(elem, ">")
	out := make([]parquet.Value, len(v.List))
	for i, e := range v.List {
		repeated := min(i, 1)
		if e.Null {
			out[i] = parquet.NullValue().Level(repeated, 2, col)
		} else {
			out[i] = scalar(elem, e).Level(repeated, 3, col)
		}
	}
	return out
}

func scalar(typ string, v Value) parquet.Value {
	switch typ {
	case "bool":
		return parquet.BooleanValue(v.Bits != 0)
	case "int32":
		return parquet.Int32Value(int32(v.Bits))
	case "float32":
		return parquet.FloatValue(math.Float32frombits(uint32(v.Bits)))
	case "float64 as float32":
		return parquet.FloatValue(float32(math.Float64frombits(v.Bits)))
	case "float64":
		return parquet.DoubleValue(math.Float64frombits(v.Bits))
	case "string", "bytes":
		return parquet.ByteArrayValue([]byte(v.Str))
	default:
		return parquet.Int64Value(int64(v.Bits))
	}
}

// writeSource writes the rows of one file of a case.
func writeSource(t testing.TB, path string, v *View, rows []Row, how layout) {
	t.Helper()
	columns := []column{
		{"happened", "instant", func(r int) Value { return Value{Bits: uint64(rows[r].Event)} }},
		{"written", "instant", func(r int) Value {
			if rows[r].Created == nil {
				return Value{Null: true}
			}
			return Value{Bits: uint64(*rows[r].Created)}
		}},
	}
	for i, k := range v.Keys {
		columns = append(columns, column{k.Name, k.Type, func(r int) Value { return rows[r].Keys[i] }})
	}
	for i, f := range v.Features {
		columns = append(columns, column{f.Name, f.Type, func(r int) Value { return rows[r].Values[i] }})
	}
	writeParquet(t, path, len(rows), columns, how)
}

// writeSpine writes asks as a spine: their keys, and under other_… the keys of the ask after.
func writeSpine(t testing.TB, path string, v *View, asks []*Ask, how layout) {
	t.Helper()
	columns := []column{
		{"at", "instant", func(r int) Value { return Value{Bits: uint64(asks[r].At)} }},
		{"label", "int64", func(r int) Value { return Value{Bits: uint64(r)} }},
	}
	for i, k := range v.Keys {
		columns = append(columns,
			column{k.Name, k.Type, func(r int) Value { return asks[r].Keys[i] }},
			column{"other_" + k.Name, k.Type, func(r int) Value { return other(asks, r).Keys[i] }})
	}
	writeParquet(t, path, len(asks), columns, how)
}

// other returns the ask whose keys the second binding reads for row r.
func other(asks []*Ask, r int) *Ask { return asks[(r+1)%len(asks)] }
