package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/deprecated"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
)

// handMade writes a file of one row group and one leaf column whose schema no writer of ours makes.
func handMade(t *testing.T, elements []format.SchemaElement, c *Chunk) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, &Schema{rootName: "schema", elements: elements, fields: 1, leaves: []*Leaf{c.leaf}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup([]*Encoded{mustEncode(t, c)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openBytes(t *testing.T, b []byte, limits Limits) *File {
	t.Helper()
	f, err := Open(context.Background(), bytes.NewReader(b), source.File{Path: "test.parquet", Size: int64(len(b))}, limits)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Lists of two levels, as Hive, Thrift and Avro wrote them: [1, 2], null, [], [3].
func TestTwoLevelLists(t *testing.T) {
	group := func(list bool) format.SchemaElement {
		e := format.SchemaElement{Name: "l", RepetitionType: pqthrift.New(format.Optional), NumChildren: pqthrift.New[int32](1)}
		if list {
			e.ConvertedType = pqthrift.New(deprecated.List)
		} else {
			e.LogicalType = format.LogicalType{Value: &format.ListType{}}
		}
		return e
	}
	for _, child := range []string{"array", "l_tuple", "element", "bag"} {
		for _, converted := range []bool{true, false} {
			t.Run(fmt.Sprint(child, converted), func(t *testing.T) {
				leaf := format.SchemaElement{
					Name: child, Type: pqthrift.New(format.Int64), RepetitionType: pqthrift.New(format.Repeated),
				}
				c := NewChunk(&Leaf{path: []string{"l", child}, physical: format.Int64, width: 8, maxRep: 1, maxDef: 2}, 4)
				c.rep, c.def = []byte{0, 1, 0, 0, 0}, []byte{2, 2, 0, 1, 2}
				c.rows, c.slots, c.values = 4, 5, 3
				c.fixed = []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}
				f := openBytes(t, handMade(t, []format.SchemaElement{group(converted), leaf}, c), Limits{})
				typ := columnar.Type{Kind: columnar.Int64, List: true}
				r, err := f.Bind([]Column{{Name: "l", Type: typ}})
				if err != nil {
					t.Fatal(err)
				}
				whole, some := columnar.NewVector(typ, 0), columnar.NewVector(typ, 0)
				if err := r.Read(context.Background(), 0, 0, whole); err != nil {
					t.Fatal(err)
				}
				if err := r.Gather(context.Background(), 0, 0, []int32{1, 3}, some); err != nil {
					t.Fatal(err)
				}
				if got := show(whole); got != "[1,2] null [] [3]" {
					t.Errorf("read %s", got)
				}
				if got := show(some); got != "null [3]" {
					t.Errorf("gathered %s", got)
				}
			})
		}
	}
}

// A repeated group of one field is the middle of three levels, unless its name says that it is the element.
func TestRepeatedGroupInList(t *testing.T) {
	for name, isStruct := range map[string]bool{"list": false, "bag": false, "array": true, "l_tuple": true} {
		elements := []format.SchemaElement{
			{Name: "l", RepetitionType: pqthrift.New(format.Optional), NumChildren: pqthrift.New[int32](1), ConvertedType: pqthrift.New(deprecated.List)},
			{Name: name, RepetitionType: pqthrift.New(format.Repeated), NumChildren: pqthrift.New[int32](1)},
			{Name: "x", Type: pqthrift.New(format.Int32), RepetitionType: pqthrift.New(format.Optional)},
		}
		c := NewChunk(&Leaf{path: []string{"l", name, "x"}, physical: format.Int32, width: 4, maxRep: 1, maxDef: 3}, 1)
		c.rep, c.def, c.fixed, c.rows, c.slots, c.values = []byte{0}, []byte{3}, []byte{7, 0, 0, 0}, 1, 1, 1
		info := openBytes(t, handMade(t, elements, c), Limits{}).Columns()[0]
		if want := map[bool]string{true: "l.x", false: "l"}[isStruct]; info.Name != want || info.Type != (columnar.Type{Kind: columnar.Int32, List: true}) {
			t.Errorf("%s: %+v, want %s", name, info, want)
		}
	}
}

func show(v *columnar.Vector) string {
	var b []byte
	for i := range v.Len() {
		b = append(columnar.AppendJSON(b, v, i), ' ')
	}
	return strings.TrimSpace(string(b))
}

// A leaf that claims children has none.
func TestPassthroughLeafWithChildren(t *testing.T) {
	c := NewChunk(&Leaf{path: []string{"x"}, physical: format.Int32, width: 4}, 1)
	c.fixed, c.rows, c.slots, c.values = []byte{1, 0, 0, 0}, 1, 1, 1
	b := handMade(t, []format.SchemaElement{{
		Name: "x", Type: pqthrift.New(format.Int32), RepetitionType: pqthrift.New(format.Required), NumChildren: pqthrift.New[int32](7),
	}}, c)
	if names := passthrough(t, b).Names(); !slices.Equal(names, []string{"x"}) {
		t.Errorf("names %q", names)
	}
}

// A dictionary of one long value makes a few bytes stand for any number of them.
func TestPassthroughLimits(t *testing.T) {
	const rows, width = 5000, 1000
	fixed := NewChunk(&Leaf{path: []string{"x"}, physical: format.FixedLenByteArray, width: width}, rows)
	fixed.fixed = make([]byte, rows*width)
	fixed.rows, fixed.slots, fixed.values = rows, rows, rows
	text := NewChunk(&Leaf{path: []string{"x"}, physical: byteArray}, rows)
	for range rows {
		text.appendBytes(make([]byte, width))
	}
	text.rows, text.slots, text.values = rows, rows, rows
	for name, c := range map[string]*Chunk{"fixed": fixed, "text": text} {
		element := format.SchemaElement{Name: "x", Type: pqthrift.New(c.leaf.physical), RepetitionType: pqthrift.New(format.Required)}
		if c.leaf.width > 0 {
			element.TypeLength = pqthrift.New(int32(c.leaf.width))
		}
		b := handMade(t, []format.SchemaElement{element}, c)
		if len(b) > 1<<13 {
			t.Fatalf("%s: the file takes %d bytes", name, len(b))
		}
		for limit, limits := range map[string]Limits{
			"limits.parquet_chunk": {ChunkBytes: 1 << 20}, "limits.parquet_value": {ValueBytes: width - 1},
		} {
			f := openBytes(t, b, limits)
			p, err := f.Passthrough(int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = tryRead(p, 0)
			var e *problem.Error
			if !errors.As(err, &e) || e.Code != problem.Exhausted || !strings.Contains(e.Message, limit) ||
				!strings.Contains(e.Message, `test.parquet: row group 0: column "x"`) {
				t.Errorf("%s, %s: %v", name, limit, err)
			}
		}
		if got := readAll(t, passthrough(t, b), 0); !bytes.Equal(got.fixed, c.fixed) || !bytes.Equal(got.data, c.data) {
			t.Errorf("%s: changed within the limits", name)
		}
	}
}
