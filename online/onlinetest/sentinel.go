package onlinetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Sentinel is a primary with a replica, and sentinels that watch them.
type Sentinel struct {
	URL              string // redis-sentinel://…/primary?sentinel_password=…
	Primary, Replica *Redis
	Watchers         []*Redis
}

// WatcherPassword is what the sentinels want to hear.
const WatcherPassword = "canary"

// StartSentinel starts a primary, a replica and three sentinels that end with the test. A primary that is silent for so
// long is taken for dead.
func StartSentinel(t testing.TB, downAfter time.Duration) *Sentinel {
	t.Helper()
	s := &Sentinel{Primary: StartRedisServer(t)}
	host, port, err := net.SplitHostPort(s.Primary.Addr)
	must(t, err)
	s.Replica = StartRedisServer(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0", "--dir", t.TempDir())
	primary := s.Primary.Client(t)
	defer primary.Close()
	Until(t, "the replica follows its primary", func() bool {
		return strings.Contains(primary.Info(t.Context(), "replication").Val(), "state=online")
	})
	var addrs []string
	for range 3 {
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		must(t, os.WriteFile(config, fmt.Appendf(nil, `sentinel monitor primary %s %s 2
sentinel down-after-milliseconds primary %[4]d
sentinel failover-timeout primary 3000
requirepass %[3]s
sentinel sentinel-pass %[3]s
`, host, port, WatcherPassword, downAfter.Milliseconds()), 0o600))
		w := startRedis(t, Redis{sentinel: config})
		s.Watchers, addrs = append(s.Watchers, w), append(addrs, w.Addr)
	}
	for _, w := range s.Watchers {
		client := redis.NewSentinelClient(&redis.Options{Addr: w.Addr, Password: WatcherPassword, Protocol: 2, DisableIdentity: true})
		defer client.Close()
		Until(t, "the sentinels know each other", func() bool {
			state, err := client.Master(t.Context(), "primary").Result()
			return err == nil && state["num-other-sentinels"] == "2" && state["num-slaves"] == "1"
		})
	}
	s.URL = "redis-sentinel://" + strings.Join(addrs, ",") + "/primary?sentinel_password=" + WatcherPassword
	return s
}
