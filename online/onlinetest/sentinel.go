package onlinetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/testenv"
)

// Sentinel is a primary with a replica, and sentinels that watch them.
type Sentinel struct {
	URL              string // redis-sentinel://…/primary?sentinel_password=…
	Primary, Replica *Redis
	Watchers         []*Redis
}

// WatcherPassword is what the sentinels want to hear.
const WatcherPassword = "canary"

// StartSentinel starts a primary, a replica and three sentinels that end with the test. They take no primary for dead
// before Notice.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s := &Sentinel{Primary: StartRedisServer(t)}
	host, port, err := net.SplitHostPort(s.Primary.Addr)
	must(t, err)
	s.Replica = StartRedisServer(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0", "--dir", t.TempDir())
	primary := s.Primary.Client(t)
	defer primary.Close()
	testenv.Until(t, "the replica follows its primary", func() bool {
		return strings.Contains(primary.Info(t.Context(), "replication").Val(), "state=online")
	})
	var addrs []string
	for range 3 {
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		must(t, os.WriteFile(config, fmt.Appendf(nil, `sentinel monitor primary %s %s 2
sentinel down-after-milliseconds primary 3600000
sentinel failover-timeout primary 3000
requirepass %[3]s
sentinel sentinel-pass %[3]s
`, host, port, WatcherPassword), 0o600))
		w := startRedis(t, Redis{sentinel: config})
		s.Watchers, addrs = append(s.Watchers, w), append(addrs, w.Addr)
	}
	for _, w := range s.Watchers {
		client := watcher(w)
		defer client.Close()
		testenv.Until(t, "the sentinels know each other", func() bool {
			state, err := client.Master(t.Context(), "primary").Result()
			return err == nil && state["num-other-sentinels"] == "2" && state["num-slaves"] == "1"
		})
	}
	s.URL = "redis-sentinel://" + strings.Join(addrs, ",") + "/primary?sentinel_password=" + WatcherPassword
	return s
}

func watcher(w *Redis) *redis.SentinelClient {
	return redis.NewSentinelClient(&redis.Options{Addr: w.Addr, Password: WatcherPassword, Protocol: 2, DisableIdentity: true})
}

// Notice has the sentinels take a primary for dead that is silent for so long.
func (s *Sentinel) Notice(t testing.TB, downAfter time.Duration) {
	t.Helper()
	for _, w := range s.Watchers {
		client := watcher(w)
		defer client.Close()
		must(t, client.Set(t.Context(), "primary", "down-after-milliseconds", strconv.FormatInt(downAfter.Milliseconds(), 10)).Err())
	}
}

// AwaitFailover waits until the replica is the primary and every sentinel says so.
func (s *Sentinel) AwaitFailover(t testing.TB) {
	t.Helper()
	replica := s.Replica.Client(t)
	defer replica.Close()
	testenv.Until(t, "the replica is the primary", func() bool {
		role, ok := replica.Do(t.Context(), "role").Val().([]any)
		return ok && len(role) > 0 && role[0] == "master"
	})
	for _, w := range s.Watchers {
		client := watcher(w)
		defer client.Close()
		testenv.Until(t, "a sentinel names the replica", func() bool {
			at, err := client.GetMasterAddrByName(t.Context(), "primary").Result()
			return err == nil && strings.Join(at, ":") == s.Replica.Addr
		})
	}
}
