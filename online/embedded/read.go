package embedded

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/online"
)

// Read answers from the row cache. What is not there comes from one iterator: one seek per key, its generations side by
// side.
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
	trip := &out.Trip
	trip.Began, trip.Reads = clock.Now(), 1
	err := s.read(ctx, groups, out)
	trip.Ended = clock.Now()
	if s.opts.Watch != nil {
		s.opts.Watch(online.OutcomeOf(err), trip.Ended.Sub(trip.Began))
	}
	return err
}

func (s *Store) read(ctx context.Context, groups []online.Group, out *online.Rows) error {
	r := readers.Get().(*reader)
	defer r.release()
	r.rows, r.groups, r.out = s.rows, groups, out
	r.cached()
	if err := r.stored(ctx, s.db); err != nil {
		return fmt.Errorf("read the online store: %w", err)
	}
	// Rows go after their marker, so a marker seen now was there when its rows were looked for.
	for _, id := range r.absent() {
		if err := s.checkMarker(id); err != nil {
			return err
		}
	}
	return nil
}

// readers keeps the memory of calls to Read.
var readers = sync.Pool{New: func() any { return new(reader) }}

// pooledMisses bounds the memory that a reader keeps.
const pooledMisses = 16 << 10

type reader struct {
	rows   *rowCache
	groups []online.Group
	out    *online.Rows
	it     *pebble.Iterator

	key    []byte
	order  []int // per group, the positions of its generations, by id
	misses []miss
	gone   []online.GenerationID
}

// miss is an entity that the cache does not have.
type miss struct {
	group, key int
	order      int // where the group's part of reader.order begins
	hash       uint64
	version    uint64
}

func (r *reader) release() {
	r.rows, r.groups, r.out = nil, nil, nil
	r.order, r.misses, r.gone = r.order[:0], r.misses[:0], r.gone[:0]
	if cap(r.misses) <= pooledMisses {
		readers.Put(r)
	}
}

// cached fills the cells that the cache has, and collects the misses.
func (r *reader) cached() {
	for g := range r.groups {
		group, order := &r.groups[g], len(r.order)
		for f := range group.Generations {
			r.order = append(r.order, f)
		}
		slices.SortFunc(r.order[order:], func(a, b int) int {
			return cmp.Compare(group.Generations[a], group.Generations[b])
		})
		r.key = appendKeyspace(r.key[:0], group.Keyspace)
		keyspace := len(r.key)
		for k, key := range group.Keys {
			if key == nil {
				continue
			}
			r.key = appendEntity(r.key[:keyspace], key)
			m := miss{group: g, key: k, order: order, hash: hashOf(group.Keyspace, key)}
			var found bool
			if r.out.Scratch, m.version, found = r.rows.shard(m.hash).get(m.hash, r.want(m), r.out.Scratch); !found {
				r.misses = append(r.misses, m)
			}
		}
	}
}

// want is what is asked of an entity; r.key is its prefix.
func (r *reader) want(m miss) rowsOf {
	ids := r.groups[m.group].Generations
	return rowsOf{
		prefix: r.key,
		ids:    ids,
		order:  r.order[m.order:][:len(ids)],
		cells:  r.out.Cells[r.out.Starts[m.group]+m.key*len(ids):][:len(ids)],
	}
}

// stored reads the misses, near ones one after the other, and puts them into the cache.
func (r *reader) stored(ctx context.Context, db *pebble.DB) (err error) {
	if len(r.misses) == 0 {
		return nil
	}
	slices.SortFunc(r.misses, func(a, b miss) int {
		x, y := &r.groups[a.group], &r.groups[b.group]
		return cmp.Or(
			cmp.Compare(x.Keyspace, y.Keyspace),
			cmp.Compare(len(x.Keys[a.key]), len(y.Keys[b.key])),
			bytes.Compare(x.Keys[a.key], y.Keys[b.key]),
		)
	})
	if r.it, err = db.NewIter(nil); err != nil {
		return err
	}
	defer func() {
		if closeErr := r.it.Close(); err == nil {
			err = closeErr
		}
		r.it = nil
	}()
	for i, m := range r.misses {
		if i&255 == 255 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		group := &r.groups[m.group]
		r.key = appendEntity(appendKeyspace(r.key[:0], group.Keyspace), group.Keys[m.key])
		want := r.want(m)
		if err := r.entity(want); err != nil {
			return err
		}
		r.rows.shard(m.hash).put(m.hash, want, m.version)
	}
	return nil
}

// entity fills the cells of one entity; r.key is its prefix.
func (r *reader) entity(want rowsOf) error {
	prefix := len(r.key)
	positioned := false
	for _, f := range want.order {
		r.key = appendOrdered(r.key[:prefix], uint64(want.ids[f]))
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
		want.cells[f] = nil // the cache may have filled it before it came to one that it lacks
		if c != 0 {
			continue
		}
		value, err := r.it.ValueAndErr()
		if err != nil {
			return err
		}
		start := len(r.out.Scratch)
		r.out.Scratch = append(r.out.Scratch, value...)
		want.cells[f] = r.out.Scratch[start:len(r.out.Scratch):len(r.out.Scratch)]
	}
	return nil
}

// absent returns the generations of which a row is absent.
func (r *reader) absent() []online.GenerationID {
	for g := range r.groups {
		group := &r.groups[g]
		cells := r.out.Cells[r.out.Starts[g]:]
		for k, key := range group.Keys {
			if key == nil {
				continue
			}
			for f, id := range group.Generations {
				if cells[k*len(group.Generations)+f] == nil && !slices.Contains(r.gone, id) {
					r.gone = append(r.gone, id)
				}
			}
		}
	}
	return r.gone
}

// compare tells where the iterator stands against r.key: past the end is above.
func (r *reader) compare() int {
	if !r.it.Valid() {
		return 1
	}
	return bytes.Compare(r.it.Key(), r.key)
}
