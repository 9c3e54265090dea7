package redis_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

const (
	benchEntities = 100_000
	benchViews    = 5
	benchBatch    = 6400
)

// benchRows returns one entry per entity, in random order, with rows of 64 bytes.
func benchRows(event int64) []online.Entry {
	entries := make([]online.Entry, benchEntities)
	for i, k := range rand.Perm(benchEntities) {
		stored := onlinetest.At(event, int64(k)).Row()
		entries[i] = online.Entry{Key: onlinetest.Key(int64(k)), Row: append(stored, bytes.Repeat([]byte{byte(k)}, 64-len(stored))...)}
	}
	return entries
}

// BenchmarkWrite overwrites 100,000 rows by greater ones, with one writer: the store, and a bare pipeline of HSET,
// which protects nothing.
func BenchmarkWrite(b *testing.B) {
	server := onlinetest.StartRedisServer(b)
	s, client := claimed(b, server), server.Client(b)
	create(b, s, gen)
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*benchEntities/b.Elapsed().Seconds(), "rows/s")
	}
	event := int64(0)
	b.Run("Store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			event++
			entries := benchRows(event)
			b.StartTimer()
			for rest := entries; len(rest) > 0; {
				n := min(len(rest), benchBatch)
				if _, err := s.Write(b.Context(), gen, rest[:n], online.WinNewest); err != nil {
					b.Fatal(err)
				}
				rest = rest[n:]
			}
		}
		report(b)
	})
	b.Run("HSET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			entries := benchRows(1)
			b.StartTimer()
			for rest := entries; len(rest) > 0; {
				n := min(len(rest), benchBatch)
				pipe := client.Pipeline()
				for _, e := range rest[:n] {
					pipe.HSet(b.Context(), hashOf(gen, e.Key), base36(gen.ID), e.Row)
				}
				if _, err := pipe.Exec(b.Context()); err != nil {
					b.Fatal(err)
				}
				rest = rest[n:]
			}
		}
		report(b)
	})
}

// BenchmarkRead reads 100 random entities of 5 views: the store, and go-redis's own HMGET.
func BenchmarkRead(b *testing.B) {
	server := onlinetest.StartRedisServer(b)
	s, client := claimed(b, server), server.Client(b)
	group := []online.Group{{Keyspace: gen.Keyspace, Keys: make([][]byte, 100)}}
	var fields []string
	for id := range online.GenerationID(benchViews) {
		g := online.Generation{ID: id, Keyspace: gen.Keyspace}
		create(b, s, g)
		if _, err := s.Write(b.Context(), g, benchRows(1), online.WinNewest); err != nil {
			b.Fatal(err)
		}
		group[0].Generations = append(group[0].Generations, id)
		fields = append(fields, base36(id))
	}
	pick := func() {
		for i := range group[0].Keys {
			group[0].Keys[i] = row.AppendInt64Key(group[0].Keys[i][:0], rand.Int64N(benchEntities))
		}
	}
	b.Run("Store", func(b *testing.B) {
		var rows online.Rows
		b.ReportAllocs()
		for b.Loop() {
			pick()
			if err := s.Read(b.Context(), group, &rows); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("HMGET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pick()
			pipe := client.Pipeline()
			cmds := make([]*goredis.SliceCmd, len(group[0].Keys))
			for i, key := range group[0].Keys {
				cmds[i] = pipe.HMGet(b.Context(), hashOf(gen, key), fields...)
			}
			if _, err := pipe.Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
