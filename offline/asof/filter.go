package asof

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"github.com/provender-dev/provender/offline/parquet"
)

// keyFilter tells by statistics which rows may have a key of the spine. A nil one admits all.
type keyFilter struct {
	columns []keyRange
}

// keyRange is the distinct keys of one column, ascending, or where they are many the least and the greatest.
type keyRange struct {
	compare func(a, b parquet.Bound) int
	keys    []parquet.Bound
	gaps    bool // there may be no key between two of keys
}

const (
	fewKeys       = 1 << 16 // are kept
	selectiveKeys = 1 << 10 // are few enough to rule out pages within a row group
)

func newKeyFilter(e *entities) *keyFilter {
	f := &keyFilter{}
	for _, t := range e.columns {
		f.columns = append(f.columns, newKeyRange(t))
	}
	return f
}

func newKeyRange(t table) keyRange {
	r := keyRange{gaps: t.size() <= fewKeys}
	var key func(i int) parquet.Bound
	switch t := t.(type) {
	case *intTable:
		r.compare = func(a, b parquet.Bound) int { return cmp.Compare(a.Int, b.Int) }
		key = func(i int) parquet.Bound { return parquet.Bound{Int: t.keys[i]} }
	case *stringTable:
		r.compare = func(a, b parquet.Bound) int { return bytes.Compare(a.Bytes, b.Bytes) }
		key = func(i int) parquet.Bound { return parquet.Bound{Bytes: t.key(int32(i))} }
	}
	for i := range t.size() {
		x := key(i)
		switch {
		case r.gaps || len(r.keys) < 2:
			r.keys = append(r.keys, x)
			if len(r.keys) == 2 && !r.gaps {
				slices.SortFunc(r.keys, r.compare)
			}
		case r.compare(x, r.keys[0]) < 0:
			r.keys[0] = x
		case r.compare(x, r.keys[1]) > 0:
			r.keys[1] = x
		}
	}
	slices.SortFunc(r.keys, r.compare)
	return r
}

// admits reports whether a key may lie within bounds.
func (r *keyRange) admits(least, greatest parquet.Bound) bool {
	if len(r.keys) == 0 {
		return false
	}
	if !r.gaps {
		return r.compare(least, r.keys[len(r.keys)-1]) <= 0 && r.compare(greatest, r.keys[0]) >= 0
	}
	at, _ := slices.BinarySearchFunc(r.keys, least, r.compare)
	return at < len(r.keys) && r.compare(r.keys[at], greatest) <= 0
}

// admits reports whether a row group may have a row with keys of the spine.
func (f *keyFilter) admits(reader *parquet.Reader, group int) bool {
	if f == nil {
		return true
	}
	for c := range f.columns {
		least, greatest, ok := reader.KeyBounds(group, c)
		if ok && !f.columns[c].admits(least, greatest) {
			return false
		}
	}
	return true
}

// selective yields the key columns for which the bounds of pages are worth a look.
func (f *keyFilter) selective() iter.Seq[int] {
	return func(yield func(int) bool) {
		if f == nil {
			return
		}
		for c := range f.columns {
			if len(f.columns[c].keys) <= selectiveKeys && f.columns[c].gaps && !yield(c) {
				return
			}
		}
	}
}
