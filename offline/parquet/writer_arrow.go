package parquet

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/provender-dev/provender/internal/columnar"
)

// arrowSchemaKey is the metadata in which Arrow's writers repeat a file's schema, to give back what Parquet has no type
// for: time zones, durations, dictionaries. Readers match it with the columns by position, so it must name all of them.
const arrowSchemaKey = "ARROW:schema"

// extendArrowSchema returns the value of arrowSchemaKey with columns added behind its own, ok is false where the value
// does not describe the fields of its file or can't be read; the file is complete without it.
func extendArrowSchema(value string, fields int, added []addedColumn) (extended string, ok bool) {
	// The bytes are the spine's, and nothing depends on them.
	defer func() {
		if recover() != nil {
			extended, ok = "", false
		}
	}()
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", false
	}
	schema, err := readArrowSchema(raw)
	if err != nil || schema.NumFields() != fields {
		return "", false
	}
	all := schema.Fields()
	for _, column := range added {
		all = append(all, arrow.Field{Name: column.name, Type: arrowType(column.typ), Nullable: true})
	}
	metadata := schema.Metadata()
	whole := arrow.NewSchemaWithEndian(all, &metadata, schema.Endianness())
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(whole))
	if err := w.Close(); err != nil {
		return "", false
	}
	// What Arrow's Go library does not know must not be lost silently.
	again, err := readArrowSchema(buf.Bytes())
	if err != nil || !again.Equal(whole) {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes()), true
}

func readArrowSchema(raw []byte) (*arrow.Schema, error) {
	r, err := ipc.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", arrowSchemaKey, err)
	}
	defer r.Release()
	return r.Schema(), nil
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
