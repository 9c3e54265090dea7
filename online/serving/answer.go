package serving

import (
	"math"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

// noEvent stands for the event time of a row that is not part of the answer.
const noEvent = math.MinInt64

// A released answer that holds more than this is not kept for the next.
const (
	maxPooledCells = 1 << 18
	maxPooledBytes = 1 << 20 // of keys, rows, and values of variable length
)

// emptyKey is the key of a global view: present, unlike nil.
var emptyKey = []byte{}

// scratch is the memory of an answer beside what it shows.
type scratch struct {
	plan     *plan
	released bool
	inputs   []*columnar.Vector   // per Service.RequestKeys
	columns  [][]*columnar.Vector // per read, the columns in the projection's order
	statuses []columnar.Status    // of all outputs
	events   []int64              // of all reads
	keyCols  []*columnar.Vector   // of the key being encoded
	keyData  []byte               // of all keys
	keyEnds  []int                // per key plan and row; -1 for no key
	keys     [][]byte
	groups   []online.Group
	rows     online.Rows
}

// newAnswer returns an empty answer with the plan's columns.
func (p *plan) newAnswer() *Answer {
	a := p.answers.Get().(*Answer)
	a.released = false
	return a
}

func (p *plan) allocate() *Answer {
	outputs := p.service.Outputs
	a := &Answer{
		Names:   p.names,
		Columns: make([]*columnar.Vector, len(outputs)),
		Status:  make([][]columnar.Status, len(outputs)),
		Views:   make([]ViewAnswer, len(p.reads)),
		Outputs: outputs,
	}
	a.plan = p
	a.inputs = make([]*columnar.Vector, len(p.service.RequestKeys))
	for i, o := range outputs {
		a.Columns[i] = columnar.NewVector(p.service.Reads[o.Read].View.Features[o.Feature].Type, 0)
	}
	for i, r := range p.reads {
		columns := make([]*columnar.Vector, 0, len(r.outputs))
		for _, o := range r.outputs {
			columns = append(columns, a.Columns[o])
		}
		a.columns = append(a.columns, columns)
		a.Views[i] = ViewAnswer{View: r.generation.View, Generation: r.generation.ID, T: r.generation.T}
	}
	return a
}

// appendGroups encodes the keys of every row, once per distinct binding, and appends the groups to read.
func (p *plan) appendGroups(dst []online.Group, a *Answer) []online.Group {
	a.keyData, a.keyEnds = a.keyData[:0], a.keyEnds[:0]
	for _, k := range p.keys {
		if len(k.columns) == 0 {
			continue
		}
		a.keyCols = a.keyCols[:0]
		for _, c := range k.columns {
			a.keyCols = append(a.keyCols, a.inputs[c])
		}
		for i := range a.Rows {
			var ok bool
			if a.keyData, ok = row.AppendKey(a.keyData, a.keyCols, i); ok {
				a.keyEnds = append(a.keyEnds, len(a.keyData))
			} else {
				a.keyEnds = append(a.keyEnds, -1)
			}
		}
	}
	// The keys are cut from their buffer only when it grows no more.
	a.keys = a.keys[:0]
	ends, start := a.keyEnds, 0
	for _, k := range p.keys {
		if len(k.columns) == 0 {
			a.keys = append(a.keys, emptyKey)
			continue
		}
		for _, end := range ends[:a.Rows] {
			if end < 0 {
				a.keys = append(a.keys, nil)
				continue
			}
			a.keys = append(a.keys, a.keyData[start:end:end])
			start = end
		}
		ends = ends[a.Rows:]
	}
	for _, g := range p.groups {
		dst = append(dst, online.Group{Keyspace: g.keyspace, Generations: g.generations, Keys: p.keysOf(a, g.key)})
	}
	return dst
}

// keysOf returns the keys of one key plan: one per row, or the one key of global views.
func (p *plan) keysOf(a *Answer, key int) [][]byte {
	start := 0
	for _, k := range p.keys[:key] {
		start += k.count(a.Rows)
	}
	return a.keys[start : start+p.keys[key].count(a.Rows)]
}

func (k keyPlan) count(rows int) int {
	if len(k.columns) == 0 {
		return 1
	}
	return rows
}

// decode turns the stored rows into columns and statuses.
func (a *Answer) decode(p *plan, events bool) {
	a.statuses = resize(a.statuses, len(a.Columns)*a.Rows)
	for o := range a.Status {
		a.Status[o] = a.statuses[o*a.Rows : (o+1)*a.Rows : (o+1)*a.Rows]
	}
	if events {
		a.events = resize(a.events, len(p.reads)*a.Rows)
	}
	for i := range p.reads {
		r := &p.reads[i]
		view := &a.Views[i]
		view.Events = nil
		if events {
			view.Events = a.events[i*a.Rows : (i+1)*a.Rows : (i+1)*a.Rows]
		}
		group := &p.groups[r.group]
		for k := range a.Rows {
			key := k
			if len(p.keys[group.key].columns) == 0 {
				key = 0
			}
			stored := a.rows.Row(r.group, key, r.position, len(group.generations))
			status, event := r.append(a.columns[i], stored, a.ReadTime)
			for j, o := range r.outputs {
				if status == columnar.Present && a.columns[i][j].IsNull(k) {
					a.Status[o][k] = columnar.Null
				} else {
					a.Status[o][k] = status
				}
			}
			if events {
				view.Events[k] = event
			}
		}
	}
}

// append adds one row's values to dst, and returns its status and event time.
func (r *read) append(dst []*columnar.Vector, stored []byte, at int64) (columnar.Status, int64) {
	status, event := columnar.NotFound, int64(noEvent)
	if stored != nil {
		status, event = r.judge(stored, at)
	}
	if status == columnar.Present {
		if _, _, err := r.projection.Append(dst, stored); err == nil {
			return columnar.Present, event
		}
		status, event = columnar.Error, noEvent
	}
	for i, v := range dst {
		if d := r.defaults[i]; d != nil && status != columnar.Error {
			v.AppendFrom(d, 0)
		} else {
			v.AppendNull()
		}
	}
	return status, event
}

// judge returns what a stored row's times say. A row that counts as NOT_FOUND shows no event time: whether it is still
// stored must not change an answer (R6).
func (r *read) judge(stored []byte, at int64) (columnar.Status, int64) {
	event, _, err := row.Times(stored)
	if err != nil {
		return columnar.Error, noEvent
	}
	status := columnar.Judge(event, at, r.ttl)
	if status == columnar.NotFound {
		return status, noEvent
	}
	return status, event
}

// Release returns the answer's memory; nothing of it may be used afterwards. An answer that Lookup did not make is left
// alone.
func (a *Answer) Release() {
	if a.plan == nil {
		return
	}
	if a.released {
		if invariants {
			panic("serving: answer released twice")
		}
		return
	}
	a.released = true
	if invariants {
		a.poison()
	}
	cells, held := len(a.Columns)*a.Rows, cap(a.keyData)+cap(a.rows.Scratch)
	for _, v := range a.Columns {
		held += footprint(v)
		v.Reset()
	}
	// What the store lent, and the caller's keys, must not live on in the pool.
	clear(a.inputs)
	clear(a.keyCols)
	clear(a.rows.Cells)
	clear(a.groups)
	a.Rows = 0
	if cells <= maxPooledCells && held <= maxPooledBytes {
		a.plan.answers.Put(a)
	}
}

// footprint returns the bytes of a vector's values of variable length.
func footprint(v *columnar.Vector) int {
	n := cap(v.Data)
	if v.Elem != nil {
		n += footprint(v.Elem) + v.Elem.Type.Kind.Width()*v.Elem.Len()
	}
	return n
}

// poison overwrites what an answer showed, so that use after Release shows.
func (a *Answer) poison() {
	for i := range a.statuses {
		a.statuses[i] = columnar.StatusInvalid
	}
	for _, v := range a.Columns {
		for i := range v.Int64s {
			v.Int64s[i] = math.MinInt64 + 0xdead
		}
		for i := range v.Float64s {
			v.Float64s[i] = math.NaN()
		}
		clear(v.Data)
	}
}

// resize returns a slice of n elements in s's memory where that suffices; the elements have any value.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
