package definition

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v4"
)

// Limits bound what files and requests may ask for.
type Limits struct {
	ParquetPage        int64 // bytes
	ParquetValue       int64 // bytes
	ParquetFooter      int64 // bytes
	ParquetGroupValues int64
	ParquetChunk       int64 // bytes
	SpineRows          int64
	SpineColumns       int64
	CSVRecord          int64 // bytes
	ArrowBatch         int64 // bytes
	ExportMemory       int64 // bytes
	Exports            int64
	SpineBytes         int64 // bytes
	RequestEntities    int64
	RequestFeatures    int64
	RequestStored      int64 // bytes
	RequestMessage     int64 // bytes
	Requests           int64
}

// limit is one key of `limits`.
type limit struct {
	name      string
	meaning   string
	count     bool // else bytes
	byDefault string
	most      int64 // what the part that keeps it can do
	value     func(*Limits) *int64
}

var limitTable = []limit{
	{
		"parquet_page", "bytes of one page, decompressed", false, "256MiB", math.MaxInt32,
		func(l *Limits) *int64 { return &l.ParquetPage },
	},
	{
		"parquet_value", "bytes of one string", false, "16MiB", math.MaxInt32,
		func(l *Limits) *int64 { return &l.ParquetValue },
	},
	{
		"parquet_footer", "bytes of a file's footer", false, "64MiB", math.MaxInt32,
		func(l *Limits) *int64 { return &l.ParquetFooter },
	},
	{
		"parquet_group_values", "values of one column in a row group, elements of lists included", true, "268435456", math.MaxInt32,
		func(l *Limits) *int64 { return &l.ParquetGroupValues },
	},
	{
		"parquet_chunk", "bytes of one column in a row group of a spine, as it is copied to the output", false, "2GiB", math.MaxUint32,
		func(l *Limits) *int64 { return &l.ParquetChunk },
	},
	{
		"spine_rows", "rows of a spine, which memory grows with", true, "100000000", math.MaxInt32,
		func(l *Limits) *int64 { return &l.SpineRows },
	},
	{
		"spine_columns", "columns of a spine, the fields of nested ones counted", true, "32768", math.MaxInt32,
		func(l *Limits) *int64 { return &l.SpineColumns },
	},
	{
		"csv_record", "bytes of one record of a CSV spine", false, "64MiB", math.MaxInt32,
		func(l *Limits) *int64 { return &l.CSVRecord },
	},
	{
		"arrow_batch", "bytes of one record batch of an Arrow spine, with what is made of it", false, "4GiB", math.MaxInt64,
		func(l *Limits) *int64 { return &l.ArrowBatch },
	},
	{
		"export_memory", "bytes of features that an export holds before it uses a temporary file", false, "512MiB", math.MaxInt64,
		func(l *Limits) *int64 { return &l.ExportMemory },
	},
	{
		"exports", "exports that a server does at once for callers; others wait for their turn", true, "4", math.MaxInt32,
		func(l *Limits) *int64 { return &l.Exports },
	},
	{
		"spine_bytes", "bytes of a spine that is sent to a server, which keeps it in a temporary file", false, "4GiB", math.MaxInt64,
		func(l *Limits) *int64 { return &l.SpineBytes },
	},
	{
		"request_entities", "entities of one lookup", true, "10000", math.MaxInt32,
		func(l *Limits) *int64 { return &l.RequestEntities },
	},
	{
		"request_features", "features of one lookup", true, "1000", math.MaxInt32,
		func(l *Limits) *int64 { return &l.RequestFeatures },
	},
	{
		"request_stored", "bytes of stored rows behind the answer of one lookup", false, "64MiB", math.MaxInt32,
		func(l *Limits) *int64 { return &l.RequestStored },
	},
	{
		"request_message", "bytes of one message to a server", false, "16MiB", math.MaxInt32,
		func(l *Limits) *int64 { return &l.RequestMessage },
	},
	{
		"requests", "lookups under way or waiting at once, of all callers of a server; more are refused", true, "4000", math.MaxInt32,
		func(l *Limits) *int64 { return &l.Requests },
	},
}

var limitKeys = func() []string {
	keys := make([]string, len(limitTable))
	for i, l := range limitTable {
		keys[i] = l.name
	}
	return keys
}()

// DefaultLimits returns the limits of a project that sets none.
func DefaultLimits() Limits {
	var out Limits
	for _, l := range limitTable {
		*l.value(&out), _ = l.parse(l.byDefault)
	}
	return out
}

// limits overrides s with what the key `limits` of m says.
func (m *mapping) limits(s map[string]setting) {
	n := m.get("limits")
	if n == nil {
		return
	}
	limits := m.mapping(n, "limits", limitKeys)
	for _, l := range limitTable {
		n := limits.get(l.name)
		switch {
		case n == nil:
		case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!str"):
			s[l.name] = setting{n.Value, n}
		default:
			p := m.add(n, codeWrongType, "limits.%s: want %s, got %s", l.name, l.want(), describe(n))
			p.Hint = "write " + l.example()
		}
	}
}

func (l *limit) want() string {
	if l.count {
		return "a whole number"
	}
	return "a size"
}

func (l *limit) example() string {
	if l.count {
		return "digits alone, such as " + l.byDefault
	}
	return l.byDefault + ", or a number of bytes"
}

// limits returns what settings say, defaults for the others.
func (e *expander) limits(s map[string]setting) Limits {
	out := DefaultLimits()
	for _, l := range limitTable {
		written, ok := s[l.name]
		if !ok {
			continue
		}
		text, ok := e.expand(written)
		if !ok {
			continue
		}
		n, ok := l.parse(text)
		switch {
		case !ok:
			e.add(written.node, codeBadLimit, "limits.%s: %q is not %s", l.name, written.text, l.want()).Hint = "write " + l.example()
		case n < 1:
			e.add(written.node, codeBadLimit, "limits.%s is %s; it must be at least 1", l.name, written.text).
				Hint = "leave it out for the default, " + l.byDefault
		case n > l.most:
			e.add(written.node, codeBadLimit, "limits.%s is %s; it can be at most %d", l.name, written.text, l.most)
		default:
			*l.value(&out) = n
		}
	}
	return out
}

// parse reads a limit as it is written; one too large for an int64 comes out as the greatest.
func (l *limit) parse(text string) (int64, bool) {
	if l.count {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return n, err == nil
	}
	return parseSize(text)
}

// parseSize reads a number of bytes, with or without a unit; one too large for an int64 comes out as the greatest.
func parseSize(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	// Without a unit a fraction is no number of bytes.
	if strings.Contains(text, ",") || strings.Trim(text, "0123456789.") == "" {
		return 0, false
	}
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, false
	}
	return int64(min(n, math.MaxInt64)), true
}

func (l *limit) description() string {
	return fmt.Sprintf("%s%s. Default: %s.", strings.ToUpper(l.meaning[:1]), l.meaning[1:], l.byDefault)
}
