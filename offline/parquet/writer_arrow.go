package parquet

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/arrowipc"
)

// extendArrowSchema returns the value of arrowipc.SchemaKey with columns added behind its own, as it must name all of
// them; ok is false where the value does not describe the fields of its file or can't be read. The file is complete
// without it.
func extendArrowSchema(value string, fields int, added []addedColumn) (extended string, ok bool) {
	schema, err := arrowipc.ReadSchema(value)
	if err != nil || schema.NumFields() != fields {
		return "", false
	}
	all := schema.Fields()
	for _, column := range added {
		all = append(all, arrow.Field{Name: column.name, Type: arrowType(column.typ), Nullable: true})
	}
	metadata := schema.Metadata()
	whole := arrow.NewSchemaWithEndian(all, &metadata, schema.Endianness())
	if extended, err = arrowipc.FormatSchema(whole); err != nil {
		return "", false
	}
	// What Arrow's Go library does not know must not be lost silently.
	again, err := arrowipc.ReadSchema(extended)
	return extended, err == nil && again.Equal(whole)
}

func arrowType(t columnar.Type) arrow.DataType {
	if t.List {
		return arrow.ListOfField(arrow.Field{Name: "element", Type: arrowType(t.Elem()), Nullable: true})
	}
	switch t.Kind {
	case columnar.Bool:
		return arrow.FixedWidthTypes.Boolean
	case columnar.Int32:
		return arrow.PrimitiveTypes.Int32
	case columnar.Int64:
		return arrow.PrimitiveTypes.Int64
	case columnar.Float32:
		return arrow.PrimitiveTypes.Float32
	case columnar.Float64:
		return arrow.PrimitiveTypes.Float64
	case columnar.String:
		return arrow.BinaryTypes.String
	case columnar.Timestamp:
		return arrow.FixedWidthTypes.Timestamp_us
	default:
		return arrow.BinaryTypes.Binary
	}
}
