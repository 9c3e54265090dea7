package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/online"
)

const (
	// sentinelEvery: a slot in so many has the number of the last run in its marker. A primary with as many slots in a
	// row serves one of them.
	sentinelEvery = 64
	// markersPerPipe go out before their answers are read.
	markersPerPipe = 2048
	// topologyTrust is how old a topology may be to choose by it where to look for a marker before and after a write.
	topologyTrust = time.Second
)

// slotMarkers keeps the markers of a cluster. Every primary can lose its data alone, and slots move between them: so the
// marker of a generation is in every slot, and an absent row is believed where the marker of its own slot is there,
// whichever primary has the two. Checks look into one slot of every range; what only a read has noticed, they tell, too.
type slotMarkers struct {
	store *Store

	mu       sync.Mutex
	spans    []span // of the last look
	looked   time.Time
	swept    []span // when all sentinels were last looked at; nil: never
	suspects map[online.GenerationID]struct{}
}

// everySlot is what create and remove walk.
func everySlot(fn func(slots []uint16) error) error {
	batch := make([]uint16, 0, markersPerPipe)
	for slot := range uint16(slots) {
		if batch = append(batch, slot); len(batch) == cap(batch) {
			if err := fn(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

func (m *slotMarkers) create(ctx context.Context, o *owner, id online.GenerationID) error {
	m.forget(id)
	name := field(id)
	return everySlot(func(slots []uint16) error {
		pipe := m.store.client.Pipeline()
		for _, slot := range slots {
			pipe.HSet(ctx, o.slotKey(slot), name, "0")
		}
		_, err := pipe.Exec(ctx)
		return err
	})
}

func (m *slotMarkers) remove(ctx context.Context, o *owner, id online.GenerationID) error {
	name := field(id)
	return everySlot(func(slots []uint16) error {
		pipe := m.store.client.Pipeline()
		for _, slot := range slots {
			pipe.HDel(ctx, o.slotKey(slot), name)
		}
		_, err := pipe.Exec(ctx)
		return err
	})
}

// raiseFieldScript sets field ARGV[1] of KEYS[1] to run ARGV[2] unless it has a later one; 0 where there is none.
var raiseFieldScript = newScript(`
local run = redis.call('HGET', KEYS[1], ARGV[1])
if not run then return {0} end
if tonumber(run) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return {1}`)

func (m *slotMarkers) raise(ctx context.Context, o *owner, c online.Checkpoint) (found bool, err error) {
	name, run := field(c.ID), strconv.FormatInt(c.Run, 10)
	var calls [][]any
	for slot := 0; slot < slots; slot += sentinelEvery {
		calls = append(calls, []any{nil, nil, 1, o.slotKey(uint16(slot)), name, run})
	}
	for _, result := range m.store.evaluate(ctx, raiseFieldScript, calls) {
		value, err := result.Result()
		if err != nil {
			return false, err
		}
		if len(value) != 1 || value[0] == 0 {
			return false, nil
		}
	}
	return true, nil
}

// probe is a slot that is looked into.
type probe struct {
	slot     uint16
	sentinel bool // its marker has run numbers
}

// probes chooses one slot of every span, a sentinel where there is one; or all sentinels, and a slot of every span that
// has none.
func probes(spans []span, all bool) []probe {
	var chosen []probe
	for _, s := range spans {
		first := (int(s.from) + sentinelEvery - 1) / sentinelEvery * sentinelEvery
		if first > int(s.to) {
			chosen = append(chosen, probe{slot: s.from})
			continue
		}
		for slot := first; slot <= int(s.to); slot += sentinelEvery {
			chosen = append(chosen, probe{slot: uint16(slot), sentinel: true})
			if !all {
				break
			}
		}
	}
	return chosen
}

// look returns the topology as it is now.
func (m *slotMarkers) look(ctx context.Context) ([]span, error) {
	spans, err := m.store.topology(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spans, m.looked = spans, time.Now()
	return spans, nil
}

func (m *slotMarkers) check(ctx context.Context, o *owner, expected []online.Checkpoint) (lost []online.GenerationID, err error) {
	spans, err := m.look(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	all := !slices.Equal(spans, m.swept)
	m.mu.Unlock()
	ids := make([]online.GenerationID, len(expected))
	for i, c := range expected {
		ids[i] = c.ID
	}
	looked := probes(spans, all)
	found := make([]slotMarker, len(looked))
	for i, p := range looked {
		found[i].slot = p.slot
	}
	if err := m.fetch(ctx, o, ids, found); err != nil {
		return nil, err
	}
	for i, c := range expected {
		gone, left := m.suspected(c.ID), false
		for k, p := range looked {
			run, ok := found[k].run(i)
			left = left || ok
			gone = gone || !ok || p.sentinel && run < c.Run
		}
		if !gone {
			continue
		}
		lost = append(lost, c.ID)
		if left {
			if err := m.remove(ctx, o, c.ID); err != nil {
				return nil, err
			}
		}
		m.forget(c.ID)
	}
	m.mu.Lock()
	m.swept = spans
	m.mu.Unlock()
	return lost, nil
}

func (m *slotMarkers) present(ctx context.Context, o *owner, ids ...online.GenerationID) error {
	if len(ids) == 0 {
		return nil
	}
	m.mu.Lock()
	spans := m.spans
	if time.Since(m.looked) > topologyTrust {
		spans = nil
	}
	m.mu.Unlock()
	if spans == nil {
		var err error
		if spans, err = m.look(ctx); err != nil {
			return err
		}
	}
	var found []slotMarker
	for _, p := range probes(spans, false) {
		found = append(found, slotMarker{slot: p.slot})
	}
	return m.all(ctx, o, ids, found)
}

func (m *slotMarkers) behind(ctx context.Context, o *owner, groups []online.Group, out *online.Rows, absent []online.GenerationID) error {
	if len(absent) == 0 {
		return nil
	}
	var here []uint16
	for g := range groups {
		group := &groups[g]
		width := len(group.Generations)
		space := o.keyspace(group.Keyspace)
		for k, key := range group.Keys {
			cells := out.Cells[out.Starts[g]+k*width:][:width]
			if key != nil && slices.ContainsFunc(cells, func(cell []byte) bool { return cell == nil }) {
				here = append(here, slotOf(space+string(key)))
			}
		}
	}
	slices.Sort(here)
	here = slices.Compact(here)
	found := make([]slotMarker, len(here))
	for i, slot := range here {
		found[i].slot = slot
	}
	return m.all(ctx, o, absent, found)
}

// all returns ErrGenerationLost, and remembers what is lost, where one of the slots has no marker of one of ids.
func (m *slotMarkers) all(ctx context.Context, o *owner, ids []online.GenerationID, found []slotMarker) error {
	if err := m.fetch(ctx, o, ids, found); err != nil {
		return err
	}
	lost := false
	for _, marker := range found {
		for i, id := range ids {
			if _, ok := marker.run(i); !ok {
				lost = true
				m.suspect(id)
			}
		}
	}
	if lost {
		return online.ErrGenerationLost
	}
	return nil
}

// slotMarker is what a slot's marker holds of some generations.
type slotMarker struct {
	slot   uint16
	values []any
}

func (m *slotMarker) run(i int) (run int64, ok bool) {
	text, ok := m.values[i].(string)
	run, err := strconv.ParseInt(text, 10, 64)
	return run, ok && err == nil
}

// fetch fills the values of found: one per id.
func (m *slotMarkers) fetch(ctx context.Context, o *owner, ids []online.GenerationID, found []slotMarker) error {
	fields := make([]string, len(ids))
	for i, id := range ids {
		fields[i] = field(id)
	}
	for rest := found; len(rest) > 0; {
		n := min(len(rest), markersPerPipe)
		pipe := m.store.client.Pipeline()
		cmds := make([]*redis.SliceCmd, n)
		for i := range n {
			cmds[i] = pipe.HMGet(ctx, o.slotKey(rest[i].slot), fields...)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		for i, cmd := range cmds {
			values, err := cmd.Result()
			if err != nil {
				return err
			}
			if len(values) != len(ids) {
				return fmt.Errorf("marker of slot %d: %d values for %d fields", rest[i].slot, len(values), len(ids))
			}
			rest[i].values = values
		}
		rest = rest[n:]
	}
	return nil
}

func (m *slotMarkers) suspect(id online.GenerationID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.suspects == nil {
		m.suspects = map[online.GenerationID]struct{}{}
	}
	m.suspects[id] = struct{}{}
}

func (m *slotMarkers) suspected(id online.GenerationID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.suspects[id]
	return ok
}

func (m *slotMarkers) forget(id online.GenerationID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.suspects, id)
}
