package embedded

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/online"
)

// Read fills out from one iterator: one seek per key, its generations side by side.
func (s *Store) Read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	out.Reset(groups)
	if len(out.Cells) == 0 {
		return nil
	}
	if out.Scratch == nil {
		out.Scratch = make([]byte, 0, 1024) // so that no cell cut from it is nil
	}
	it, err := s.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("read the online store: %w", err)
	}
	r := readers.Get().(*reader)
	defer readers.Put(r)
	r.it, r.out = it, out
	for g := range groups {
		if err = r.group(ctx, g, &groups[g]); err != nil {
			break
		}
	}
	r.it, r.out = nil, nil
	if closeErr := it.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("read the online store: %w", err)
	}
	// Rows go after their marker, so a marker seen now was there when the iterator looked.
	for _, id := range r.absent {
		if err := s.checkMarker(id); err != nil {
			return err
		}
	}
	return nil
}

// readers keeps the memory of calls to Read.
var readers = sync.Pool{New: func() any { return new(reader) }}

type reader struct {
	it  *pebble.Iterator
	out *online.Rows

	key    []byte
	order  []int                 // positions of a group's generations, by id
	absent []online.GenerationID // generations of which a row is absent
}

func (r *reader) group(ctx context.Context, g int, group *online.Group) error {
	if g == 0 {
		r.absent = r.absent[:0]
	}
	width := len(group.Generations)
	if width == 0 {
		return nil
	}
	r.order = r.order[:0]
	for f := range group.Generations {
		r.order = append(r.order, f)
	}
	slices.SortFunc(r.order, func(a, b int) int {
		return cmp.Compare(group.Generations[a], group.Generations[b])
	})
	r.key = appendKeyspace(r.key[:0], group.Keyspace)
	keyspace := len(r.key)
	for k, key := range group.Keys {
		if key == nil {
			continue
		}
		if k&255 == 255 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		r.key = appendEntity(r.key[:keyspace], key)
		if err := r.entity(group.Generations, r.out.Cells[r.out.Starts[g]+k*width:][:width]); err != nil {
			return err
		}
	}
	return nil
}

// entity fills the cells of one key; r.key is what its rows begin with.
func (r *reader) entity(ids []online.GenerationID, cells [][]byte) error {
	prefix := len(r.key)
	positioned := false
	for _, f := range r.order {
		r.key = appendOrdered(r.key[:prefix], uint64(ids[f]))
		// The next row is where the iterator stands or one further, unless rows of other views lie between.
		c := -1
		if positioned {
			if c = r.compare(); c < 0 && r.it.Next() {
				c = r.compare()
			}
		}
		if c < 0 {
			r.it.SeekGE(r.key)
			positioned = true
			c = r.compare()
		}
		if err := r.it.Error(); err != nil {
			return err
		}
		if c != 0 {
			if !slices.Contains(r.absent, ids[f]) {
				r.absent = append(r.absent, ids[f])
			}
			continue
		}
		value, err := r.it.ValueAndErr()
		if err != nil {
			return err
		}
		start := len(r.out.Scratch)
		r.out.Scratch = append(r.out.Scratch, value...)
		cells[f] = r.out.Scratch[start:len(r.out.Scratch):len(r.out.Scratch)]
	}
	return nil
}

// compare tells where the iterator stands against r.key: past the end is above.
func (r *reader) compare() int {
	if !r.it.Valid() {
		return 1
	}
	return bytes.Compare(r.it.Key(), r.key)
}
