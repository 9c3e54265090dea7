package redis

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
)

// eachNode calls fn with every primary, of a cluster at the same time, and returns one of the errors.
func (s *Store) eachNode(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	if s.cluster != nil {
		return s.cluster.ForEachMaster(ctx, fn)
	}
	node, ok := s.client.(*redis.Client)
	if !ok {
		return fmt.Errorf("online store: %T has no nodes", s.client)
	}
	return fn(ctx, node)
}

// nodes returns the primaries in the order of their addresses.
func (s *Store) nodes(ctx context.Context) ([]*redis.Client, error) {
	var mu sync.Mutex
	var nodes []*redis.Client
	err := s.eachNode(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node)
		return nil
	})
	slices.SortFunc(nodes, func(a, b *redis.Client) int { return cmp.Compare(a.Options().Addr, b.Options().Addr) })
	return nodes, err
}

// told is what a primary tells of itself, nothing where it does not.
type told struct {
	addr   string
	fields map[string]string
}

// about asks every primary for a section of INFO. The error is that of one that does not tell.
func (s *Store) about(ctx context.Context, section ...string) ([]told, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]told, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() {
			all[i] = told{addr: node.Options().Addr, fields: map[string]string{}}
			if s.cluster == nil {
				all[i].addr = s.name
			}
			var text string
			text, errs[i] = node.Info(ctx, section...).Result()
			for line := range strings.Lines(text) {
				if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
					all[i].fields[name] = value
				}
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// session changes whenever a primary was started again, replaced, added or removed.
func (s *Store) session(ctx context.Context) string {
	nodes, _ := s.about(ctx, "server") // one that does not answer may have been started again
	if s.cluster == nil {
		if len(nodes) == 0 {
			return ""
		}
		return nodes[0].fields["run_id"]
	}
	ids := make([]string, len(nodes))
	for i, node := range nodes {
		ids[i] = node.fields["run_id"]
	}
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return hex.EncodeToString(sum[:16])
}

// span is a range of slots, both ends included, that one primary serves.
type span struct {
	from, to uint16
	node     string // its id in the cluster
}

// topology returns which primary of the cluster serves which slots, in their order. One that nobody serves is an error.
func (s *Store) topology(ctx context.Context) ([]span, error) {
	ranges, err := s.cluster.ClusterSlots(ctx).Result()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ranges, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
	spans := make([]span, 0, len(ranges))
	next := 0
	for _, r := range ranges {
		if r.Start != next || r.End < r.Start || len(r.Nodes) == 0 {
			break
		}
		next = r.End + 1
		spans = append(spans, span{uint16(r.Start), uint16(r.End), r.Nodes[0].ID})
	}
	if next != slots {
		p := problem.New(problem.Unavailable, "online store: no primary of the cluster at %s serves slot %d", s.name, next)
		p.RetryAfter, p.Suggestion = time.Second, checkCluster
		return nil, p
	}
	return spans, nil
}

// moves describes which primary serves which slots, and reports whether some are on their way to another.
func (s *Store) moves(ctx context.Context) (shape string, moving bool, err error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return "", false, err
	}
	var b strings.Builder
	for _, node := range nodes {
		text, err := node.ClusterNodes(ctx).Result()
		if err != nil {
			return "", false, err
		}
		for line := range strings.Lines(text) {
			// id, address, flags, its primary, two times, epoch, link, slots
			fields := strings.Fields(line)
			if len(fields) < 8 || !strings.Contains(fields[2], "myself") {
				continue
			}
			fmt.Fprintln(&b, fields[0], fields[8:])
			moving = moving || slices.ContainsFunc(fields[8:], func(f string) bool { return strings.HasPrefix(f, "[") })
		}
	}
	return b.String(), moving, nil
}
