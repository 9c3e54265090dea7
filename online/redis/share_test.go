package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

// TestSharedReads: reads that share pipelines get their own rows, whatever their sizes, and whoever gives up meanwhile.
func TestSharedReads(t *testing.T) {
	s := claimed(t, onlinetest.StartRedisServer(t))
	const keys = 500
	gens := []online.Generation{{ID: 1, Keyspace: 3}, {ID: 2, Keyspace: 3}, {ID: 3, Keyspace: 4}}
	create(t, s, gens...)
	for _, g := range gens {
		entries := make([]online.Entry, keys)
		for k := range entries {
			entries[k] = online.Entry{Key: onlinetest.Key(int64(k)), Row: onlinetest.At(int64(k), int64(g.ID)*1000+int64(k)).Row()}
		}
		write(t, s, g, entries...)
	}
	rnd := testenv.Rand(t)
	var wg sync.WaitGroup
	for range 32 {
		seed := rnd.Uint64()
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0))
			var rows online.Rows
			for range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rnd.IntN(1000))*time.Microsecond)
				}
				err := readRandom(ctx, s, rnd, keys, &rows)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// readRandom reads random keys, some of them absent or null, from two keyspaces, and checks what comes back.
func readRandom(ctx context.Context, s *redis.Store, rnd *rand.Rand, keys int, rows *online.Rows) error {
	groups := []online.Group{
		{Keyspace: 3, Generations: []online.GenerationID{1, 2}[:rnd.IntN(3)]},
		{Keyspace: 4, Generations: []online.GenerationID{3}},
	}
	want := make([][]byte, 0, 64)
	for g := range groups {
		for range rnd.IntN([]int{2, 30, 300}[rnd.IntN(3)]) {
			k := rnd.Int64N(int64(keys) + 20)
			if k >= int64(keys)+10 {
				groups[g].Keys = append(groups[g].Keys, nil)
			} else {
				groups[g].Keys = append(groups[g].Keys, onlinetest.Key(k))
			}
			for _, id := range groups[g].Generations {
				if k < int64(keys) {
					want = append(want, onlinetest.At(k, int64(id)*1000+k).Row())
				} else {
					want = append(want, nil)
				}
			}
		}
	}
	if err := s.Read(ctx, groups, rows); err != nil {
		return err
	}
	if len(rows.Cells) != len(want) {
		return fmt.Errorf("%d cells of %d", len(rows.Cells), len(want))
	}
	for i := range want {
		if !bytes.Equal(rows.Cells[i], want[i]) || (rows.Cells[i] == nil) != (want[i] == nil) {
			return fmt.Errorf("cell %d: got %x, want %x", i, rows.Cells[i], want[i])
		}
	}
	return nil
}

// TestHungReadsEnd: while the server hangs, every one of many reads ends by its own deadline or the store's timeouts, and
// once it answers so do reads.
func TestHungReadsEnd(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	patient := claimed(t, server)
	create(t, patient, gen)
	stored := onlinetest.At(1, 1).Row()
	write(t, patient, gen, online.Entry{Key: onlinetest.Key(1), Row: stored})
	s := impatient(t, server, redis.Options{ReadTimeout: 100 * time.Millisecond, PoolTimeout: 150 * time.Millisecond})
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%2 == 0 {
				ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			}
			defer cancel()
			_, err := read(ctx, s, gen, onlinetest.Key(1))
			if p := (*problem.Error)(nil); !errors.As(err, &p) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if err := server.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, "the server answers", func() bool {
		got, err := read(t.Context(), s, gen, onlinetest.Key(1))
		if err == nil && !bytes.Equal(got[0], stored) {
			t.Fatalf("got %x", got)
		}
		return err == nil
	})
}

// TestStill: once a server has been still for as long as an answer may take, reads are refused at once, but for a few; and
// answered as soon as it is back.
func TestStill(t *testing.T) {
	server := onlinetest.StartRedisServer(t)
	patient := claimed(t, server)
	create(t, patient, gen)
	write(t, patient, gen, online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()})
	s := impatient(t, server, redis.Options{ReadTimeout: 200 * time.Millisecond})
	one := func() error {
		_, err := read(t.Context(), s, gen, onlinetest.Key(1))
		return err
	}
	refused := func() bool {
		err := one()
		wantUnavailable(t, err)
		return strings.Contains(err.Error(), "has been still")
	}
	for range 3 {
		testenv.Until(t, "the server answers", func() bool { return one() == nil })
		if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		testenv.Until(t, "the server is known to be still", refused)
		quick := 0
		for range 100 {
			if refused() {
				quick++
			}
		}
		if quick < 80 {
			t.Errorf("%d of 100 reads were refused at once", quick)
		}
		if err := server.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	// A server that is gone is not still: who asks is told what is wrong.
	server.Kill()
	testenv.Until(t, "the server refuses", func() bool { err := one(); return err != nil && strings.Contains(err.Error(), "refused") })
	server.Restart(t)
}
