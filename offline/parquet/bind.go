package parquet

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
)

// binding is a column that was asked for and where its values come from.
type binding struct {
	Column
	leaf     *leaf            // nil: constant
	constant *columnar.Vector // one value, or a null
}

// Bind resolves columns against the file and checks their types.
func (f *File) Bind(columns []Column) (*Reader, error) {
	r := &Reader{file: f, columns: make([]binding, len(columns))}
	for i, c := range columns {
		b, err := f.bind(c)
		if err != nil {
			return nil, err
		}
		r.columns[i] = b
	}
	return r, nil
}

func (f *File) bind(c Column) (binding, error) {
	b := binding{Column: c}
	leaves := f.named(c.Name)
	switch len(leaves) {
	case 0:
		return f.bindAbsent(b)
	case 1:
		b.leaf = leaves[0]
	default:
		return b, f.failure(-1, c.Name, fmt.Errorf("the file has %d columns of this name", len(leaves)))
	}
	l := b.leaf
	if l.form == formNull && l.maxRep == 0 {
		b.leaf, b.constant = nil, nullOf(c.Type)
		return b, nil
	}
	if err := l.accepts(c); err != nil {
		return b, f.failure(-1, c.Name, err)
	}
	for g := range f.footer.groups {
		if why := readable(f.footer.groups[g].chunks[l.index].codec); why != "" {
			return b, f.failure(g, c.Name, fmt.Errorf("%s", why))
		}
	}
	return b, nil
}

// accepts checks that the leaf's values may become what a column wants.
func (l *leaf) accepts(c Column) error {
	switch {
	case l.Reason != "" && l.form != formNull:
		return fmt.Errorf("%s: %s", l.Physical, l.Reason)
	case (l.maxRep > 0) != c.Type.List || !l.fits(c.Type.Kind):
		return fmt.Errorf("the file has %s, which is %s, not %s; only int32 widens to int64 and float32 to float64: "+
			"declare it as %s or rewrite the file", l.Physical, l.Type, c.Type, l.Type)
	case l.Date && c.At == "":
		return fmt.Errorf("%s is a day, not an instant: %s", l.Physical, c.dayFix())
	case !l.Date && c.At != "" && l.Type.Kind == columnar.Timestamp:
		return fmt.Errorf("%s is an instant: `at: %s` is for DATE columns", l.Physical, c.At)
	}
	return nil
}

// dayFix says what mends a DATE column that does not say where in the day it is.
func (c *Column) dayFix() string {
	if c.Round == Exact {
		return "cast the column to a timestamp, or to int32 as days since 1970" // a feature, which has no `at`
	}
	return "say at: start or at: end for an event time, --time-at for a spine; cast any other column to a timestamp"
}

// bindAbsent binds a column that the file does not have: to a partition, or to nulls.
func (f *File) bindAbsent(b binding) (binding, error) {
	for _, p := range f.partition {
		if p.Name == b.Name {
			var err error
			if b.constant, err = partitionValue(b.Column, p); err != nil {
				return b, f.failure(-1, b.Name, fmt.Errorf("partition %s=%s: %w", p.Name, p.Value, err))
			}
			return b, nil
		}
	}
	if b.Optional {
		b.constant = nullOf(b.Type)
		return b, nil
	}
	var names, fields []string
	reason := "" // of a field that is not read
	for _, c := range f.Columns() {
		names = append(names, c.Name)
		switch {
		case !strings.HasPrefix(c.Name, b.Name+"."):
		case c.Reason != "":
			reason = c.Reason
		default:
			fields = append(fields, c.Name)
		}
	}
	err := &problem.Error{Code: problem.Precondition}
	switch {
	case len(fields) > 0:
		err.Message = fmt.Sprintf("%s: column %q is a group of columns", f.path, b.Name)
		err.Suggestion = "name one of them: " + some(fields)
	case reason != "":
		err.Message = fmt.Sprintf("%s: column %q: %s", f.path, b.Name, reason)
	default:
		err.Message = fmt.Sprintf("%s: column %q is not in the file", f.path, b.Name)
		err.Suggestion = "it has " + some(names)
	}
	return b, err
}

// some lists names, the first twenty.
func some(names []string) string {
	if len(names) == 0 {
		return "no columns"
	}
	if more := len(names) - 20; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:20], ", "), more)
	}
	return strings.Join(names, ", ")
}

func nullOf(t columnar.Type) *columnar.Vector {
	v := columnar.NewVector(t, 1)
	v.AppendNull()
	return v
}

// partitionValue reads a partition's text as the type that is wanted.
func partitionValue(c Column, p source.Partition) (*columnar.Vector, error) {
	if p.Null {
		return nullOf(c.Type), nil
	}
	v := columnar.NewVector(c.Type, 1)
	kind := c.Type.Kind
	if c.Type.List {
		kind = columnar.Invalid
	}
	switch kind {
	case columnar.String:
		v.AppendString(p.Value)
	case columnar.Int32:
		n, err := strconv.ParseInt(p.Value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("not an int32")
		}
		v.AppendInt32(int32(n))
	case columnar.Int64:
		n, err := strconv.ParseInt(p.Value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("not an int64")
		}
		v.AppendInt64(n)
	case columnar.Timestamp:
		t, err := partitionTime(c, p.Value)
		if err != nil {
			return nil, err
		}
		v.AppendInt64(t)
	default:
		return nil, fmt.Errorf("a partition is a string, an int32, an int64 or a timestamp, not %s", c.Type)
	}
	return v, nil
}

// partitionTime reads a date, or a timestamp with or without a zone.
func partitionTime(c Column, text string) (int64, error) {
	times := c.instants(true, unitNanos)
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if c.At == "" {
			return 0, fmt.Errorf("a day, not an instant: say at: start or at: end")
		}
		return times.date(int32(day.Unix() / daySeconds))
	}
	if c.At != "" {
		return 0, fmt.Errorf("not a day as 2001-02-28, which `at: %s` needs", c.At)
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	zoned := err == nil
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02-15"} {
		if err == nil {
			break
		}
		t, err = time.Parse(layout, text)
	}
	if err != nil {
		return 0, fmt.Errorf("not a day as 2001-02-28, nor a timestamp as 2001-02-28 13:00:00 or 2001-02-28T13:00:00Z")
	}
	seconds := t.Unix()
	if !zoned {
		if seconds, err = times.local.instant(seconds); err != nil {
			return 0, err
		}
	}
	return times.nanos(seconds*1_000_000+int64(t.Nanosecond()/1000), int64(t.Nanosecond()%1000))
}

// instants returns the conversion of times that the column asks for.
func (c *Column) instants(naive bool, u unit) instants {
	return instants{local: newLocalTime(c.Location, c.Ambiguous), naive: naive, unit: u, round: c.Round, at: c.At}
}
