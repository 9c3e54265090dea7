package redis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/online"
)

// markers tell that a generation exists, and up to which run: one key of a server, or one field in every slot of a
// cluster. Safe for concurrent use.
type markers interface {
	// create writes a generation's marker, as of no run.
	create(ctx context.Context, o *owner, id online.GenerationID) error
	// raise notes a later run in the marker. It reports whether there is a marker.
	raise(ctx context.Context, o *owner, c online.Checkpoint) (found bool, err error)
	// check returns the generations whose marker is gone or from before their checkpoint, and removes it then.
	check(ctx context.Context, o *owner, expected []online.Checkpoint) (lost []online.GenerationID, err error)
	// present returns ErrGenerationLost where a generation has no marker.
	present(ctx context.Context, o *owner, ids ...online.GenerationID) error
	// behind returns ErrGenerationLost where no marker stands behind a row that is absent in out, the answer to groups;
	// absent are the generations of such rows.
	behind(ctx context.Context, o *owner, groups []online.Group, out *online.Rows, absent []online.GenerationID) error
	// remove removes a generation's marker.
	remove(ctx context.Context, o *owner, id online.GenerationID) error
}

// CreateGeneration writes a generation's marker.
func (s *Store) CreateGeneration(ctx context.Context, gen online.Generation) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	return s.failure(ctx, "create a generation", s.markers.create(ctx, o, gen.ID))
}

// Checkpoint records in a generation's marker that the writes of all runs up to c.Run were acknowledged.
func (s *Store) Checkpoint(ctx context.Context, c online.Checkpoint) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	found, err := s.markers.raise(ctx, o, c)
	if err == nil && !found {
		return online.ErrGenerationLost
	}
	return s.failure(ctx, "record a run", err)
}

// CheckGenerations returns those generations whose marker is gone, another registry's, or from before their checkpoint.
func (s *Store) CheckGenerations(ctx context.Context, expected []online.Checkpoint) (lost []online.GenerationID, err error) {
	o, err := s.begin(ctx)
	if err != nil || len(expected) == 0 {
		return nil, err
	}
	lost, err = s.markers.check(ctx, o, expected)
	if err != nil {
		return nil, s.failure(ctx, "check the markers of generations", err)
	}
	s.reads.still.hears(nil) // who reads may have less time than a slow server needs
	return lost, nil
}

// mustExist returns ErrGenerationLost where a generation has no marker.
func (s *Store) mustExist(ctx context.Context, o *owner, ids ...online.GenerationID) error {
	return s.markerFailure(ctx, s.markers.present(ctx, o, ids...))
}

func (s *Store) markerFailure(ctx context.Context, err error) error {
	if errors.Is(err, online.ErrGenerationLost) {
		return err
	}
	return s.failure(ctx, "read the marker of a generation", err)
}

// oneMarker keeps the markers of one server: a key for each generation.
type oneMarker struct{ client redis.UniversalClient }

func (m *oneMarker) create(ctx context.Context, o *owner, id online.GenerationID) error {
	return m.client.Set(ctx, o.markerKey(id), o.marker(0), 0).Err()
}

// raiseScript sets the marker KEYS[1] of owner ARGV[1] to run ARGV[2] unless it has a later one; 0 where there is none.
var raiseScript = redis.NewScript(`
local owner, run = string.match(redis.call('GET', KEYS[1]) or '', '^(.*)\n(%d+)$')
if owner ~= ARGV[1] then return 0 end
if tonumber(run) < tonumber(ARGV[2]) then redis.call('SET', KEYS[1], owner .. '\n' .. ARGV[2]) end
return 1`)

// removeScript removes KEYS[1] where it still has the value ARGV[1].
var removeScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`)

func (m *oneMarker) raise(ctx context.Context, o *owner, c online.Checkpoint) (bool, error) {
	found, err := raiseScript.Run(ctx, m.client, []string{o.markerKey(c.ID)}, o.registryID, c.Run).Int()
	return found == 1, err
}

func (m *oneMarker) check(ctx context.Context, o *owner, expected []online.Checkpoint) (lost []online.GenerationID, err error) {
	ids := make([]online.GenerationID, len(expected))
	for i, c := range expected {
		ids[i] = c.ID
	}
	values, err := m.values(ctx, o, ids)
	if err != nil {
		return nil, err
	}
	for i, c := range expected {
		run, ok := o.parseMarker(values[i])
		if ok && run >= c.Run {
			continue
		}
		lost = append(lost, c.ID)
		if ok {
			if err := removeScript.Run(ctx, m.client, []string{o.markerKey(c.ID)}, values[i]).Err(); err != nil {
				return nil, err
			}
		}
	}
	return lost, nil
}

func (m *oneMarker) present(ctx context.Context, o *owner, ids ...online.GenerationID) error {
	if len(ids) == 0 {
		return nil
	}
	values, err := m.values(ctx, o, ids)
	if err != nil {
		return err
	}
	for _, value := range values {
		if _, ok := o.parseMarker(value); !ok {
			return online.ErrGenerationLost
		}
	}
	return nil
}

func (m *oneMarker) behind(ctx context.Context, o *owner, _ []online.Group, _ *online.Rows, absent []online.GenerationID) error {
	return m.present(ctx, o, absent...)
}

func (m *oneMarker) remove(ctx context.Context, o *owner, id online.GenerationID) error {
	return m.client.Del(ctx, o.markerKey(id)).Err()
}

// values returns what the markers of generations hold, "" where there is none.
func (m *oneMarker) values(ctx context.Context, o *owner, ids []online.GenerationID) ([]string, error) {
	pipe := m.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.Get(ctx, o.markerKey(id))
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	values := make([]string, len(ids))
	for i, cmd := range cmds {
		value, err := cmd.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}
