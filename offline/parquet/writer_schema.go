package parquet

import (
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/arrowipc"
)

// Schema is the columns of a file to write, in their order: those of another file as they are (Passthrough.Schema),
// then what Add adds.
type Schema struct {
	rootName string
	elements []format.SchemaElement // depth first, without the root
	fields   int32                  // children of the root
	leaves   []*Leaf
	metadata []format.KeyValue // of the other file
	added    []addedColumn
}

// addedColumn is what Add added.
type addedColumn struct {
	name string
	typ  columnar.Type
}

// Leaf is a leaf column of a Schema.
type Leaf struct {
	path           []string
	physical       format.Type
	width          int // bytes of one value, 0 for BYTE_ARRAY; a BOOLEAN takes one until it is packed
	maxRep, maxDef byte
	order          statsOrder
}

func (l *Leaf) name() string { return strings.Join(l.path, ".") }

// Leaves returns the leaf columns in order.
func (s *Schema) Leaves() []*Leaf { return s.leaves }

func (s *Schema) withRoot() []format.SchemaElement {
	root := format.SchemaElement{Name: s.rootName, NumChildren: pqthrift.New(s.fields)}
	return append([]format.SchemaElement{root}, s.elements...)
}

// keyValues returns the metadata of the file, that of the other file with Arrow's schema brought up to date.
func (s *Schema) keyValues() []format.KeyValue {
	var out []format.KeyValue
	for _, kv := range s.metadata {
		if kv.Key == arrowipc.SchemaKey {
			var ok bool
			if kv.Value, ok = extendArrowSchema(kv.Value, int(s.fields)-len(s.added), s.added); !ok {
				continue
			}
		}
		out = append(out, kv)
	}
	return out
}

// Add adds an optional column: a list as the three-level LIST with optional elements, a timestamp as microseconds UTC.
func (s *Schema) Add(name string, t columnar.Type) {
	s.fields++
	s.added = append(s.added, addedColumn{name, t})
	leaf := &Leaf{path: []string{name}, maxDef: 1}
	element := scalarElement(t.Kind)
	element.Name = name
	if t.List {
		leaf.path = append(leaf.path, "list", "element")
		leaf.maxRep, leaf.maxDef = 1, 3
		s.elements = append(s.elements, format.SchemaElement{
			Name:           name,
			RepetitionType: pqthrift.New(format.Optional),
			NumChildren:    pqthrift.New[int32](1),
			ConvertedType:  pqthrift.New(deprecated.List),
			LogicalType:    format.LogicalType{Value: &format.ListType{}},
		}, format.SchemaElement{
			Name:           "list",
			RepetitionType: pqthrift.New(format.Repeated),
			NumChildren:    pqthrift.New[int32](1),
		})
		element.Name = "element"
	}
	leaf.physical = element.Type.V
	leaf.width = plainWidth(leaf.physical, 0)
	leaf.order = orderOf(&element)
	s.elements = append(s.elements, element)
	s.leaves = append(s.leaves, leaf)
}

func scalarElement(k columnar.Kind) format.SchemaElement {
	e := format.SchemaElement{RepetitionType: pqthrift.New(format.Optional)}
	switch k {
	case columnar.Bool:
		e.Type = pqthrift.New(format.Boolean)
	case columnar.Int32:
		e.Type = pqthrift.New(format.Int32)
	case columnar.Int64:
		e.Type = pqthrift.New(format.Int64)
	case columnar.Float32:
		e.Type = pqthrift.New(format.Float)
	case columnar.Float64:
		e.Type = pqthrift.New(format.Double)
	case columnar.Timestamp:
		e.Type = pqthrift.New(format.Int64)
		e.ConvertedType = pqthrift.New(deprecated.TimestampMicros)
		e.LogicalType.Value = &format.TimestampType{
			IsAdjustedToUTC: true,
			Unit:            format.TimeUnit{Value: &format.MicroSeconds{}},
		}
	case columnar.String:
		e.Type = pqthrift.New(format.ByteArray)
		e.ConvertedType = pqthrift.New(deprecated.UTF8)
		e.LogicalType.Value = &format.StringType{}
	default:
		e.Type = pqthrift.New(format.ByteArray)
	}
	return e
}

// plainWidth returns the bytes of a value of fixed width, 0 for others.
func plainWidth(t format.Type, length int32) int {
	switch t {
	case format.Boolean:
		return 1
	case format.Int32, format.Float:
		return 4
	case format.Int64, format.Double:
		return 8
	case format.Int96:
		return 12
	case format.FixedLenByteArray:
		return int(length)
	default:
		return 0
	}
}
