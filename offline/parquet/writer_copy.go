package parquet

import (
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Passthrough reads the columns of a file as Parquet has them, whatever their types, so that a Writer can repeat them
// bit for bit: decimals, nested fields, INT96 and types that Provender does not know.
type Passthrough struct {
	name   string
	file   *pq.File
	schema *Schema
}

// OpenPassthrough opens a file that Open has accepted; name is how errors call it. Columns compressed in a way that
// can't be read exactly are an error.
func OpenPassthrough(r io.ReaderAt, size int64, name string) (p *Passthrough, err error) {
	defer recovered(&err, name)
	file, err := pq.OpenFile(r, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true), pq.ReadBufferSize(1<<18))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p = &Passthrough{name: name, file: file}
	meta := file.Metadata()
	for g := range meta.RowGroups {
		for _, column := range meta.RowGroups[g].Columns {
			// parquet-go reads LZ4_RAW without an error and wrongly.
			if codec := column.MetaData.Codec; codec == format.Lz4Raw {
				return nil, fmt.Errorf("%s: row group %d, column %s: compression %s is not supported; rewrite the file with zstd or snappy",
					name, g, leafName(column.MetaData.PathInSchema), codec)
			}
		}
	}
	if p.schema, err = copySchema(meta); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// recovered turns a panic of the library, which damaged bytes can cause, into an error.
func recovered(err *error, where string) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: damaged: %v", where, r)
	}
}

func leafName(path []string) string { return (&Leaf{path: path}).name() }

// copySchema returns the schema of a file, element by element, with its key-value metadata.
func copySchema(meta *format.FileMetaData) (*Schema, error) {
	if len(meta.Schema) == 0 || meta.Schema[0].Type.Valid {
		return nil, errors.New("schema without a root")
	}
	s := &Schema{
		rootName: meta.Schema[0].Name,
		elements: append([]format.SchemaElement(nil), meta.Schema[1:]...),
		fields:   meta.Schema[0].NumChildren.V,
		metadata: meta.KeyValueMetadata,
	}
	next := 0
	var walk func(children int32, path []string, rep, def byte) error
	walk = func(children int32, path []string, rep, def byte) error {
		for range children {
			if next >= len(s.elements) {
				return errors.New("schema ends early")
			}
			e := &s.elements[next]
			next++
			rep, def := rep, def
			switch e.RepetitionType.V {
			case format.Optional:
				def++
			case format.Repeated:
				rep, def = rep+1, def+1
			}
			path := append(path[:len(path):len(path)], e.Name)
			if len(path) > 64 {
				return fmt.Errorf("column %s is nested more than 64 deep", leafName(path[:3]))
			}
			if !e.Type.Valid {
				if err := walk(e.NumChildren.V, path, rep, def); err != nil {
					return err
				}
				continue
			}
			s.leaves = append(s.leaves, &Leaf{
				path: path, physical: e.Type.V, width: plainWidth(e.Type.V, e.TypeLength.V),
				maxRep: rep, maxDef: def, order: orderOf(e),
			})
		}
		return nil
	}
	if err := walk(s.fields, nil, 0, 0); err != nil {
		return nil, err
	}
	if next != len(s.elements) {
		return nil, errors.New("schema has elements outside its root")
	}
	return s, nil
}

// Schema returns the file's schema, to which the caller may Add columns; every call returns a new one.
func (p *Passthrough) Schema() *Schema {
	s := *p.schema
	s.elements = s.elements[:len(s.elements):len(s.elements)]
	s.leaves = s.leaves[:len(s.leaves):len(s.leaves)]
	return &s
}

// Names returns the names of the file's top-level columns, in order.
func (p *Passthrough) Names() []string {
	var names []string
	for i := 0; i < len(p.schema.elements); {
		names = append(names, p.schema.elements[i].Name)
		for open := 1; open > 0; i++ {
			open += int(p.schema.elements[i].NumChildren.V) - 1
		}
	}
	return names
}

// Size returns the rows of the file, and the bytes of its pages before compression as the footer has them.
func (p *Passthrough) Size() (rows, bytes int64) {
	meta := p.file.Metadata()
	for i := range meta.RowGroups {
		bytes += meta.RowGroups[i].TotalByteSize
	}
	return meta.NumRows, bytes
}

// Cursor returns a reader of leaf i of the schema. Cursors may be used concurrently with each other.
func (p *Passthrough) Cursor(i int) *Cursor {
	return &Cursor{p: p, leaf: p.schema.leaves[i], column: i}
}
