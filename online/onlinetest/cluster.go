package onlinetest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/testenv"
)

// slots is how many a cluster has.
const slots = 16384

// Cluster is a Redis Cluster of a test's own.
type Cluster struct {
	URL       string   // redis-cluster://…, all primaries
	Primaries []*Redis // each has the same share of slots, in this order
	Replicas  []*Redis // the i-th is of the i-th primary; none where the cluster has none
	IDs       []string // of Primaries
}

// StartCluster starts a cluster that ends with the test: a number of primaries, and with replicas one for each.
func StartCluster(t testing.TB, primaries int, replicas bool) *Cluster {
	t.Helper()
	return startCluster(t, Redis{}, primaries, replicas)
}

// StartClusterVersion starts a cluster of one of Versions; root is the repository's folder.
func StartClusterVersion(t testing.TB, root, version string, primaries int) *Cluster {
	t.Helper()
	return startCluster(t, Redis{binary: versionPath(t, root, version)}, primaries, false)
}

func startCluster(t testing.TB, like Redis, primaries int, replicas bool) *Cluster {
	t.Helper()
	c := &Cluster{}
	for range primaries {
		c.Primaries = append(c.Primaries, startNode(t, like))
		if replicas {
			c.Replicas = append(c.Replicas, startNode(t, like))
		}
	}
	clients := make([]*redis.Client, primaries)
	for i, node := range c.Primaries {
		clients[i] = node.Client(t)
		defer clients[i].Close()
		must(t, clients[i].Do(t.Context(), "cluster", "set-config-epoch", i+1).Err())
		from, to := i*slots/primaries, (i+1)*slots/primaries-1
		share := make([]int, 0, to-from+1)
		for slot := from; slot <= to; slot++ {
			share = append(share, slot)
		}
		must(t, clients[i].ClusterAddSlots(t.Context(), share...).Err())
		c.IDs = append(c.IDs, nodeID(t, clients[i]))
	}
	all := append(append([]*Redis{}, c.Primaries...), c.Replicas...)
	for _, node := range all[1:] {
		meet(t, c.Primaries[0], node)
	}
	for i, node := range c.Replicas {
		client := node.Client(t)
		defer client.Close()
		testenv.Until(t, "a replica knows its primary", func() bool {
			return client.Do(t.Context(), "cluster", "replicate", c.IDs[i]).Err() == nil
		})
	}
	for _, node := range all {
		client := node.Client(t)
		defer client.Close()
		whole(t, client, len(all))
	}
	for i := range c.Replicas {
		testenv.Until(t, "a replica follows its primary", func() bool {
			return strings.Contains(clients[i].Info(t.Context(), "replication").Val(), "state=online")
		})
	}
	var addrs []string
	for _, node := range c.Primaries {
		addrs = append(addrs, node.Addr)
	}
	c.URL = "redis-cluster://" + strings.Join(addrs, ",")
	return c
}

// StartNode starts a node that is in no cluster yet.
func StartNode(t testing.TB) *Redis {
	t.Helper()
	return startNode(t, Redis{})
}

func startNode(t testing.TB, like Redis) *Redis {
	t.Helper()
	like.args = []string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "15000", "--dir", t.TempDir(),
		"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
	}
	if like.binary == "" { // 6.2 does not know it
		like.args = append(like.args, "--cluster-allow-replica-migration", "no")
	}
	return startRedis(t, like)
}

// Join adds a node without slots to the cluster, and waits until all know it.
func (c *Cluster) Join(t testing.TB, node *Redis) {
	t.Helper()
	all := append(append([]*Redis{node}, c.Primaries...), c.Replicas...)
	for _, known := range all[1:] {
		meet(t, known, node)
	}
	for _, one := range all {
		client := one.Client(t)
		defer client.Close()
		whole(t, client, len(all))
	}
}

// whole waits until a node knows so many nodes, itself included, and takes the cluster for whole.
func whole(t testing.TB, client *redis.Client, nodes int) {
	t.Helper()
	testenv.Until(t, "the cluster is whole", func() bool {
		return strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok") &&
			strings.Count(client.ClusterNodes(t.Context()).Val(), " connected") == nodes
	})
}

// meet introduces a node to another one's cluster.
func meet(t testing.TB, known, node *Redis) {
	t.Helper()
	host, port, _ := strings.Cut(node.Addr, ":")
	client := known.Client(t)
	defer client.Close()
	must(t, client.ClusterMeet(t.Context(), host, port).Err())
}

// NodeID returns the id of a node in its cluster.
func NodeID(t testing.TB, node *Redis) string {
	t.Helper()
	client := node.Client(t)
	defer client.Close()
	return nodeID(t, client)
}

func nodeID(t testing.TB, client *redis.Client) string {
	t.Helper()
	id, err := client.ClusterMyID(t.Context()).Result()
	must(t, err)
	return id
}

// Client returns a plain client, for looking behind the store's back.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	t.Helper()
	var addrs []string
	for _, node := range c.Primaries {
		addrs = append(addrs, node.Addr)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Flush empties every primary.
func (c *Cluster) Flush(t testing.TB) {
	t.Helper()
	client := c.Client(t)
	defer client.Close()
	must(t, client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		return node.FlushAll(ctx).Err()
	}))
}

// WaitOwner waits until node tells that a slot is owner's.
func WaitOwner(t testing.TB, node *Redis, slot uint16, owner *Redis) {
	t.Helper()
	client := node.Client(t)
	defer client.Close()
	testenv.Until(t, "a node knows the owner of a slot", func() bool {
		ranges, err := client.ClusterSlots(t.Context()).Result() //nolint:staticcheck // Redis 6.2 knows no CLUSTER SHARDS
		must(t, err)
		for _, r := range ranges {
			if r.Start <= int(slot) && int(slot) <= r.End {
				return len(r.Nodes) > 0 && r.Nodes[0].Addr == owner.Addr
			}
		}
		return false
	})
}

// BeginMove begins to move a slot from one node to another: keys are on both until EndMove.
func BeginMove(t testing.TB, slot int, from, to *Redis) {
	t.Helper()
	source, target := from.Client(t), to.Client(t)
	defer source.Close()
	defer target.Close()
	must(t, target.Do(t.Context(), "cluster", "setslot", slot, "importing", nodeID(t, source)).Err())
	must(t, source.Do(t.Context(), "cluster", "setslot", slot, "migrating", nodeID(t, target)).Err())
}

// MoveKeys moves up to n keys of a slot that BeginMove has opened, and returns how many.
func MoveKeys(t testing.TB, slot, n int, from, to *Redis) int {
	t.Helper()
	source := from.Client(t)
	defer source.Close()
	keys, err := source.ClusterGetKeysInSlot(t.Context(), slot, n).Result()
	must(t, err)
	if len(keys) == 0 {
		return 0
	}
	host, port, _ := strings.Cut(to.Addr, ":")
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, key := range keys {
		args = append(args, key)
	}
	must(t, source.Do(t.Context(), args...).Err())
	return len(keys)
}

// EndMove gives a slot to the node that has its keys now, and tells the others.
func EndMove(t testing.TB, slot int, from, to *Redis, others ...*Redis) {
	t.Helper()
	id := NodeID(t, to)
	for _, node := range append([]*Redis{to, from}, others...) {
		client := node.Client(t)
		must(t, client.Do(t.Context(), "cluster", "setslot", slot, "node", id).Err())
		_ = client.Close()
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fmt.Errorf("redis of the test: %w", err))
	}
}
