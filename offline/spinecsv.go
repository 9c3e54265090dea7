package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// csvSpine turns a CSV spine into Parquet, in two passes: the first finds the columns' types, the second writes them.
type csvSpine struct {
	spine   *spine
	columns []csvColumn
}

// csvColumn is a column of a CSV spine.
type csvColumn struct {
	name  string
	key   bool // its type is the service's
	kind  csvKind
	fits  csvFits
	cells int64 // that are not null
}

// Batches of the second pass.
const (
	csvBatchRows  = 16_384
	csvBatchBytes = 16 << 20
)

// convertCSV writes the spine as Parquet: keys in the type that the service needs, the time column as the times it has,
// all others in the first type that fits every cell. Rows and columns keep their order.
func (s *spine) convertCSV(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) (spineParquet, error) {
	c := &csvSpine{spine: s}
	if err := c.infer(ctx, opts, keys); err != nil {
		return spineParquet{}, err
	}
	temp, err := newSpineTemp(c.schema(), nil)
	if err != nil {
		return spineParquet{}, err
	}
	if err := c.write(ctx, temp); err != nil {
		return spineParquet{}, errors.Join(err, temp.file.Close())
	}
	file, err := temp.finish()
	if err != nil {
		return spineParquet{}, errors.Join(err, temp.file.Close())
	}
	return file, nil
}

func (s *spine) openCSV() (*csvReader, error) {
	comma := byte(',')
	if strings.HasSuffix(strings.TrimSuffix(strings.ToLower(s.path), ".gz"), ".tsv") {
		comma = '\t'
	}
	return newCSVReader(s.name(), comma, io.NewSectionReader(s.file, 0, s.size()), s.limits)
}

// infer finds the columns and their types.
func (c *csvSpine) infer(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) error {
	r, err := c.spine.openCSV()
	if err != nil {
		return err
	}
	c.columns = make([]csvColumn, len(r.header))
	for i, name := range r.header {
		column := csvColumn{name: name, fits: csvPlainFits}
		if name == opts.Time {
			column.fits = csvTimeFits
		}
		for _, key := range keys {
			if key.Name == name {
				column.key, column.fits = true, 1<<csvString
				if key.Kind == columnar.Int64 {
					column.fits = 1 << csvInt64
				}
			}
		}
		c.columns[i] = column
	}
	rows := int64(0)
	err = eachRecord(ctx, r, func(cells []csvCell) error {
		if rows++; rows > c.spine.limits.SpineRows {
			return c.spine.checkRows(rows)
		}
		for i, cell := range cells {
			column := &c.columns[i]
			if cell.null() {
				continue
			}
			column.cells++
			if column.key || column.fits == 1<<csvString {
				continue
			}
			column.fits = column.fits.observe(cell.text)
		}
		return nil
	})
	for i := range c.columns {
		column := &c.columns[i]
		column.kind = column.fits.kind(column.cells)
		if column.key && column.fits.has(csvInt64) {
			column.kind = csvInt64
		}
	}
	return err
}

// eachRecord calls f for every record that follows.
func eachRecord(ctx context.Context, r *csvReader, f func([]csvCell) error) error {
	for n := 0; ; n++ {
		if n%csvBatchRows == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		cells, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(cells); err != nil {
			return err
		}
	}
}

func (c *csvSpine) schema() *arrow.Schema {
	fields := make([]arrow.Field, len(c.columns))
	for i, column := range c.columns {
		fields[i] = arrow.Field{Name: column.name, Type: csvArrowTypes[column.kind], Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

var csvArrowTypes = [...]arrow.DataType{
	csvInt64:     arrow.PrimitiveTypes.Int64,
	csvFloat64:   arrow.PrimitiveTypes.Float64,
	csvBool:      arrow.FixedWidthTypes.Boolean,
	csvDate:      arrow.FixedWidthTypes.Date32,
	csvTimestamp: arrow.FixedWidthTypes.Timestamp_us,
	csvNaive:     &arrow.TimestampType{Unit: arrow.Microsecond},
	csvString:    arrow.BinaryTypes.String,
}

// write is the second pass.
func (c *csvSpine) write(ctx context.Context, temp *spineTemp) error {
	r, err := c.spine.openCSV()
	if err != nil {
		return err
	}
	batch := array.NewRecordBuilder(memory.DefaultAllocator, temp.schema)
	defer batch.Release()
	flush := func() error {
		rows := batch.NewRecordBatch()
		defer rows.Release()
		return temp.write(rows)
	}
	rows, size := 0, 0
	err = eachRecord(ctx, r, func(cells []csvCell) error {
		if len(cells) != len(c.columns) {
			return c.changed()
		}
		for i, cell := range cells {
			if cell.null() {
				batch.Field(i).AppendNull()
				continue
			}
			if !c.columns[i].append(batch.Field(i), cell.text) {
				return c.refused(r, &c.columns[i], cell.text)
			}
			size += len(cell.text)
		}
		if rows++; rows < csvBatchRows && size < csvBatchBytes {
			return nil
		}
		rows, size = 0, 0
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// append appends a cell that is not null; ok is false where it is not of the column's type.
func (c *csvColumn) append(b array.Builder, text []byte) (ok bool) {
	switch c.kind {
	case csvInt64:
		var x int64
		x, ok = parseInteger(text)
		b.(*array.Int64Builder).Append(x)
	case csvFloat64:
		var x float64
		x, ok = parseNumber(text)
		b.(*array.Float64Builder).Append(x)
	case csvBool:
		var x bool
		x, ok = parseBool(text)
		b.(*array.BooleanBuilder).Append(x)
	case csvString:
		b.(*array.StringBuilder).BinaryBuilder.Append(text)
		return true
	default:
		t, err := parseCivil(text)
		ok = err == nil
		if c.kind == csvDate {
			b.(*array.Date32Builder).Append(arrow.Date32(floorDiv(t.seconds, daySeconds)))
			break
		}
		b.(*array.TimestampBuilder).Append(arrow.Timestamp((t.seconds-t.offset)*1e6 + t.micros))
	}
	return ok
}

// refused says why a cell is not of its column's type.
func (c *csvSpine) refused(r *csvReader, column *csvColumn, text []byte) error {
	if !column.key {
		return c.changed()
	}
	return r.failure(csvError{
		line: r.line, what: fmt.Sprintf("key column %s: %.64q is not an int64, which the service needs", column.name, text),
		fix: "write integers in digits alone, without decimals or leading zeros, and nothing for null",
	})
}

// changed says that the second pass did not see what the first one saw.
func (c *csvSpine) changed() error {
	return &problem.Error{
		Code: problem.Conflict, Message: c.spine.name() + " has changed while it was read", Suggestion: "run the command again",
	}
}

// lineOf returns the line on which a row begins; rows count from 0.
func (s *spine) lineOf(row int) (int, error) {
	r, err := s.openCSV()
	if err != nil {
		return 0, err
	}
	for {
		if _, err := r.next(); err != nil {
			return 0, err
		}
		if row--; row < 0 {
			return r.line, nil
		}
	}
}
