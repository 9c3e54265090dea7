package redis_test

import (
	"path/filepath"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

func open(t testing.TB, server *onlinetest.Redis) *redis.Store {
	t.Helper()
	s, err := redis.Open(server.URL, redis.Options{DropRate: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claimed opens a store that ends with the test, and claims it.
func claimed(t testing.TB, server *onlinetest.Redis) *redis.Store {
	t.Helper()
	s := open(t, server)
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Claim(t.Context(), "registry", "p1"); err != nil {
		t.Fatal(err)
	}
	return s
}

// impatient is claimed, whose server may be late for the first answer, not yet for those that count.
func impatient(t *testing.T, server *onlinetest.Redis, opts redis.Options) *redis.Store {
	t.Helper()
	s, err := redis.Open(server.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	testenv.Until(t, "the server answers in time", func() bool {
		_, err := s.Claim(t.Context(), "registry", "p1")
		if err != nil {
			wantUnavailable(t, err)
		}
		return err == nil
	})
	return s
}

func TestConformance(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	conformance(t, server, server.URL, redis.Options{})
}

// TestConformanceTLS runs the suite over TLS, in a database of its own, as a user who may do no more than the documentation says.
func TestConformanceTLS(t *testing.T) {
	certificates := onlinetest.NewCertificates(t)
	server := onlinetest.StartRedisTLS(t, certificates)
	server.Database = 5
	addUser(t, server.Client(t))
	url := "rediss://app:canary@" + server.Addr + "/5?tls_ca=ca.pem&tls_cert=cert.pem&tls_key=key.pem&client_name=suite"
	conformance(t, server, url, redis.Options{Dir: certificates.Dir})
}

// TestConformanceVersions runs the suite on older and other servers, as a user with the documented rights, which every
// version must understand.
func TestConformanceVersions(t *testing.T) {
	for _, version := range onlinetest.Versions {
		t.Run(version, func(t *testing.T) {
			root := filepath.Join("..", "..")
			server := onlinetest.StartRedisVersion(t, root, version)
			addUser(t, server.Client(t))
			conformance(t, server, "redis://app:canary@"+server.Addr, redis.Options{})
			wantCheck(t, advice(t, "redis://app:canary@"+server.Addr, "registry")["memory"], checkup.OK, "-value is 64")
			t.Run("Cluster", func(t *testing.T) { conformanceCluster(t, onlinetest.StartClusterVersion(t, root, version, 2)) })
		})
	}
}

// addUser adds a user with the documented rights to the keys of prefix p1.
func addUser(t testing.TB, client *goredis.Client) {
	t.Helper()
	args := []any{"acl", "setuser", "app", "on", ">canary", "-@all", "resetchannels", "~provender:p1", "~p1:*"}
	for _, right := range redis.Rights {
		args = append(args, right)
	}
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestConformanceSentinel runs the suite on the primary that sentinels name.
func TestConformanceSentinel(t *testing.T) {
	sentinel := onlinetest.StartSentinel(t)
	conformance(t, sentinel.Primary, sentinel.URL, redis.Options{})
}

// TestConformanceInLocale runs the suite where Lua's order of strings is not that of bytes.
func TestConformanceInLocale(t *testing.T) {
	server := onlinetest.StartRedisInLocale(t)
	client := server.Client(t)
	n, err := client.Eval(t.Context(), `if 'a' < 'B' then return 1 end return 0`, nil).Int()
	if err != nil {
		t.Fatal(err)
	}
	if n != 1 {
		t.Fatal("the server compares strings as bytes: the locale is not in force")
	}
	_ = client.Close()
	conformance(t, server, server.URL, redis.Options{})
}

// conformance runs the suite on the store of a URL, which lies in server.
func conformance(t *testing.T, server *onlinetest.Redis, url string, opts redis.Options) {
	opts.DropRate = 1 << 30
	onlinetest.Run(t, func(t *testing.T) onlinetest.Subject {
		raw := func(t *testing.T, args ...any) {
			t.Helper()
			c := server.Client(t)
			defer c.Close()
			if err := c.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		raw(t, "flushall")
		raw(t, "script", "flush")
		return onlinetest.Subject{
			Open: func(t *testing.T) online.Store {
				s, err := redis.Open(url, opts)
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			LoseMarker: func(t *testing.T, gen online.GenerationID) {
				raw(t, "del", "p1:g:"+base36(gen))
			},
			LoseAll: func(t *testing.T) { raw(t, "flushall") },
			Overwrite: func(t *testing.T, gen online.Generation, key, stored []byte) {
				raw(t, "hset", hashOf(gen, key), base36(gen.ID), stored)
			},
		}
	})
}
