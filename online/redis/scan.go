package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

// scanCount is how many keys the server looks at per call of SCAN.
const scanCount = 1000

// DropGeneration removes marker first, then the generation's field of every hash of its keyspace, at Options.DropRate.
// The prefix must still be ours.
func (s *Store) DropGeneration(ctx context.Context, gen online.Generation) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if _, err := s.readClaim(ctx, o); err != nil {
		return fmt.Errorf("drop generation %d: %w", gen.ID, err)
	}
	if err := s.markers.remove(ctx, o, gen.ID); err != nil {
		return s.failure(ctx, "drop a generation", err)
	}
	name, next := field(gen.ID), time.Now()
	return s.eachBatch(ctx, keyScan{o.keyspace(gen.Keyspace), "hash"}, func(keys []string) error {
		pipe := s.client.Pipeline()
		for _, key := range keys {
			pipe.HDel(ctx, key, name)
		}
		cmds, _ := pipe.Exec(ctx) // each command has its error
		for _, c := range cmds {
			if err := c.Err(); err != nil && !isWrongType(err) {
				return s.failure(ctx, "drop a generation", err)
			}
		}
		next = next.Add(scanCount * time.Second / time.Duration(s.opts.DropRate))
		return waitUntil(ctx, next)
	})
}

// isWrongType reports that a key stopped being a hash since it was listed: it is none of ours.
func isWrongType(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }

func waitUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Scan calls fn with every key and row of a generation, with some twice where the server's table grows meanwhile.
func (s *Store) Scan(ctx context.Context, gen online.Generation, fn func(key, stored []byte) error) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	name, lead := field(gen.ID), len(o.keyspace(gen.Keyspace))
	var key []byte
	err = s.eachBatch(ctx, keyScan{o.keyspace(gen.Keyspace), "hash"}, func(keys []string) error {
		pipe := s.client.Pipeline()
		rows := make([]*redis.StringCmd, len(keys))
		for i, key := range keys {
			rows[i] = pipe.HGet(ctx, key, name)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
		for i, r := range rows {
			stored, err := r.Bytes()
			if errors.Is(err, redis.Nil) || err != nil && isWrongType(err) {
				continue
			}
			if err != nil {
				return s.failure(ctx, "scan rows", err)
			}
			key = append(key[:0], keys[i][lead:]...)
			if err := fn(key, stored); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.mustExist(ctx, o, gen.ID)
}

// scanTries bounds how often a walk begins again because slots moved under it.
const scanTries = 3

// keyScan is one walk over the keys of a kind that begin with a prefix of ours.
type keyScan struct{ lead, kind string }

// eachBatch calls fn with the keys of a walk, batch by batch; a batch may be empty. In a cluster it walks one primary after
// the other. A key whose slot moves meanwhile may be passed over: then it begins again.
func (s *Store) eachBatch(ctx context.Context, walk keyScan, fn func(keys []string) error) error {
	if s.cluster == nil {
		return s.eachNode(ctx, func(ctx context.Context, node *redis.Client) error {
			return s.eachBatchOf(ctx, node, walk, fn)
		})
	}
	for range scanTries {
		before, moving, err := s.moves(ctx)
		if err != nil {
			return s.failure(ctx, "scan keys", err)
		}
		nodes, err := s.nodes(ctx)
		if err != nil {
			return s.failure(ctx, "scan keys", err)
		}
		for _, node := range nodes {
			if err := s.eachBatchOf(ctx, node, walk, fn); err != nil {
				return err
			}
		}
		after, still, err := s.moves(ctx)
		if err != nil {
			return s.failure(ctx, "scan keys", err)
		}
		if !moving && !still && before == after {
			return nil
		}
	}
	p := problem.New(problem.Unavailable, "online store: slots of the cluster at %s are on the move: a scan would pass over keys", s.name)
	p.RetryAfter, p.Suggestion = time.Minute, "try again when redis-cli --cluster check finds no open slots"
	return p
}

func (s *Store) eachBatchOf(ctx context.Context, node *redis.Client, walk keyScan, fn func(keys []string) error) error {
	pattern := walk.lead + "*" // a prefix has no characters that mean something in patterns
	for cursor := uint64(0); ; {
		keys, next, err := node.ScanType(ctx, cursor, pattern, scanCount, walk.kind).Result()
		if err != nil {
			return s.failure(ctx, "scan keys", err)
		}
		if err := fn(keys); err != nil {
			return err
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}
