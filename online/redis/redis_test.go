package redis_test

import (
	"testing"

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

func TestConformance(t *testing.T) {
	conformance(t, onlinetest.StartRedisServer(t))
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
	conformance(t, server)
}

func conformance(t *testing.T, server *onlinetest.Redis) {
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
			Open: func(t *testing.T) online.Store { return open(t, server) },
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
