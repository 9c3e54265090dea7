package asof

import (
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// entities numbers entities densely. A composite key is folded from the left: the pair of what is numbered so far and
// the next column's number is numbered in turn. Columns keep their own tables, so (1,12) is not (11,2) and 1 is not
// "1" (R8), and a dictionary page is looked up once per column.
type entities struct {
	columns []table
	pairs   []*intTable // pairs[i] numbers columns 0 … i+1
}

// maxKeys leaves room in int32 for a row group's worth of keys.
const maxKeys = 1 << 30

func newEntities(keys []registry.KeyColumn) *entities {
	e := &entities{}
	for i, k := range keys {
		e.columns = append(e.columns, newTable(k.Kind))
		if i > 0 {
			e.pairs = append(e.pairs, newIntTable())
		}
	}
	return e
}

// size returns the number of entities; that of a global view is one.
func (e *entities) size() int {
	switch n := len(e.columns); n {
	case 0:
		return 1
	case 1:
		return e.columns[0].size()
	default:
		return e.pairs[n-2].size()
	}
}

// full reports whether a table comes near the end of its numbers.
func (e *entities) full() bool {
	for _, t := range e.columns {
		if t.size() >= maxKeys {
			return true
		}
	}
	return e.size() >= maxKeys
}

// bytes is the memory that the tables take, at most.
func (e *entities) bytes() int64 {
	n := int64(0)
	for _, t := range e.columns {
		n += t.bytes()
	}
	for _, t := range e.pairs {
		n += t.bytes()
	}
	return n
}

// keyBytes is what one more entity takes, at most, the text of its key left out.
func (e *entities) keyBytes() int64 {
	n := int64(len(e.pairs)) * intKeyBytes
	for _, t := range e.columns {
		n += t.keyBytes()
	}
	return n
}

// reset forgets every entity and keeps the memory. No other call may be running.
func (e *entities) reset() {
	for _, t := range e.columns {
		t.reset()
	}
	for _, t := range e.pairs {
		t.reset()
	}
}

// fold joins the numbers of columns up to and including column (in ids) with those of the next (in next), leaving the
// pairs' numbers in ids. A null in either prevails, then the least of what is no number. pairs is scratch of the same length.
func (e *entities) fold(column int, ids, next []int32, pairs []int64, add bool) {
	for i, id := range ids {
		switch {
		case id == nullKey || next[i] == nullKey:
			ids[i] = nullKey
		case id < 0 || next[i] < 0:
			ids[i] = min(id, next[i])
		default:
			pairs[i] = int64(id)<<32 | int64(next[i])
		}
	}
	if add {
		e.pairs[column].numberInts(pairs, ids)
	} else {
		e.pairs[column].findInts(pairs, ids)
	}
}

// number returns the entity of every row of keys, nullKey for a null, numbering new ones.
func (e *entities) number(keys []*columnar.Vector, rows int) []int32 {
	ids := make([]int32, rows)
	var next []int32
	var pairs []int64
	for c, v := range keys {
		part := ids
		if c > 0 {
			if c == 1 {
				next, pairs = make([]int32, rows), make([]int64, rows)
			}
			clear(next)
			part = next
		}
		markNulls(v, part)
		e.columns[c].number(v, part)
		if c > 0 {
			e.fold(c-1, ids, next, pairs, true)
		}
	}
	return ids
}

// appendKeys appends the key of an entity, one value per column.
func (e *entities) appendKeys(dst []*columnar.Vector, id int32) {
	for c := len(e.columns) - 1; c >= 0; c-- {
		own := id
		if c > 0 {
			pair := e.pairs[c-1].keys[id]
			id, own = int32(pair>>32), int32(pair)
		}
		e.columns[c].appendKey(dst[c], own)
	}
}

// markNulls sets the ids of nulls to nullKey.
func markNulls(v *columnar.Vector, ids []int32) {
	if v.Valid == nil {
		return
	}
	for i := range ids {
		if !v.Valid.Get(i) {
			ids[i] = nullKey
		}
	}
}
