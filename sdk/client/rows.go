package client

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/provender-dev/provender/internal/diag"
)

// Rows returns a response's rows as structs, by the tags of T's fields that Decoder has. What it learns of T and of the
// response's columns is kept for the next call.
func Rows[T any](r *Response) ([]T, error) {
	key := reflect.TypeFor[T]()
	known, ok := decoders.Load(key)
	if !ok {
		d, err := NewDecoder[T]()
		if err != nil {
			return nil, err
		}
		known, _ = decoders.LoadOrStore(key, d)
	}
	return known.(*Decoder[T]).Rows(r)
}

// decoders are those that Rows has made, a *Decoder[T] by T.
var decoders sync.Map

// Decoder makes structs of responses' rows. Fields of T say by their tags what they take; fields without a tag stay zero:
//
//	Delay    float64           `provender:"mean_delay_1h"`             // a value
//	Delay    *float64          `provender:"mean_delay_1h"`             // nil for a null
//	Delay    sql.Null[float64] `provender:"mean_delay_1h"`             // not Valid for a null
//	Delay    float64           `provender:"mean_delay_1h,zero"`        // 0 for a null
//	Last     []int32           `provender:"delays_1d"`                 // a list, empty or not; nil for a null
//	Status   client.Status     `provender:"mean_delay_1h,status"`      // why it is as it is
//	At       time.Time         `provender:"airport_hourly,event_time"` // of the row that was read; zero for none
//	Origin   Airport           `provender:"origin_,prefix"`            // a struct whose names have this before them
//
// The tags of an embedded struct are as the struct's own. Event times must be asked for (Request.EventTimes), by the name of a
// view or, where a service reads the view twice, of a column.
//
// Types are exact, and widen alone: an int32 column also goes into int64 and int, an int64 column into int, float32 into float64.
// Strings are string, bytes []byte, timestamps time.Time; named types of these will do. A null in a field that can't be null is an
// error that names row, column and status: a missing feature is never silently 0. Elements of lists are as single values: []*int32
// takes nulls among them.
//
// A Decoder is safe for concurrent use. It works out once per set of columns what goes where.
type Decoder[T any] struct {
	fields []target
	last   atomic.Pointer[plan]
}

// NewDecoder returns a decoder, or what is wrong with T's tags. Whether T fits the columns shows with the first response.
func NewDecoder[T any]() (*Decoder[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, unfit(t.String(), "rows are structs, and "+t.String()+" is none", "")
	}
	fields, err := targets(nil, t, target{path: cmp.Or(t.Name(), "struct")})
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, unfit(t.Name(), "no field of "+t.String()+" has a tag", "tag fields `provender:\"COLUMN\"`")
	}
	return &Decoder[T]{fields: fields}, nil
}

// Rows returns a response's rows, in the order of the request. Strings are views of the response's memory; slices are the
// caller's own. The error is an *Error whose Field is that of T.
func (d *Decoder[T]) Rows(r *Response) ([]T, error) { return d.AppendRows(nil, r) }

// AppendRows appends a response's rows to dst. After an error dst is as it was.
func (d *Decoder[T]) AppendRows(dst []T, r *Response) ([]T, error) {
	p := d.last.Load()
	if p == nil || !p.fits(r) {
		var err error
		if p, err = compile(d.fields, r); err != nil {
			return dst, err
		}
		d.last.Store(p)
	}
	n := len(dst)
	all := slices.Grow(dst, r.Rows)[:n+r.Rows]
	rows := all[n:]
	clear(rows)
	if len(rows) == 0 {
		return all, nil
	}
	at := memory{unsafe.Pointer(unsafe.SliceData(rows)), unsafe.Sizeof(rows[0]), len(rows)}
	for i := range p.steps {
		if err := p.steps[i].run(at, r); err != nil {
			return dst, err
		}
	}
	return all, nil
}

// target is a field of T, or of a struct within, that takes something.
type target struct {
	path   string // "Flight.Origin.Delay"
	offset uintptr
	typ    reflect.Type
	name   string // of a column, or of a view
	option string // "", "zero", "status", "event_time"
}

// targets appends the tagged fields of a struct, which is at in: its path, its offset, and what is before its names.
func targets(to []target, t reflect.Type, in target) ([]target, error) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("provender")
		if tag == "-" {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		x := target{in.path + "." + f.Name, in.offset + f.Offset, f.Type, in.name + name, option}
		inner := f.Anonymous && !tagged || option == "prefix"
		var err error
		switch {
		case inner && f.Type.Kind() == reflect.Struct && (f.IsExported() || f.Anonymous):
			to, err = targets(to, f.Type, x)
		case inner && hasTags(f.Type):
			err = unfit(x.path, x.path+" is embedded by a pointer, through which nothing can be set", "embed the struct itself")
		case !tagged:
			continue
		case !f.IsExported():
			err = unfit(x.path, x.path+" is tagged and can't be set", "its name must begin with a capital letter")
		case option == "prefix":
			err = unfit(x.path, "the prefix of "+x.path+" is for a struct, and it is "+f.Type.String(), "")
		case name == "":
			err = unfit(x.path, "the tag of "+x.path+" names no column", "")
		case !slices.Contains(tagOptions, option):
			fix := diag.Suggest(option, append(tagOptions[1:], "prefix"))
			err = unfit(x.path, fmt.Sprintf("the tag of %s has an unknown option %q", x.path, option), fix)
		case option == "status" && f.Type != reflect.TypeFor[Status]():
			err = unfit(x.path, x.path+" is "+f.Type.String(), "a status goes into client.Status")
		case option == "event_time" && f.Type != reflect.TypeFor[time.Time]():
			err = unfit(x.path, x.path+" is "+f.Type.String(), "an event time goes into time.Time, zero for none")
		default:
			to = append(to, x)
		}
		if err != nil {
			return nil, err
		}
	}
	return to, nil
}

// hasTags reports whether t is a pointer to a struct that has fields with tags.
func hasTags(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	for i := range t.Elem().NumField() {
		if _, tagged := t.Elem().Field(i).Tag.Lookup("provender"); tagged {
			return true
		}
	}
	return false
}

// tagOptions are what may follow the name in the tag of a field that takes something.
var tagOptions = []string{"", "zero", "status", "event_time"}

// plan is what goes where for one set of columns.
type plan struct {
	columns []shape
	views   []string
	steps   []step
}

// shape is what a plan knows of a column.
type shape struct {
	name string
	typ  Type
	view int
}

// step fills one field of all rows.
type step struct {
	target
	from   int    // the column, or the view for an event time
	set    setter // nil for statuses and event times
	strict bool   // a null is an error
}

// fits reports whether p is for the columns that r has.
func (p *plan) fits(r *Response) bool {
	if len(p.columns) != len(r.Columns) || len(p.views) != len(r.Views) {
		return false
	}
	for i := range p.columns {
		if c := &r.Columns[i]; p.columns[i] != (shape{c.Name, c.typ, c.View}) {
			return false
		}
	}
	for i := range p.views {
		if p.views[i] != r.Views[i].Name {
			return false
		}
	}
	return true
}

// compile works out what goes where.
func compile(fields []target, r *Response) (*plan, error) {
	p := &plan{}
	for i := range r.Columns {
		c := &r.Columns[i]
		p.columns = append(p.columns, shape{strings.Clone(c.Name), c.typ, c.View}) // the response's memory is not kept
	}
	for i := range r.Views {
		p.views = append(p.views, strings.Clone(r.Views[i].Name))
	}
	for _, f := range fields {
		s, err := p.step(f)
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

func (p *plan) step(f target) (s step, err error) {
	s.target = f
	column := slices.IndexFunc(p.columns, func(c shape) bool { return c.name == f.name })
	if f.option == "event_time" {
		s.from, err = p.view(f, column)
		return s, err
	}
	if column < 0 {
		names := make([]string, len(p.columns))
		for i := range names {
			names[i] = p.columns[i].name
		}
		return s, unfit(f.path, fmt.Sprintf("the answer has no column %q, which %s takes", f.name, f.path), diag.Suggest(f.name, names))
	}
	s.from = column
	if f.option == "status" {
		return s, nil
	}
	var ok bool
	typ := p.columns[column].typ
	if s.set, s.strict, ok = setterOf(f, typ); !ok {
		return s, unfit(f.path, fmt.Sprintf("%s is %s, and the column %s %s", f.path, f.typ, f.name, typ), "it goes into "+goTypes(typ))
	}
	return s, nil
}

// view returns the view that an event time is of: that of the name, or of the column of the name.
func (p *plan) view(f target, column int) (int, error) {
	view := slices.Index(p.views, f.name)
	switch {
	case view < 0 && column < 0:
		return 0, unfit(f.path, fmt.Sprintf("the answer has no view %q, which %s takes the event time of", f.name, f.path), diag.Suggest(f.name, p.views))
	case view < 0:
		return p.columns[column].view, nil
	case slices.Contains(p.views[view+1:], f.name):
		return 0, unfit(f.path, "view "+f.name+" is read more than once", "name a column in place of the view")
	}
	return view, nil
}

// run fills the field of all rows.
func (s *step) run(rows memory, r *Response) error {
	switch s.option {
	case "event_time":
		times := r.Views[s.from].EventTimes
		if times == nil {
			return unfit(s.path, "the answer has no event times, which "+s.path+" takes", "set EventTimes in the request")
		}
		scatter(rows, s.offset, times)
		return nil
	case "status":
		scatter(rows, s.offset, r.Columns[s.from].statuses)
		return nil
	}
	c := &r.Columns[s.from]
	if s.strict {
		if row := c.firstNull(); row >= 0 {
			what := "is null"
			if c.typ.List {
				what = "has a null"
			}
			return unfit(s.path, fmt.Sprintf("%s of row %d %s (%s), and %s is %s", c.Name, row, what, c.statuses[row], s.path, s.typ),
				"let the field be null ("+nullTypes(s.typ)+"), give the feature a default, or tag it `provender:\""+s.name+",zero\"`")
		}
	}
	s.set(rows, s.offset, &c.Values)
	return nil
}

// firstNull returns the first row that is null, or of lists the first with a null element, -1 for none.
func (v *Values) firstNull() int {
	nulls := v
	if v.typ.List {
		nulls = v.elements
	}
	if len(nulls.validity) == 0 {
		return -1
	}
	for i := range v.n {
		from, to := i, i+1
		if v.typ.List {
			from, to = int(v.offsets[i]), int(v.offsets[i+1])
		}
		for k := from; k < to; k++ {
			if nulls.IsNull(k) {
				return i
			}
		}
	}
	return -1
}

// unfit is the error of a struct that rows can't go into.
func unfit(field, message, fix string) error {
	if fix != "" {
		message += " (" + fix + ")"
	}
	return &Error{Code: CodeInvalid, Message: message, Field: field, Suggestion: fix}
}
