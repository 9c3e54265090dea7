package redis

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

// Generations returns those that have a marker or a row under our prefix, found by SCAN at Options.DropRate. A field is
// one's where it is the number of a generation and has a row.
func (s *Store) Generations(ctx context.Context) ([]online.Generation, error) {
	o, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.readClaim(ctx, o); err != nil {
		return nil, err
	}
	f := finding{store: s, owner: o, rows: map[online.Generation]bool{}, markers: map[online.GenerationID]bool{}, next: time.Now()}
	if s.cluster == nil {
		if err := s.eachBatch(ctx, keyScan{o.markerKey(0)[:len(o.prefix)+len(":g:")], "string"}, f.marked(ctx)); err != nil {
			return nil, err
		}
	}
	if err := s.eachBatch(ctx, keyScan{o.prefix + ":", "hash"}, f.stored(ctx)); err != nil {
		return nil, err
	}
	return f.all(), nil
}

// finding is what a walk over our keys has found so far.
type finding struct {
	store   *Store
	owner   *owner
	rows    map[online.Generation]bool
	markers map[online.GenerationID]bool
	next    time.Time // when the walk goes on
}

// marked looks at the markers of one server.
func (f *finding) marked(ctx context.Context) func(keys []string) error {
	return func(keys []string) error {
		pipe := f.store.client.Pipeline()
		cmds := make([]*redis.StringCmd, len(keys))
		for i, key := range keys {
			cmds[i] = pipe.Get(ctx, key)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		for i, c := range cmds {
			value, err := c.Result()
			if err != nil && !errors.Is(err, redis.Nil) && !isWrongType(err) {
				return f.store.failure(ctx, "list generations", err)
			}
			id, ok := parseField(keys[i][len(f.owner.prefix)+len(":g:"):])
			if _, ours := f.owner.parseMarker(value); ok && ours {
				f.markers[id] = true
			}
		}
		return f.rest(ctx)
	}
}

// stored looks at the hashes of entities, and of a cluster's slots.
func (f *finding) stored(ctx context.Context) func(keys []string) error {
	return func(keys []string) error {
		pipe := f.store.client.Pipeline()
		cmds := make([]*redis.MapStringStringCmd, len(keys))
		for i, key := range keys {
			cmds[i] = pipe.HGetAll(ctx, key)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		for i, c := range cmds {
			fields, err := c.Result()
			if err != nil && !isWrongType(err) {
				return f.store.failure(ctx, "list generations", err)
			}
			f.fields(keys[i], fields)
		}
		return f.rest(ctx)
	}
}

// fields adds the generations that fields of a hash are of.
func (f *finding) fields(key string, fields map[string]string) {
	marker := f.store.cluster != nil && strings.HasPrefix(key, f.owner.slotLead)
	space, entity := f.owner.parseKeyspace(key)
	for name, value := range fields {
		id, ok := parseField(name)
		gen := online.Generation{ID: id, Keyspace: space}
		switch {
		case !ok:
		case marker:
			f.markers[id] = true
		case entity && !f.rows[gen]:
			// Once one value is a row, the others are not looked at.
			if _, _, err := row.Times([]byte(value)); err == nil {
				f.rows[gen] = true
			}
		}
	}
}

// rest waits until the walk may go on.
func (f *finding) rest(ctx context.Context) error {
	f.next = f.next.Add(scanCount * time.Second / time.Duration(f.store.opts.DropRate))
	return waitUntil(ctx, f.next)
}

func (f *finding) all() []online.Generation {
	for gen := range f.rows {
		delete(f.markers, gen.ID)
	}
	for id := range f.markers {
		f.rows[online.Generation{ID: id}] = true
	}
	return slices.SortedFunc(maps.Keys(f.rows), func(a, b online.Generation) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Keyspace, b.Keyspace))
	})
}

// parseKeyspace returns the keyspace of an entity's key; false where key is none's.
func (o *owner) parseKeyspace(key string) (online.KeyspaceID, bool) {
	digits, _, found := strings.Cut(strings.TrimPrefix(key, o.prefix+":"), ":")
	space, err := strconv.ParseUint(digits, 10, 32)
	if !found || err != nil || !strings.HasPrefix(key, o.keyspace(online.KeyspaceID(space))) {
		return 0, false
	}
	return online.KeyspaceID(space), true
}

// parseField is the reverse of field; false for what it never returns.
func parseField(name string) (online.GenerationID, bool) {
	id, err := strconv.ParseUint(name, 36, 64)
	return online.GenerationID(id), err == nil && name == field(online.GenerationID(id))
}
