package serving

import (
	"bytes"
	"hash/maphash"
	"math"
	"math/bits"

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
	keySpans []span               // per key plan, its distinct keys in keyData
	keyFirst []int                // per key plan, where its keys begin in keySpans and keys
	keyRows  []int32              // per key plan and row, which of its plan's keys
	table    []int32              // of the key plan being encoded: positions of keys by hash, from 1
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

// span is where a key lies; null is a row without a key.
type span struct {
	start, end int
	null       bool
}

// keySeed keeps requests from choosing keys that collide.
var keySeed = maphash.MakeSeed()

// appendGroups encodes the keys of every row, once per distinct binding, and appends the groups to read: each of a
// binding's keys once, however many rows have it.
func (p *plan) appendGroups(dst []online.Group, a *Answer) []online.Group {
	a.keyData, a.keySpans, a.keyFirst, a.keyRows = a.keyData[:0], a.keySpans[:0], a.keyFirst[:0], a.keyRows[:0]
	for _, k := range p.keys {
		a.keyFirst = append(a.keyFirst, len(a.keySpans))
		a.encodeKeys(k)
	}
	// The keys are cut from their buffer only when it grows no more.
	a.keys = a.keys[:0]
	for _, s := range a.keySpans {
		switch {
		case s.null:
			a.keys = append(a.keys, nil)
		case s.start == s.end:
			a.keys = append(a.keys, emptyKey)
		default:
			a.keys = append(a.keys, a.keyData[s.start:s.end:s.end])
		}
	}
	for _, g := range p.groups {
		end := len(a.keys)
		if g.key+1 < len(p.keys) {
			end = a.keyFirst[g.key+1]
		}
		dst = append(dst, online.Group{Keyspace: g.keyspace, Generations: g.generations, Keys: a.keys[a.keyFirst[g.key]:end]})
	}
	return dst
}

// encodeKeys adds the distinct keys of one key plan, and for every row which of them it has.
func (a *Answer) encodeKeys(k keyPlan) {
	first := len(a.keySpans)
	if len(k.columns) == 0 {
		a.keySpans = append(a.keySpans, span{start: len(a.keyData), end: len(a.keyData)})
		for range a.Rows {
			a.keyRows = append(a.keyRows, 0)
		}
		return
	}
	a.keyCols = a.keyCols[:0]
	for _, c := range k.columns {
		a.keyCols = append(a.keyCols, a.inputs[c])
	}
	a.table = resize(a.table, 2<<bits.Len(uint(a.Rows)))
	clear(a.table)
	null := int32(-1)
	for i := range a.Rows {
		start := len(a.keyData)
		var ok bool
		if a.keyData, ok = row.AppendKey(a.keyData, a.keyCols, i); !ok {
			a.keyData = a.keyData[:start]
			if null < 0 {
				null = int32(len(a.keySpans) - first)
				a.keySpans = append(a.keySpans, span{null: true})
			}
			a.keyRows = append(a.keyRows, null)
			continue
		}
		at := a.find(first, a.keyData[start:])
		if int(at) == len(a.keySpans)-first {
			a.keySpans = append(a.keySpans, span{start: start, end: len(a.keyData)})
		} else {
			a.keyData = a.keyData[:start]
		}
		a.keyRows = append(a.keyRows, at)
	}
}

// find returns the position of a key among those from first on, the next position for a new one, which it notes.
func (a *Answer) find(first int, key []byte) int32 {
	mask := uint64(len(a.table) - 1)
	for h := maphash.Bytes(keySeed, key) & mask; ; h = (h + 1) & mask {
		n := a.table[h]
		if n == 0 {
			n = int32(len(a.keySpans) - first)
			a.table[h] = n + 1
			return n
		}
		if s := a.keySpans[first+int(n)-1]; bytes.Equal(a.keyData[s.start:s.end], key) {
			return n - 1
		}
	}
}

// keyOf returns which of its group's keys a row of a read has.
func (a *Answer) keyOf(r *read, i int) int { return int(a.keyRows[r.key*a.Rows+i]) }

// stored returns the bytes of stored rows behind the answer: a row that many rows of the request read counts as often.
func (a *Answer) stored(p *plan) int {
	n := 0
	for i := range p.reads {
		r := &p.reads[i]
		for k := range a.Rows {
			n += len(a.cell(p, r, k))
		}
	}
	return n
}

// cell returns the stored row of a read for row i of the request, nil for none.
func (a *Answer) cell(p *plan, r *read, i int) []byte {
	return a.rows.Row(r.group, a.keyOf(r, i), r.position, len(p.groups[r.group].generations))
}

// decode turns the stored rows into columns and statuses. damaged is called for every row that can't be decoded.
func (a *Answer) decode(p *plan, events bool, damaged func(r *read, key []byte)) {
	a.Cells = [columnar.Statuses]int{}
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
		for k := range a.Rows {
			status, event := r.append(a.columns[i], a.cell(p, r, k), a.ReadTime)
			if status == columnar.Error {
				damaged(r, a.keys[a.keyFirst[r.key]+a.keyOf(r, k)])
			}
			a.Cells[status] += len(r.outputs)
			for j, o := range r.outputs {
				if status == columnar.Present && a.columns[i][j].IsNull(k) {
					a.Status[o][k] = columnar.Null
					a.Cells[columnar.Null]++
				} else {
					a.Status[o][k] = status
				}
			}
			if events {
				view.Events[k] = event
			}
		}
	}
	a.Cells[columnar.Present] -= a.Cells[columnar.Null]
}

// append adds one row's values to dst, and returns its status and event time. A row that counts as NOT_FOUND shows no
// event time: whether it is still stored must not change an answer (R6).
func (r *read) append(dst []*columnar.Vector, stored []byte, at int64) (columnar.Status, int64) {
	status, event := columnar.NotFound, int64(noEvent)
	if stored != nil {
		opened, err := row.Open(stored)
		if err == nil {
			status, event = columnar.Judge(opened.Event, at, r.ttl), opened.Event
			if status == columnar.Present {
				err = r.projection.AppendOpened(dst, opened)
			}
		}
		switch {
		case err != nil:
			status, event = columnar.Error, noEvent
		case status == columnar.Present:
			return status, event
		case status == columnar.NotFound:
			event = noEvent
		}
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
	cells, held := len(a.Columns)*a.Rows, cap(a.keyData)+cap(a.rows.Scratch)+4*cap(a.table)
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
