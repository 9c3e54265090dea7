package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

var gen = online.Generation{ID: 40, Keyspace: 3}

func base36(id online.GenerationID) string { return strconv.FormatUint(uint64(id), 36) }

// hashOf is the documented key of an entity.
func hashOf(gen online.Generation, key []byte) string {
	return fmt.Sprintf("p1:%d:%s", gen.Keyspace, key)
}

func write(t *testing.T, s *redis.Store, gen online.Generation, e ...online.Entry) online.WriteResult {
	t.Helper()
	got, err := s.Write(t.Context(), gen, e, online.WinNewest)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func create(t testing.TB, s *redis.Store, gens ...online.Generation) {
	t.Helper()
	for _, gen := range gens {
		if err := s.CreateGeneration(t.Context(), gen); err != nil {
			t.Fatal(err)
		}
	}
}

func read(ctx context.Context, s *redis.Store, gen online.Generation, keys ...[]byte) ([][]byte, error) {
	var rows online.Rows
	err := s.Read(ctx, []online.Group{{
		Keyspace: gen.Keyspace, Generations: []online.GenerationID{gen.ID}, Keys: keys,
	}}, &rows)
	return rows.Cells, err
}

// TestExpiry: a hash lives as long as the longest of what was written to it, for good if one row has no end.
func TestExpiry(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	other := online.Generation{ID: 41, Keyspace: gen.Keyspace}
	create(t, s, gen, other)
	const hour = int64(3600e6)
	soon := time.Now().UnixMicro() + hour
	event := int64(0)
	key := int64(0)
	for _, tt := range []struct {
		name  string
		setup func(hash string)
		first int64 // the other generation's row; -1: none
		next  int64
		want  int64 // 0: no end
	}{
		{"new", nil, -1, soon, soon},
		{"new without end", nil, -1, 0, 0},
		{"longer", nil, soon, soon + hour, soon + hour},
		{"never shorter", nil, soon + hour, soon, soon + hour},
		{"equal", nil, soon, soon, soon},
		{"without end after one", nil, soon, 0, 0},
		{"an end after none", nil, 0, soon, 0},
		{"an end after one without, by hand", func(hash string) { client.HSet(t.Context(), hash, "zz", "x") }, -1, soon, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key++
			hash := hashOf(gen, onlinetest.Key(key))
			if tt.setup != nil {
				tt.setup(hash)
			}
			if tt.first >= 0 {
				write(t, s, other, online.Entry{Key: onlinetest.Key(key), Row: onlinetest.At(1, 1).Row(), Expire: tt.first})
			}
			event++
			e := online.Entry{Key: onlinetest.Key(key), Row: onlinetest.At(event, 1).Row(), Expire: tt.next}
			check := func() {
				t.Helper()
				want := (tt.want + 999) / 1000
				if tt.want == 0 {
					want = -1
				}
				got, err := client.Do(t.Context(), "pexpiretime", hash).Int64()
				if err != nil || got != want {
					t.Errorf("ends at %d (%v), want %d", got, err, want)
				}
			}
			write(t, s, gen, e)
			check()
			write(t, s, gen, e) // a repeat, as after a lost answer
			check()
			e.Row, e.Expire = onlinetest.At(event-1, 1).Row(), soon+9*hour // a row that loses has no say
			write(t, s, gen, e)
			check()
		})
	}
	// A row stored again with a later end, because a ttl was raised, keeps the hash longer.
	e := online.Entry{Key: onlinetest.Key(99), Row: onlinetest.At(1, 1).Row(), Expire: soon}
	write(t, s, gen, e)
	e.Expire = soon + hour
	if got := write(t, s, gen, e); got.Older != 1 {
		t.Errorf("%+v", got)
	}
	got, err := client.Do(t.Context(), "pexpiretime", hashOf(gen, e.Key)).Int64()
	if err != nil || got != (e.Expire+999)/1000 {
		t.Errorf("ends at %d (%v), want %d", got, err, e.Expire/1000)
	}
}

// TestCompact: five views of ten ordinary features stay in Redis's compact encoding under its default settings.
func TestCompact(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	var fields []row.Field
	var cols []*columnar.Vector
	for i := range 5 {
		number, count := columnar.Type{Kind: columnar.Float64}, columnar.Type{Kind: columnar.Int64}
		fields = append(fields, row.Field{Name: "f" + strconv.Itoa(i), Type: number}, row.Field{Name: "i" + strconv.Itoa(i), Type: count})
		cols = append(cols, columnar.NewVector(number, 1), columnar.NewVector(count, 1))
		cols[2*i].AppendFloat64(1.0 / 3)
		cols[2*i+1].AppendInt64(999_999)
	}
	stored := row.NewLayout(fields).AppendRow(nil, 983448000e6, row.NoCreated, cols, 0)
	for id := range online.GenerationID(5) {
		g := online.Generation{ID: 100 + id, Keyspace: gen.Keyspace}
		create(t, s, g)
		write(t, s, g, online.Entry{Key: onlinetest.Key(1), Row: stored})
	}
	hash := hashOf(gen, onlinetest.Key(1))
	if got := client.ObjectEncoding(t.Context(), hash).Val(); got != "listpack" {
		t.Errorf("rows of %d bytes are kept as %s", len(stored), got)
	}
	t.Logf("%d bytes for an entity of 50 features", client.MemoryUsage(t.Context(), hash).Val())
}

// TestWrongType: another's value in place of an entity's hash damages that entity alone.
func TestWrongType(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	create(t, s, gen)
	var entries []online.Entry
	for k := range int64(250) {
		entries = append(entries, online.Entry{Key: onlinetest.Key(k), Row: onlinetest.At(1, k).Row()})
	}
	if err := client.Set(t.Context(), hashOf(gen, onlinetest.Key(120)), "theirs", 0).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Write(t.Context(), gen, entries, online.WinNewest)
	if err == nil || !strings.Contains(err.Error(), strconv.Quote(hashOf(gen, onlinetest.Key(120)))) {
		t.Errorf("a write must name the key: %v", err)
	}
	if got.Written != 249 {
		t.Errorf("%+v, want the others written", got)
	}
	cells, err := read(t.Context(), s, gen, onlinetest.Key(119), onlinetest.Key(120), onlinetest.Key(121))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(cells[0], entries[119].Row) || !bytes.Equal(cells[2], entries[121].Row) {
		t.Error("the neighbours do not answer")
	}
	if _, _, err := row.Times(cells[1]); cells[1] == nil || !errors.Is(err, row.ErrDamaged) {
		t.Errorf("got %q, %v", cells[1], err)
	}
	// Neither a scan nor a drop minds, and the foreign value stays.
	n := 0
	if err := s.Scan(t.Context(), gen, func(_, _ []byte) error { n++; return nil }); err != nil || n < 249 {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := s.DropGeneration(t.Context(), gen); err != nil {
		t.Error(err)
	}
	if v := client.Get(t.Context(), hashOf(gen, onlinetest.Key(120))).Val(); v != "theirs" {
		t.Errorf("the foreign value became %q", v)
	}
}

// TestSharedServer: keys of others survive everything, those of prefixes like ours too.
func TestSharedServer(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	second := open(t, server)
	defer second.Close()
	if _, err := second.Claim(t.Context(), "registry", "p1"); err != nil {
		t.Errorf("a second process of the same registry: %v", err)
	}
	foreign := open(t, server)
	defer foreign.Close()
	if _, err := foreign.Claim(t.Context(), "another", "p1"); !errors.Is(err, online.ErrForeignStore) {
		t.Errorf("another registry: %v", err)
	}
	if _, err := foreign.Claim(t.Context(), "another", "p12"); err != nil {
		t.Error(err)
	}
	create(t, s, gen)
	create(t, foreign, gen)
	write(t, s, gen, online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()})
	write(t, foreign, gen, online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 2).Row()})
	unused := base36(99)
	if err := client.HSet(t.Context(), hashOf(gen, onlinetest.Key(1)), unused, "no row", "Not-A-Number", onlinetest.At(1, 1).Row()).Err(); err != nil {
		t.Fatal(err)
	}
	canaries := []string{"p", "p1", "p1:", "p1:30:x", "p12:3:x", "xp1:3:x", "p1:g:zz", "provender:p", "a*", "P1:3:x"}
	for _, key := range canaries {
		if err := client.HSet(t.Context(), key, base36(gen.ID), "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing but a row in a hash of ours, or a marker, is taken for a generation's.
	for _, key := range []string{"p1:", "p1:030:x", "p12:3:x", "p1:g:zz", "p1:x:y"} {
		if err := client.HSet(t.Context(), key, unused, onlinetest.At(1, 1).Row()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Set(t.Context(), "p1:g:yy", "another\n7", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Generations(t.Context()); err != nil || !slices.Equal(found, []online.Generation{gen}) {
		t.Errorf("generations %v, %v", found, err)
	}
	if err := s.DropGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	for _, key := range canaries {
		if v := client.HGet(t.Context(), key, base36(gen.ID)).Val(); v != "x" {
			t.Errorf("canary %s is gone", key)
		}
	}
	if client.HExists(t.Context(), hashOf(gen, onlinetest.Key(1)), base36(gen.ID)).Val() {
		t.Error("our row is still there")
	}
	if cells, err := read(t.Context(), foreign, gen, onlinetest.Key(1)); err != nil || !bytes.Equal(cells[0], onlinetest.At(1, 2).Row()) {
		t.Errorf("the other registry's row: %x, %v", cells, err)
	}
}

// TestTakenOver: after everything was lost and another registry took the prefix, nothing of it is touched or answered.
func TestTakenOver(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	create(t, s, gen)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	foreign := open(t, server)
	defer foreign.Close()
	if _, err := foreign.Claim(t.Context(), "another", "p1"); err != nil {
		t.Fatal(err)
	}
	create(t, foreign, gen)
	e := online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()}
	write(t, foreign, gen, e)
	if _, err := s.Identity(t.Context()); !errors.Is(err, online.ErrForeignStore) {
		t.Errorf("identity: %v", err)
	}
	if _, err := s.Write(t.Context(), gen, []online.Entry{e}, online.WinNewest); !errors.Is(err, online.ErrGenerationLost) {
		t.Errorf("write: %v", err)
	}
	if err := s.DropGeneration(t.Context(), gen); !errors.Is(err, online.ErrForeignStore) {
		t.Errorf("drop: %v", err)
	}
	if _, err := read(t.Context(), s, gen, onlinetest.Key(2)); !errors.Is(err, online.ErrGenerationLost) {
		t.Errorf("read: %v", err)
	}
	if cells, err := read(t.Context(), foreign, gen, onlinetest.Key(1)); err != nil || !bytes.Equal(cells[0], e.Row) {
		t.Errorf("the new owner's row: %x, %v", cells, err)
	}
}

// TestServerAway: a server that is gone is an error that says when to retry, never an absent row; one that comes back
// empty has lost the generation.
func TestServerAway(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	// After as many failed dials as there are connections, the client dials once a second only.
	s, err := redis.Open(server.URL, redis.Options{PoolSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Claim(t.Context(), "registry", "p1"); err != nil {
		t.Fatal(err)
	}
	create(t, s, gen)
	write(t, s, gen, online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()})
	server.Kill()
	for range 20 {
		_, err := read(t.Context(), s, gen, onlinetest.Key(1))
		wantUnavailable(t, err)
	}
	_, err = s.Write(t.Context(), gen, []online.Entry{{Key: onlinetest.Key(1), Row: onlinetest.At(2, 1).Row()}}, online.WinNewest)
	wantUnavailable(t, err)
	_, err = s.Claim(t.Context(), "registry", "p1")
	wantUnavailable(t, err)
	wantUnavailable(t, s.Ping(t.Context()))
	server.Restart(t)
	if _, err := read(t.Context(), s, gen, onlinetest.Key(1)); !errors.Is(err, online.ErrGenerationLost) {
		t.Errorf("an empty server: %v", err)
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Code != problem.Unavailable || p.RetryAfter == 0 {
		t.Fatalf("got %v", err)
	}
}

// TestServerHung: a server that does not answer holds a call no longer than its deadline, or the read timeout.
func TestServerHung(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	create(t, claimed(t, server), gen)
	s := impatient(t, server, redis.Options{ReadTimeout: 50 * time.Millisecond})
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer server.Process.Signal(syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := read(ctx, s, gen, onlinetest.Key(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_, err := read(t.Context(), s, gen, onlinetest.Key(1))
	wantUnavailable(t, err)
}

// TestOutOfMemory: a full server fails the write and goes on answering.
func TestOutOfMemory(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	create(t, s, gen)
	e := online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()}
	write(t, s, gen, e)
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Write(t.Context(), gen, []online.Entry{{Key: onlinetest.Key(2), Row: e.Row}}, online.WinNewest)
	if problem.CodeOf(err) != problem.Exhausted {
		t.Errorf("got %v", err)
	}
	if cells, err := read(t.Context(), s, gen, e.Key); err != nil || !bytes.Equal(cells[0], e.Row) {
		t.Errorf("%x, %v", cells, err)
	}
}

// TestScriptLost: a server that forgets its scripts, as after a restart, is told again.
func TestScriptLost(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s, client := claimed(t, server), server.Client(t)
	create(t, s, gen)
	for event := range int64(3) {
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if got := write(t, s, gen, online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(event, 0).Row()}); got.Written != 1 {
			t.Errorf("%+v", got)
		}
	}
}

func TestEvictionWarning(t *testing.T) {
	for policy, want := range map[string]bool{"noeviction": false, "allkeys-lru": true} {
		server := onlinetest.StartRedisServer(t, "--maxmemory-policy", policy)
		var log bytes.Buffer
		s, err := redis.Open(server.URL, redis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Claim(t.Context(), "registry", "p1"); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), policy); got != want {
			t.Errorf("%s: the log says %q", policy, log.String())
		}
	}
}

// TestURLs: what can't be opened says why, and never shows the URL, which may hold a password.
func TestURLs(t *testing.T) {
	for _, url := range []string{
		"", "localhost:6379", "http://x", "redis://:CANARY@host:port/0", "redis://user:CAN/ARY@host", "redis://:CANARY@h/x",
		"redis://:CANARY%zz@h", "rediss://:CANARY@h:1/0?nosuch=CANARY", "unix://:CANARY@/tmp/x",
	} {
		_, err := redis.Open(url, redis.Options{})
		if problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%q: got %v", url, err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), "CAN") {
			t.Errorf("%v shows the password", err)
		}
	}
	s, err := redis.Open("redis://user:CANARY@127.0.0.1:1/0", redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil || strings.Contains(fmt.Sprintf("%+v", err), "CANARY") {
		t.Errorf("got %v", err)
	}
}

func TestPrefixes(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	s := open(t, server)
	defer s.Close()
	for _, prefix := range []string{"", "a:b", "a*", "[a]", "provender", strings.Repeat("x", 33), "\\", "{a}"} {
		if _, err := s.Claim(t.Context(), "registry", prefix); problem.CodeOf(err) != problem.Invalid {
			t.Errorf("%q: got %v", prefix, err)
		}
	}
	if _, err := read(t.Context(), s, gen, nil); err == nil {
		t.Error("read before a claim")
	}
}
