package parquet

import (
	"errors"
	"fmt"

	pqthrift "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Passthrough reads the columns of a file as Parquet has them, whatever their types, so that a Writer can repeat them
// bit for bit: decimals, nested fields, INT96 and types that Provender does not know.
type Passthrough struct {
	file   *File
	schema *Schema
}

// Passthrough returns a reader of all columns; size is that of the file. Columns whose compression is not read are an
// error.
func (f *File) Passthrough(size int64) (p *Passthrough, err error) {
	defer func() {
		if err != nil {
			err = f.failure(-1, "", err)
		}
	}()
	defer guard(&err)
	raw, err := f.readFooter(f.r, size)
	if err != nil {
		return nil, err
	}
	// The reader keeps of a schema what it reads; repeating one takes all of it.
	var meta struct {
		Schema    pqthrift.Slice[format.SchemaElement] `thrift:"2,required"`
		KeyValues pqthrift.Slice[format.KeyValue]      `thrift:"5,optional"`
	}
	if err := pqthrift.Unmarshal(new(pqthrift.CompactProtocol), raw, &meta); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	if len(meta.Schema) != len(f.footer.schema) {
		return nil, errors.New("footer: it has changed while it was read")
	}
	s := &Schema{
		rootName: meta.Schema[0].Name,
		elements: meta.Schema[1:],
		fields:   meta.Schema[0].NumChildren.V,
		metadata: meta.KeyValues,
	}
	for i := range s.elements {
		e := &s.elements[i]
		if !e.Type.Valid {
			continue
		}
		l := f.leaves[len(s.leaves)]
		width := plainWidth(e.Type.V, e.TypeLength.V)
		if e.Type.V != byteArray && width <= 0 {
			return nil, fmt.Errorf("column %q: values of %d bytes", l.Name, width)
		}
		s.leaves = append(s.leaves, &Leaf{
			path: l.path, physical: e.Type.V, width: width, maxRep: l.maxRep, maxDef: l.maxDef, order: orderOf(e),
		})
		for g := range f.footer.groups {
			if why := readable(f.footer.groups[g].chunks[l.index].codec); why != "" {
				return nil, fmt.Errorf("column %q: %s", l.Name, why)
			}
		}
	}
	return &Passthrough{file: f, schema: s}, nil
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
			open--
			// What a leaf says of children counts for nothing.
			if e := &p.schema.elements[i]; !e.Type.Valid {
				open += int(e.NumChildren.V)
			}
		}
	}
	return names
}

// Cursor returns a reader of leaf i of the schema. Cursors may be used concurrently with each other.
func (p *Passthrough) Cursor(i int) *Cursor {
	return &Cursor{file: p.file, leaf: p.schema.leaves[i], source: p.file.leaves[i]}
}
