package redis_test

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

// advice returns what a store says of itself, by the names of the checks.
func advice(t *testing.T, url, registry string) map[string]checkup.Check {
	t.Helper()
	s := openURL(t, url)
	defer s.Close()
	found := map[string]checkup.Check{}
	for _, c := range s.Advise(t.Context(), registry, "p1") {
		if c.Name == "" || c.Text == "" || c.State == checkup.Warning && c.Fix == "" {
			t.Errorf("%+v", c)
		}
		found[c.Name] = c
	}
	return found
}

func wantCheck(t *testing.T, c checkup.Check, state checkup.State, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(c.Text+" FIX "+c.Fix, part) {
			t.Errorf("%s: %q lacks %q", c.Name, c.Text+" FIX "+c.Fix, part)
		}
	}
	if c.State != state {
		t.Errorf("%s is %s: %s", c.Name, c.State, c.Text)
	}
}

// fill writes entities of five views with rows of so many bytes.
func fill(t *testing.T, s *redis.Store, entities, size int) {
	t.Helper()
	for id := range online.GenerationID(5) {
		g := online.Generation{ID: 50 + id, Keyspace: gen.Keyspace}
		create(t, s, g)
		entries := make([]online.Entry, entities)
		for k := range entries {
			row := onlinetest.At(1, int64(k)).Row()
			entries[k] = online.Entry{Key: onlinetest.Key(int64(k)), Row: append(row, bytes.Repeat([]byte{byte(k)}, size-len(row))...)}
		}
		write(t, s, g, entries...)
	}
}

// TestMemoryAdvice: the setting that is advised does what is promised of it, by about as much.
func TestMemoryAdvice(t *testing.T) {
	server := onlinetest.StartRedisServer(t, "--enable-debug-command", "yes", "--dir", t.TempDir())
	client := server.Client(t)
	s := claimed(t, server)
	wantCheck(t, advice(t, server.URL, "registry")["memory"], checkup.OK, "no entity is stored yet", "hash-max-listpack-value is 64")
	fill(t, s, 300, 64)
	wantCheck(t, advice(t, server.URL, "registry")["memory"], checkup.OK, "entities are compact", "longest row has 64")
	fill(t, s, 300, 100)
	c := advice(t, server.URL, "registry")["memory"]
	wantCheck(t, c, checkup.Warning, "200 of 200 sampled entities", "up to 100 bytes", "CONFIG SET hash-max-listpack-value 128")
	promised := number(t, c.Text, `about (\d+)`)
	before := number(t, c.Text, `tables of (\d+)`)
	if err := client.ConfigSet(t.Context(), "hash-max-listpack-value", "128").Err(); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, advice(t, server.URL, "registry")["memory"], checkup.OK, "still hash tables", "restart it")
	if err := client.Do(t.Context(), "debug", "reload").Err(); err != nil {
		t.Fatal(err)
	}
	c = advice(t, server.URL, "registry")["memory"]
	wantCheck(t, c, checkup.OK, "entities are compact")
	after := number(t, c.Text, `compact: (\d+)`)
	t.Logf("%d bytes became %d, promised were %d", before, after, promised)
	if after >= before || promised < after*85/100 || promised > after*115/100 {
		t.Errorf("%d bytes became %d, promised were %d", before, after, promised)
	}
	fill(t, s, 300, 2000)
	wantCheck(t, advice(t, server.URL, "registry")["memory"], checkup.OK, "too long to be kept compact")
}

func number(t *testing.T, text, pattern string) int {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%q has no %s", text, pattern)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantEvicts wants a store that tells whether it may drop rows, and what time it is.
func wantEvicts(t *testing.T, url string, want bool) {
	t.Helper()
	s := openURL(t, url)
	defer s.Close()
	if evicts, known := s.Evicts(t.Context()); evicts != want || !known {
		t.Errorf("%s: evicts %v, known %v", url, evicts, known)
	}
	offsets, err := s.Offsets(t.Context(), func() time.Time { return time.Now().Add(-time.Hour) })
	if err != nil || len(offsets) == 0 {
		t.Fatal(offsets, err)
	}
	for _, o := range offsets {
		if o.Server == "" || (o.Ahead-time.Hour).Abs() > time.Minute {
			t.Errorf("%+v", o)
		}
	}
}

func TestAdvice(t *testing.T) {
	server := onlinetest.StartRedisServer(t, "--maxmemory-policy", "allkeys-lru")
	host, port, _ := strings.Cut(server.Addr, ":")
	found := advice(t, server.URL, "registry")
	wantCheck(t, found["online store"], checkup.OK, "Redis ", server.Addr, "one server", "a ping takes")
	wantCheck(t, found["store prefix"], checkup.OK, "nothing is there yet")
	wantCheck(t, found["server version"], checkup.OK, "Redis ")
	wantEvicts(t, server.URL, true)
	wantCheck(t, found["eviction"], checkup.Warning, "allkeys-lru", "maxmemory-policy noeviction")
	wantCheck(t, found["durability"], checkup.Warning, "on disk: no; replicas: no", server.Addr, "add a replica")
	claimed(t, server)
	wantCheck(t, advice(t, server.URL, "another")["store prefix"], checkup.Error, "another registry")
	wantCheck(t, advice(t, server.URL, "registry")["store prefix"], checkup.OK, "p1:")

	replica := onlinetest.StartRedisServer(t, "--replicaof", host+" "+port, "--dir", t.TempDir())
	client := server.Client(t)
	testenv.Until(t, "the replica follows", func() bool { return strings.Contains(client.Info(t.Context(), "replication").Val(), "state=online") })
	wantCheck(t, advice(t, replica.URL, "registry")["online store"], checkup.Error, "is a replica")
	wantCheck(t, advice(t, server.URL, "registry")["durability"], checkup.OK, "replicas: yes")
	if err := client.ConfigSet(t.Context(), "save", "900 1").Err(); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, advice(t, server.URL, "registry")["durability"], checkup.OK, "on disk: yes")

	// Who may not ask is told less.
	addUser(t, client)
	limited := strings.Replace(server.URL, "://", "://app:canary@", 1)
	wantCheck(t, advice(t, limited, "registry")["memory"], checkup.OK, "no entity is stored yet")
	if err := client.Do(t.Context(), "acl", "setuser", "app", "-config|get").Err(); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, advice(t, limited, "registry")["memory"], checkup.OK, "does not tell its settings", "NOPERM")

	server.Kill()
	gone := openURL(t, server.URL)
	defer gone.Close()
	if _, known := gone.Evicts(t.Context()); known {
		t.Error("a server that is not there tells its policy")
	}
	found = advice(t, server.URL, "registry")
	wantCheck(t, found["online store"], checkup.Error, "does not answer")
	if len(found) != 1 {
		t.Errorf("%d checks of a server that is not there", len(found))
	}
}

func TestClusterAdvice(t *testing.T) {
	cluster := onlinetest.StartCluster(t, 3, false)
	fill(t, claimedURL(t, cluster.URL), 300, 100)
	found := advice(t, cluster.URL, "registry")
	wantCheck(t, found["online store"], checkup.OK, "a cluster of 3 primaries")
	wantEvicts(t, cluster.URL, false)
	wantCheck(t, found["memory"], checkup.Warning, "300 of 300 sampled")
	wantCheck(t, found["durability"], checkup.Warning, "replicas: no", cluster.Primaries[0].Addr, cluster.Primaries[2].Addr)
	if err := cluster.Primaries[1].Client(t).ClusterDelSlots(t.Context(), 8000).Err(); err != nil {
		t.Fatal(err)
	}
	// Once the others know, the slot is nobody's.
	testenv.Until(t, "the hole is seen", func() bool {
		found = advice(t, cluster.URL, "registry")
		return found["online store"].State == checkup.Error
	})
	wantCheck(t, found["online store"], checkup.Error, "serves slot 8000", "redis-cli --cluster check")
}
