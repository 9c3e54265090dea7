package redis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

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

func TestConformanceCluster(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 3, false)
	onlinetest.Run(t, func(t *testing.T) onlinetest.Subject {
		client := cluster.Client(t)
		cluster.Flush(t)
		each(t, client, func(ctx context.Context, node *goredis.Client) error { return node.ScriptFlush(ctx).Err() })
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		return onlinetest.Subject{
			Open: func(t *testing.T) online.Store { return openURL(t, cluster.URL) },
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

var _ = fmt.Sprint
var _ = rand.IntN
var _ = strings.Contains
