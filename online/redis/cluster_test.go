package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

func openURL(t testing.TB, url string) *redis.Store {
	t.Helper()
	s, err := redis.Open(url, redis.Options{DropRate: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func claimedURL(t testing.TB, url string) *redis.Store {
	t.Helper()
	s := openURL(t, url)
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Claim(t.Context(), "registry", "p1"); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConformanceCluster runs the suite on a cluster, as a user who may do no more than the documentation says.
func TestConformanceCluster(t *testing.T) {
	conformanceCluster(t, onlinetest.StartCluster(t, 3, false))
}

func conformanceCluster(t *testing.T, cluster *onlinetest.Cluster) {
	for _, node := range cluster.Primaries {
		addUser(t, node.Client(t))
	}
	url := strings.Replace(cluster.URL, "://", "://app:canary@", 1)
	onlinetest.Run(t, func(t *testing.T) onlinetest.Subject {
		client := cluster.Client(t)
		cluster.Flush(t)
		each(t, client, func(ctx context.Context, node *goredis.Client) error { return node.ScriptFlush(ctx).Err() })
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		return onlinetest.Subject{
			Open: func(t *testing.T) online.Store { return openURL(t, url) },
			LoseMarker: func(t *testing.T, gen online.GenerationID) {
				client := cluster.Client(t)
				defer client.Close()
				for _, key := range markersOf(t, client) {
					if err := client.HDel(t.Context(), key, base36(gen)).Err(); err != nil {
						t.Fatal(err)
					}
				}
			},
			LoseAll: func(t *testing.T) { cluster.Flush(t) },
			Overwrite: func(t *testing.T, gen online.Generation, key, stored []byte) {
				client := cluster.Client(t)
				defer client.Close()
				if err := client.HSet(t.Context(), hashOf(gen, key), base36(gen.ID), stored).Err(); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func each(t testing.TB, client *goredis.ClusterClient, fn func(context.Context, *goredis.Client) error) {
	t.Helper()
	if err := client.ForEachMaster(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// markersOf returns the keys of all slots' markers.
func markersOf(t testing.TB, client *goredis.ClusterClient) []string {
	t.Helper()
	found := make(chan []string, 100)
	each(t, client, func(ctx context.Context, node *goredis.Client) error {
		keys, err := node.Keys(ctx, "p1:s:*").Result()
		found <- keys
		return err
	})
	close(found)
	var all []string
	for keys := range found {
		all = append(all, keys...)
	}
	return all
}

// TestSlots: keys fall into the slots that the server says, whatever their bytes, and every slot has a tag.
func TestSlots(t *testing.T) {
	node := onlinetest.StartNode(t)
	client := node.Client(t)
	rnd := testenv.Rand(t)
	keys := []string{"", "{", "}", "{}", "{}x", "x{}y{z}", "{a}b", "a{b", "a}b{c}", "{{a}}", "{a}{b}", "\x00", "\xff{\xff}"}
	for range 500 {
		key := make([]byte, rnd.IntN(20))
		for i := range key {
			key[i] = "ab{}\x00\xff"[rnd.IntN(6)]
		}
		keys = append(keys, string(key))
	}
	for _, key := range keys {
		want, err := client.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got := redis.SlotOf(key); int64(got) != want {
			t.Errorf("%q: slot %d, want %d", key, got, want)
		}
	}
	for slot := range uint16(16384) {
		if got := redis.SlotOf("p1:s:{" + redis.TagOf(slot) + "}"); got != slot {
			t.Fatalf("the tag %q of slot %d is of slot %d", redis.TagOf(slot), slot, got)
		}
	}
}

// keysOf returns n entity keys of one slot.
func keysOf(gen online.Generation, slot uint16, n int) [][]byte {
	var keys [][]byte
	for x := int64(0); len(keys) < n; x++ {
		if key := onlinetest.Key(x); redis.SlotOf(hashOf(gen, key)) == slot {
			keys = append(keys, key)
		}
	}
	return keys
}

func entriesOf(keys [][]byte, event int64) []online.Entry {
	entries := make([]online.Entry, len(keys))
	for i, key := range keys {
		entries[i] = online.Entry{Key: key, Row: onlinetest.At(event, int64(i)).Row()}
	}
	return entries
}

// TestSlotMoves moves slots, key by key, under readers and writers: to another primary, to a node that has had no slot
// yet, and back. No row is lost or said to be absent, and none that is absent is said to be lost.
func TestSlotMoves(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 2, false)
	first, second := cluster.Primaries[0], cluster.Primaries[1]
	fresh := onlinetest.StartNode(t)
	cluster.Join(t, fresh)
	s := claimedURL(t, cluster.URL)
	create(t, s, gen)
	const slot, neighbour = 130, 131
	keys := slices.Concat(keysOf(gen, slot, 30), keysOf(gen, neighbour, 5), keysOf(gen, 16000, 5))
	there, never := slices.Concat(keys[:20], keys[30:]), keys[20:25]
	write(t, s, gen, entriesOf(there, 1)...)

	ctx, stop := context.WithCancel(t.Context())
	var events int64
	errs := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() { // rows that are there, and one more that is new at every turn: its key is on neither side
		for event := int64(2); ctx.Err() == nil; event++ {
			if _, err := s.Write(t.Context(), gen, entriesOf(there, event), online.WinNewest); err != nil {
				errs <- fmt.Errorf("write %d: %w", event, err)
				return
			}
			late := entriesOf(keys[25+event%5:][:1], event)
			if _, err := s.Write(t.Context(), gen, append(late, entriesOf(there[:3], event)...), online.WinNewest); err != nil {
				errs <- fmt.Errorf("write %d of a new key: %w", event, err)
				return
			}
			events = event
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			cells, err := read(t.Context(), s, gen, slices.Concat(there, never)...)
			if err != nil {
				errs <- fmt.Errorf("read: %w", err)
				return
			}
			for i, cell := range cells {
				if (cell == nil) != (i >= len(there)) {
					errs <- fmt.Errorf("row %d of %d that are there: %x", i, len(there), cell)
					return
				}
			}
		}
	})
	move := func(from, to *onlinetest.Redis, others ...*onlinetest.Redis) {
		onlinetest.BeginMove(t, slot, from, to)
		for n := 1; n > 0; {
			for range 5 { // let the others see each step
				if _, err := read(t.Context(), s, gen, keys...); err != nil {
					t.Error(err)
				}
			}
			n = onlinetest.MoveKeys(t, slot, 3, from, to)
		}
		onlinetest.EndMove(t, slot, from, to, others...)
		if lost, err := s.CheckGenerations(t.Context(), []online.Checkpoint{{ID: gen.ID}}); err != nil || len(lost) > 0 {
			t.Errorf("lost %v, %v", lost, err)
		}
	}
	move(first, second, fresh)
	move(second, fresh, first)
	move(fresh, first, second)
	stop()
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	rows := map[string][]byte{}
	if err := s.Scan(t.Context(), gen, func(key, stored []byte) error {
		rows[string(key)] = bytes.Clone(stored)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, e := range entriesOf(there, events) {
		if !bytes.Equal(rows[string(e.Key)], e.Row) {
			t.Errorf("row %d: %x, want %x", i, rows[string(e.Key)], e.Row)
		}
	}
}

// TestScanWhileMoving: a scan does not pass over what moves from a primary that it has not walked yet to one that it has.
func TestScanWhileMoving(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 2, false)
	s := claimedURL(t, cluster.URL)
	create(t, s, gen)
	slotOfNode := map[*onlinetest.Redis]uint16{cluster.Primaries[0]: 0, cluster.Primaries[1]: 16384 / 2}
	nodes := slices.Clone(cluster.Primaries) // in the order of a scan
	slices.SortFunc(nodes, func(a, b *onlinetest.Redis) int { return strings.Compare(a.Addr, b.Addr) })
	early, late := keysOf(gen, slotOfNode[nodes[0]], 3), keysOf(gen, slotOfNode[nodes[1]], 3)
	write(t, s, gen, entriesOf(append(early, late...), 1)...)
	moved := false
	seen := map[string]bool{}
	slot := int(slotOfNode[nodes[1]])
	err := s.Scan(t.Context(), gen, func(key, _ []byte) error {
		seen[string(key)] = true
		if !moved {
			moved = true
			onlinetest.BeginMove(t, slot, nodes[1], nodes[0])
			for onlinetest.MoveKeys(t, slot, 10, nodes[1], nodes[0]) > 0 {
			}
			onlinetest.EndMove(t, slot, nodes[1], nodes[0])
		}
		return nil
	})
	if err != nil || len(seen) != 6 {
		t.Errorf("%d keys, %v", len(seen), err)
	}
	// A move that does not end.
	onlinetest.BeginMove(t, slot, nodes[0], nodes[1])
	if err := s.Scan(t.Context(), gen, func(_, _ []byte) error { return nil }); problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("got %v", err)
	}
}

// spread returns one key in each of the slots.
func spread(gen online.Generation, slots ...uint16) [][]byte {
	var keys [][]byte
	for _, slot := range slots {
		keys = append(keys, keysOf(gen, slot, 1)...)
	}
	return keys
}

// TestPrimaryLost: a primary that has lost its data, in one of the ways that there are, is noticed at the first absent
// row, and by a check; rows of the others answer.
func TestPrimaryLost(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 3, false)
	client := cluster.Client(t)
	const victim = 1
	for _, tt := range []struct {
		name    string
		lose    func(t *testing.T)
		session bool // whether the session tells, too
	}{
		{"flushed", func(t *testing.T) {
			if err := cluster.Primaries[victim].Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"started empty", func(t *testing.T) {
			cluster.Primaries[victim].Kill()
			cluster.Primaries[victim].Restart(t)
			for _, node := range cluster.Primaries {
				c := node.Client(t)
				testenv.Until(t, "the cluster is whole", func() bool {
					return strings.Contains(c.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
				})
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cluster.Flush(t)
			s := claimedURL(t, cluster.URL)
			create(t, s, gen)
			there := spread(gen, 100, 8000, 16000)
			absent := spread(gen, 101, 8001, 16001)
			write(t, s, gen, entriesOf(there, 1)...)
			if err := s.Checkpoint(t.Context(), online.Checkpoint{ID: gen.ID, Run: 7}); err != nil {
				t.Fatal(err)
			}
			before, err := s.Identity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			expected := []online.Checkpoint{{ID: gen.ID, Run: 7}}
			if lost, err := s.CheckGenerations(t.Context(), expected); err != nil || len(lost) > 0 {
				t.Fatalf("lost %v, %v", lost, err)
			}
			tt.lose(t)
			for i := range there {
				cells, err := read(t.Context(), s, gen, there[i])
				if i != victim && (err != nil || cells[0] == nil) || i == victim && !errors.Is(err, online.ErrGenerationLost) {
					t.Errorf("the row of primary %d: %x, %v", i, cells, err)
				}
				_, err = read(t.Context(), s, gen, absent[i])
				if i != victim && err != nil || i == victim && !errors.Is(err, online.ErrGenerationLost) {
					t.Errorf("an absent row of primary %d: %v", i, err)
				}
			}
			if _, err := s.Write(t.Context(), gen, entriesOf(there, 2), online.WinNewest); !errors.Is(err, online.ErrGenerationLost) {
				t.Errorf("write: %v", err)
			}
			if err := s.Checkpoint(t.Context(), online.Checkpoint{ID: gen.ID, Run: 8}); !errors.Is(err, online.ErrGenerationLost) {
				t.Errorf("checkpoint: %v", err)
			}
			// Another process, which has read nothing, sees it too.
			other := claimedURL(t, cluster.URL)
			for range 2 {
				lost, err := other.CheckGenerations(t.Context(), expected)
				if err != nil || !slices.Equal(lost, []online.GenerationID{gen.ID}) {
					t.Errorf("lost %v, %v", lost, err)
				}
			}
			for i := range absent {
				if _, err := read(t.Context(), s, gen, absent[i]); !errors.Is(err, online.ErrGenerationLost) {
					t.Errorf("an absent row of primary %d after the check: %v", i, err)
				}
			}
			after, err := s.Identity(t.Context())
			if err == nil && (after.Session != before.Session) != tt.session {
				t.Errorf("session %s became %s", before.Session, after.Session)
			}
			// A new generation is whole again, and the old one stays lost.
			next := online.Generation{ID: gen.ID + 1, Keyspace: gen.Keyspace}
			create(t, s, next)
			if _, err := read(t.Context(), s, next, there[victim]); err != nil {
				t.Error(err)
			}
			if _, err := read(t.Context(), s, gen, absent[victim]); !errors.Is(err, online.ErrGenerationLost) {
				t.Errorf("the old generation: %v", err)
			}
		})
	}
	_ = client
}

// TestSlotLost: slots of a dead primary that another one took over, empty; and one slot without its marker, that no check
// looks into before a read has.
func TestSlotLost(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 3, false)
	s := claimedURL(t, cluster.URL)
	client := cluster.Client(t)
	create(t, s, gen)
	expected := []online.Checkpoint{{ID: gen.ID}}
	check := func(want ...online.GenerationID) {
		t.Helper()
		if lost, err := s.CheckGenerations(t.Context(), expected); err != nil || !slices.Equal(lost, want) {
			t.Errorf("lost %v, %v; want %v", lost, err, want)
		}
	}
	check()
	const slot = 77 // no sentinel
	for _, key := range markersOf(t, client) {
		if redis.SlotOf(key) == slot {
			client.Del(t.Context(), key)
		}
	}
	check()
	if _, err := read(t.Context(), s, gen, spread(gen, slot)...); !errors.Is(err, online.ErrGenerationLost) {
		t.Errorf("got %v", err)
	}
	check(gen.ID)
	if n := len(markersOf(t, client)); n != 0 {
		t.Errorf("%d markers are left", n)
	}

	create(t, s, gen)
	write(t, s, gen, entriesOf(spread(gen, 100, 8000, 16000), 1)...)
	check()
	dead, heir := cluster.Primaries[1], cluster.Primaries[0]
	dead.Kill()
	for _, node := range []*onlinetest.Redis{heir, cluster.Primaries[2]} {
		c := node.Client(t)
		if err := c.ClusterDelSlotsRange(t.Context(), 16384/3, 2*16384/3-1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c := heir.Client(t)
	if err := c.ClusterAddSlotsRange(t.Context(), 16384/3, 2*16384/3-1).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), "cluster", "bumpepoch").Err(); err != nil {
		t.Fatal(err)
	}
	for _, node := range []*onlinetest.Redis{heir, cluster.Primaries[2]} {
		c := node.Client(t)
		onlinetest.WaitOwner(t, node, 8000, heir)
		testenv.Until(t, "the cluster is whole", func() bool {
			return strings.Contains(c.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
		})
	}
	testenv.Until(t, "the store follows", func() bool {
		_, err := read(t.Context(), s, gen, spread(gen, 8000)...)
		if err == nil {
			t.Fatal("a row that was there is told to be absent")
		}
		return errors.Is(err, online.ErrGenerationLost)
	})
	other := claimedURL(t, cluster.URL)
	settled(t, "another client checks the store", func() error {
		lost, err := other.CheckGenerations(t.Context(), expected)
		if err == nil && len(lost) != 1 {
			t.Errorf("lost %v", lost)
		}
		return err
	})
}

// settled waits until a call answers after a takeover: a client may still hold, or just be reading, what a node said before
// it knew of the heir.
func settled(t *testing.T, what string, call func() error) {
	t.Helper()
	testenv.Until(t, what, func() bool {
		err := call()
		if err != nil {
			wantUnavailable(t, err)
		}
		return err == nil
	})
}

// TestPrimaryWentBack: a replica takes over without the last writes of its primary.
func TestPrimaryWentBack(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 3, true)
	s := claimedURL(t, cluster.URL)
	create(t, s, gen)
	slots := []uint16{100, 8000, 16000} // one of each primary
	there := spread(gen, slots...)
	write(t, s, gen, entriesOf(there, 1)...)
	if err := s.Checkpoint(t.Context(), online.Checkpoint{ID: gen.ID, Run: 7}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range cluster.Primaries {
		node.AwaitReplica(t, cluster.Replicas[i])
	}
	living := append(slices.Clone(cluster.Primaries), cluster.Replicas...)
	failOver := func(victim int) {
		t.Helper()
		dead, heir := cluster.Primaries[victim], cluster.Replicas[victim]
		dead.Kill()
		living = slices.DeleteFunc(living, func(node *onlinetest.Redis) bool { return node == dead })
		if err := heir.Client(t).Do(t.Context(), "cluster", "failover", "takeover").Err(); err != nil {
			t.Fatal(err)
		}
		for _, node := range living {
			onlinetest.WaitOwner(t, node, slots[victim], heir)
		}
	}
	wantLost := func(run int64, want ...online.GenerationID) {
		t.Helper()
		settled(t, "the store is checked", func() error {
			lost, err := s.CheckGenerations(t.Context(), []online.Checkpoint{{ID: gen.ID, Run: run}})
			if err == nil && !slices.Equal(lost, want) {
				t.Errorf("lost %v, want %v", lost, want)
			}
			return err
		})
	}
	failOver(0) // with everything
	settled(t, "the store has another session", func() error {
		after, err := s.Identity(t.Context())
		if err == nil && after.Session == before.Session {
			t.Errorf("%+v, %+v", before, after)
		}
		return err
	})
	settled(t, "all rows are there", func() error {
		cells, err := read(t.Context(), s, gen, there...)
		if err == nil && slices.ContainsFunc(cells, func(c []byte) bool { return c == nil }) {
			t.Errorf("%x", cells)
		}
		return err
	})
	wantLost(7)
	cutOff(t, cluster.Primaries[1])
	settled(t, "the store takes rows", func() error {
		_, err := s.Write(t.Context(), gen, entriesOf(there, 2), online.WinNewest)
		return err
	})
	settled(t, "the store takes a run", func() error {
		return s.Checkpoint(t.Context(), online.Checkpoint{ID: gen.ID, Run: 8})
	})
	failOver(1) // without run 8
	wantLost(8, gen.ID)
}

// cutOff keeps a primary's replicas from following it.
func cutOff(t *testing.T, primary *onlinetest.Redis) {
	t.Helper()
	client := primary.Client(t)
	for _, args := range [][]any{{"acl", "setuser", "default", "-psync", "-sync"}, {"client", "kill", "type", "replica"}} {
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
