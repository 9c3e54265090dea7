package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/redisurl"
	"github.com/provender-dev/provender/online"
)

var _ online.Advisor = (*Store)(nil)

// Advise looks at the servers, their settings, and a sample of the entities under prefix.
func (s *Store) Advise(ctx context.Context, registryID, prefix string) []checkup.Check {
	const name = "online store"
	o := newOwner(registryID, prefix)
	s.asked.Store(o)
	if err := s.Ping(ctx); err != nil {
		return []checkup.Check{checkup.Failed(name, err)}
	}
	if s.cluster != nil {
		if _, err := s.topology(ctx); err != nil {
			return []checkup.Check{checkup.Failed(name, s.failure(ctx, "read the topology", err))}
		}
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return []checkup.Check{checkup.Failed(name, s.failure(ctx, "find the servers", err))}
	}
	told, err := s.about(ctx)
	if err != nil {
		return []checkup.Check{checkup.Failed(name, s.failure(ctx, "ask the servers", err))}
	}
	checks := []checkup.Check{s.answers(ctx, nodes, told), s.owned(ctx, o), version(told), eviction(told), s.durability(ctx, nodes, told)}
	return append(checks, s.compactness(ctx, nodes, o))
}

// pings is how many are measured.
const pings = 5

func (s *Store) answers(ctx context.Context, nodes []*redis.Client, told []told) checkup.Check {
	c := checkup.Check{Name: "online store", State: checkup.OK}
	var slowest time.Duration
	for _, node := range nodes {
		var took []time.Duration
		for range pings {
			begun := time.Now()
			if err := node.Ping(ctx).Err(); err != nil {
				return checkup.Failed(c.Name, s.failure(ctx, "ping", err))
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		slowest = max(slowest, took[pings/2])
	}
	what := "one server"
	switch s.url.Kind {
	case redisurl.Cluster:
		what = fmt.Sprintf("a cluster of %d primaries", len(nodes))
	case redisurl.Sentinel:
		what = "the primary that sentinels name"
	}
	c.Text = fmt.Sprintf("%s at %s, %s; a ping takes %s", product(told[0]), s.name, what, slowest.Round(10*time.Microsecond))
	for _, node := range told {
		if node.fields["role"] == "slave" {
			c.State, c.Fix = checkup.Error, "name its primary in the URL, or its sentinels"
			c.Text = fmt.Sprintf("Redis at %s is a replica, which takes no writes", node.addr)
		}
	}
	return c
}

// product is what a server calls itself, with its version.
func product(node told) string {
	if v := node.fields["valkey_version"]; v != "" {
		return "Valkey " + v
	}
	return "Redis " + cmp.Or(node.fields["redis_version"], "of an unknown version")
}

func (s *Store) owned(ctx context.Context, o *owner) checkup.Check {
	c := checkup.Check{Name: "store prefix", State: checkup.OK, Text: "keys begin with " + o.prefix + ":"}
	value, err := s.client.Get(ctx, o.claimKey()).Result()
	switch {
	case errors.Is(err, redis.Nil):
		c.Text += ", and nothing is there yet"
	case err != nil:
		return checkup.Failed(c.Name, s.failure(ctx, "read the marker", err))
	case !strings.HasPrefix(value, o.claimValue("")):
		c.State, c.Text = checkup.Error, "the prefix "+o.prefix+" belongs to another registry"
		c.Fix = "give this registry a store, or a database of it, of its own"
	}
	return c
}

// oldest is the least version with all commands that the store uses.
var oldest = [2]int{6, 2}

func version(told []told) checkup.Check {
	c := checkup.Check{Name: "server version", State: checkup.OK}
	var seen []string
	for _, node := range told {
		if v := product(node); !slices.Contains(seen, v) {
			seen = append(seen, v)
		}
		major, rest, _ := strings.Cut(node.fields["redis_version"], ".")
		minor, _, _ := strings.Cut(rest, ".")
		m, errMajor := strconv.Atoi(major)
		n, errMinor := strconv.Atoi(minor)
		if errMajor == nil && errMinor == nil && (m < oldest[0] || m == oldest[0] && n < oldest[1]) {
			c.State, c.Fix = checkup.Error, "Redis 6.2 or later, or Valkey, is needed"
		}
	}
	c.Text = strings.Join(seen, ", ")
	return c
}

func eviction(told []told) checkup.Check {
	c := checkup.Check{Name: "eviction", State: checkup.OK, Text: "maxmemory-policy is " + noEviction}
	for _, node := range told {
		if policy := node.fields["maxmemory_policy"]; policy != "" && policy != noEviction {
			c.State = checkup.Warning
			c.Text = fmt.Sprintf("maxmemory-policy of %s is %s: to make room it drops entities, and lookups do not find them", node.addr, policy)
			c.Fix = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration"
		}
	}
	return c
}

var (
	_ online.Clocked  = (*Store)(nil)
	_ online.Evicting = (*Store)(nil)
)

// Offsets implements online.Clocked.
func (s *Store) Offsets(ctx context.Context, now func() time.Time) ([]checkup.Offset, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, s.failure(ctx, "find the servers", err)
	}
	var offsets []checkup.Offset
	for _, node := range nodes {
		addr := node.Options().Addr
		if s.cluster == nil {
			addr = s.name
		}
		o, err := checkup.Measure(addr, now, func() (time.Time, error) { return node.Time(ctx).Result() })
		if err != nil {
			return nil, s.failure(ctx, "ask for the time", err)
		}
		offsets = append(offsets, o)
	}
	return offsets, nil
}

// Evicts implements online.Evicting.
func (s *Store) Evicts(ctx context.Context) (evicts, known bool) {
	nodes, _ := s.about(ctx, "memory")
	for _, node := range nodes {
		policy := node.fields["maxmemory_policy"]
		known = known || policy != ""
		evicts = evicts || policy != "" && policy != noEviction
	}
	return evicts, known
}

// durability tells what becomes of the values when a server goes. Nothing is lost for good: a run writes them again.
func (s *Store) durability(ctx context.Context, nodes []*redis.Client, told []told) checkup.Check {
	c := checkup.Check{Name: "durability", State: checkup.OK}
	var bare []string
	persistent, replicated := 0, 0
	for i, node := range told {
		saves := nodes[i].ConfigGet(ctx, "save").Val()["save"] != ""
		kept := saves || node.fields["aof_enabled"] == "1"
		replicas := node.fields["connected_slaves"] != "" && node.fields["connected_slaves"] != "0"
		if kept {
			persistent++
		}
		if replicas {
			replicated++
		}
		if !kept && !replicas {
			bare = append(bare, node.addr)
		}
	}
	of := func(n int) string {
		if n == len(told) {
			return "yes"
		}
		if n == 0 {
			return "no"
		}
		return fmt.Sprintf("%d of %d servers", n, len(told))
	}
	c.Text = fmt.Sprintf("on disk: %s; replicas: %s", of(persistent), of(replicated))
	if len(bare) > 0 {
		c.State = checkup.Warning
		c.Text += "; a restart of " + strings.Join(bare, ", ") + " loses the values there, and lookups fail until a run has written them again"
		c.Fix = "switch on AOF or snapshots, or add a replica"
	}
	return c
}
