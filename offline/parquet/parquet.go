// Package parquet reads Parquet files into columnar vectors: binding by name, exact conversion (R1, R10), pages,
// pruning, guards against hostile bytes. Every error names file, row group and column. It never panics.
//
// The bytes of a file are not trusted. Nothing is allocated that a declared size alone asks for: sizes and counts are
// held first against the file, the footer and the Limits.
package parquet

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// Limits bound what a file may ask for. The zero value means the defaults.
type Limits struct {
	PageBytes   int64 // one page after decompression; default 256 MiB
	ValueBytes  int64 // one string; default 16 MiB
	FooterBytes int64 // default 64 MiB
	GroupValues int64 // values of one column in a row group, elements of lists included; default 268,435,456
	ChunkBytes  int64 // what one column of a Passthrough has in a row group to write; default 2 GiB
}

func (l Limits) withDefaults() Limits {
	l.PageBytes = cmp.Or(l.PageBytes, 256<<20)
	l.ValueBytes = cmp.Or(l.ValueBytes, 16<<20)
	l.FooterBytes = cmp.Or(l.FooterBytes, 64<<20)
	l.ChunkBytes = cmp.Or(l.ChunkBytes, 2<<30)
	l.GroupValues = min(cmp.Or(l.GroupValues, 1<<28), math.MaxInt32)
	return l
}

// Rounding is what becomes of a time finer than a microsecond (R1).
type Rounding uint8

// The ways of R1.
const (
	Exact     Rounding = iota // values: a rest is an error
	RoundUp                   // event and created times
	RoundDown                 // spine times
)

// Column is what a caller wants of a file.
type Column struct {
	Name string        // dotted for nested fields; a hive partition's name where the file has no such column
	Type columnar.Type // what the vector shall be; the file's type widens to it or binding fails
	// For timestamps:
	Location  *time.Location // of naive timestamps; nil: UTC
	Ambiguous registry.Ambiguous
	At        registry.DayEnd // for DATE columns and partitions; "" makes those an error
	Round     Rounding
	// Optional: where the file lacks the column, all its values are null.
	Optional bool
}

// File is an open Parquet file whose footer has been read and checked. Immutable; safe for concurrent use.
type File struct {
	r         io.ReaderAt
	path      string
	partition []source.Partition
	limits    Limits
	footer    *footer
	leaves    []*leaf
	digest    uint64
}

// Open reads and checks the footer.
func Open(ctx context.Context, r io.ReaderAt, file source.File, limits Limits) (*File, error) {
	f := &File{r: r, path: file.Path, partition: file.Partition, limits: limits.withDefaults()}
	if err := ctx.Err(); err != nil {
		return nil, f.failure(-1, "", err)
	}
	f.prefetchFooter(ctx, file.Size)
	raw, err := f.readFooter(f.under(ctx), file.Size)
	if err != nil {
		return nil, f.failure(-1, "", err)
	}
	f.digest = xxh3.Hash(raw)
	if f.footer, err = parseFooter(raw); err != nil {
		return nil, f.failure(-1, "", fmt.Errorf("footer: %w", err))
	}
	if f.footer.encrypted {
		return nil, f.failure(-1, "", errEncrypted)
	}
	if f.leaves, err = parseSchema(f.footer.schema); err != nil {
		return nil, f.failure(-1, "", fmt.Errorf("footer: %w", err))
	}
	return f, f.checkGroups(file.Size - 8 - int64(len(raw)))
}

var errEncrypted = errors.New("the file is encrypted, which is not read")

func (f *File) readFooter(r io.ReaderAt, size int64) ([]byte, error) {
	if size < 12 {
		return nil, fmt.Errorf("not a Parquet file, or cut short: it has %d bytes", size)
	}
	var head, tail [8]byte
	if err := readAt(r, head[:4], 0); err != nil {
		return nil, err
	}
	if err := readAt(r, tail[:], size-8); err != nil {
		return nil, err
	}
	switch {
	case string(tail[4:]) == "PARE" || string(head[:4]) == "PARE":
		return nil, errEncrypted
	case string(head[:4]) != string(magic):
		return nil, errors.New("not a Parquet file: it does not begin with PAR1")
	case string(tail[4:]) != string(magic):
		return nil, errors.New("not a whole Parquet file: it does not end with PAR1; was it cut short while it was written or copied?")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	switch {
	case n > size-12:
		return nil, fmt.Errorf("footer: its %d bytes do not fit the file's %d", n, size)
	case n > f.limits.FooterBytes:
		return nil, &limitError{fmt.Sprintf("a footer of %d bytes is over the limit of %d (limits.parquet_footer)", n, f.limits.FooterBytes)}
	}
	raw := make([]byte, n)
	return raw, readAt(r, raw, size-8-n)
}

func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at offset %d: %w", len(b), offset, err)
}

// checkGroups holds row groups and column chunks against the schema, the limits and each other. The bytes of data end
// at end.
func (f *File) checkGroups(end int64) error {
	rows := int64(0)
	type span struct {
		start, end    int64
		group, column int
	}
	var spans []span
	for g := range f.footer.groups {
		group := &f.footer.groups[g]
		switch {
		case group.rows > f.limits.GroupValues:
			return f.failure(g, "", &limitError{fmt.Sprintf("%d rows are over the limit of %d (limits.parquet_group_values)", group.rows, f.limits.GroupValues)})
		case len(group.chunks) != len(f.leaves):
			return f.failure(g, "", fmt.Errorf("%d column chunks, but the schema has %d columns", len(group.chunks), len(f.leaves)))
		}
		rows += group.rows
		for i := range group.chunks {
			c := &group.chunks[i]
			if err := f.checkChunk(group, c, f.leaves[i]); err != nil {
				return f.failure(g, f.leaves[i].Name, err)
			}
			if c.values == 0 {
				continue
			}
			start := c.start()
			if start < 4 || c.compressed <= 0 || start > end || c.compressed > end-start {
				return f.failure(g, f.leaves[i].Name, errors.New("footer: its pages lie outside the file's data; was the file cut short?"))
			}
			spans = append(spans, span{start, start + c.compressed, g, i})
		}
	}
	if rows != f.footer.rows {
		return f.failure(-1, "", fmt.Errorf("footer: the row groups have %d rows, the file %d", rows, f.footer.rows))
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(spans); i++ {
		if s := spans[i]; s.start < spans[i-1].end {
			return f.failure(s.group, f.leaves[s.column].Name, errors.New("footer: its pages overlap those of another column chunk"))
		}
	}
	return nil
}

func (f *File) checkChunk(group *rowGroup, c *chunkMeta, l *leaf) error {
	switch {
	case c.encrypted:
		return errEncrypted
	case c.elsewhere:
		return errors.New("its pages are in another file, which is not read")
	case c.physical != l.elem.physical || !samePath(c.path, l.path):
		return errors.New("footer: the column chunk is of another column than the schema says")
	case l.maxRep == 0 && c.values != group.rows:
		return fmt.Errorf("footer: %d values for %d rows", c.values, group.rows)
	case c.values < group.rows:
		return fmt.Errorf("footer: %d values for %d rows of lists", c.values, group.rows)
	case c.values > f.limits.GroupValues:
		return &limitError{fmt.Sprintf("%d values are over the limit of %d (limits.parquet_group_values)", c.values, f.limits.GroupValues)}
	}
	return nil
}

// start returns the offset of the chunk's first page.
func (c *chunkMeta) start() int64 {
	if c.dict > 0 && c.dict < c.data {
		return c.dict
	}
	return c.data
}

// samePath compares a Thrift list of names.
func samePath(raw []byte, path []string) bool {
	t := thrift{buf: raw}
	n := t.list(thriftBinary)
	if n != len(path) {
		return false
	}
	for _, name := range path {
		if string(t.bytes()) != name {
			return false
		}
	}
	return t.err == nil
}

// limitError is the breach of a limit, which it names.
type limitError struct{ message string }

func (e *limitError) Error() string { return e.message }

// failure names file, row group and column; group is -1 and column "" where there is none.
func (f *File) failure(group int, column string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	where := f.path
	if group >= 0 {
		where += fmt.Sprintf(": row group %d", group)
	}
	if column != "" {
		where += fmt.Sprintf(": column %q", column)
	}
	var known *problem.Error // of the source: it names the file, and its class counts
	if errors.As(err, &known) {
		return known
	}
	code := problem.Precondition
	var limit *limitError
	if errors.As(err, &limit) {
		code = problem.Exhausted
	}
	return problem.New(code, "%s: %w", where, err)
}

// ColumnInfo describes a leaf column as the file has it.
type ColumnInfo struct {
	Name     string        // dotted
	Physical string        // as the file has it, for messages: "INT64 timestamp[ns]"
	Type     columnar.Type // the natural type, Invalid where Provender has none
	Reason   string        // why Type is Invalid
	Naive    bool          // a timestamp without zone
	Date     bool
}

// Columns lists the file's leaf columns, then its partitions.
func (f *File) Columns() []ColumnInfo {
	infos := make([]ColumnInfo, 0, len(f.leaves)+len(f.partition))
	for _, l := range f.leaves {
		infos = append(infos, l.ColumnInfo)
	}
	for _, p := range f.partition {
		if len(f.named(p.Name)) == 0 {
			infos = append(infos, ColumnInfo{Name: p.Name, Physical: "partition", Type: columnar.Type{Kind: columnar.String}})
		}
	}
	return infos
}

// named returns the leaves of a name; more than one only in an unfortunate file.
func (f *File) named(name string) []*leaf {
	var found []*leaf
	for _, l := range f.leaves {
		if l.Name == name {
			found = append(found, l)
		}
	}
	return found
}

// Digest returns the XXH3 of the footer's bytes: schema, sizes, statistics. Files of one content have one digest.
func (f *File) Digest() uint64 { return f.digest }

// NumRows returns the rows of the file.
func (f *File) NumRows() int64 { return f.footer.rows }
