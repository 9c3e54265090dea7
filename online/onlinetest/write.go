package onlinetest

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"sync"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

// newestWins walks one key through R4's order: event time, created time with none lowest, encoding.
func (s *suite) newestWins() {
	s.create(genA)
	const none = row.NoCreated
	for i, step := range []struct {
		Fact
		wins bool
	}{
		{Fact{1000, none, 5}, true},
		{Fact{1000, none, 5}, false}, // a repeat
		{Fact{999, none, 9}, false},  // out of order
		{Fact{1000, none, 6}, true},  // a tie: the greater encoding
		{Fact{1000, none, 5}, false},
		{Fact{1000, -1, 0}, true}, // created, if before 1970, is above none
		{Fact{1000, none, 9}, false},
		{Fact{1000, 0, 0}, true}, // a correction
		{Fact{1000, -1, 9}, false},
		{Fact{1000, 0, 1}, true},
		{Fact{1001, none, 0}, true}, // one microsecond later
		{Fact{1000, 9e15, 9}, false},
		{Fact{1_000_000, none, 0}, true}, // whole seconds and microseconds have different lengths
		{Fact{999_999, none, 0}, false},
		{Fact{1_000_001, none, 0}, true},
		{Fact{1_000_000, none, 0}, false},
		{Fact{row.MaxTime, none, 0}, true},
		{Fact{row.MinTime, none, 0}, false},
		{Fact{row.MaxTime, row.MinTime, 0}, true},
		{Fact{row.MaxTime, row.MaxTime, 0}, true},
	} {
		s.write(genA, 1, step.Fact, online.WinNewest, step.wins)
		s.write(genA, int64(100+i), step.Fact, online.WinNewest, true)
		s.want(genA, Key(int64(100+i)), step.Row())
		if step.wins {
			s.want(genA, Key(1), step.Row())
		}
	}
	// Years below 1970 and above 2038, and every byte of the time as the first that differs.
	at := int64(row.MinTime)
	s.write(genA, 2, At(at, 0), online.WinNewest, true)
	for step := int64(1); at < row.MaxTime-step; step *= 2 {
		s.write(genA, 2, At(at+step, 0), online.WinNewest, true)
		s.write(genA, 2, At(at, 0), online.WinNewest, false)
		at += step
	}
	// Bytes that locales order in other ways than by their value, at the same places of the encoding.
	for i := range 256 {
		for _, j := range []int{i + 1, 255} {
			low, high := At(0, int64(i/2)), At(0, int64(j/2))
			key := int64(1000*i + j)
			if bytes.Equal(low.Row()[:8], high.Row()[:8]) && row.Compare(low.Row(), high.Row()) < 0 {
				s.write(genA, key, high, online.WinNewest, true)
				s.write(genA, key, low, online.WinNewest, false)
			}
		}
	}
}

func (s *suite) winEqual() {
	s.create(genA)
	s.write(genA, 1, Fact{1000, 500, 7}, online.WinEqual, true)
	s.write(genA, 1, Fact{1000, 500, 3}, online.WinEqual, true) // equal times: the rewritten file's row
	s.want(genA, Key(1), Fact{1000, 500, 3}.Row())
	s.write(genA, 1, Fact{1000, 500, 3}, online.WinEqual, false)
	s.write(genA, 1, Fact{1000, 499, 9}, online.WinEqual, false)
	s.write(genA, 1, Fact{1000, row.NoCreated, 9}, online.WinEqual, false)
	s.write(genA, 1, Fact{999, 500, 9}, online.WinEqual, false)
	s.write(genA, 1, Fact{1000, 501, 1}, online.WinEqual, true)
	s.want(genA, Key(1), Fact{1000, 501, 1}.Row())
	// Without created time and with microseconds: other lengths of the times.
	s.write(genA, 2, At(1_000_000, 7), online.WinEqual, true)
	s.write(genA, 2, At(1_000_000, 3), online.WinEqual, true)
	s.write(genA, 2, At(1_000_001, 7), online.WinEqual, true)
	s.write(genA, 2, At(1_000_001, 3), online.WinEqual, true)
	s.want(genA, Key(2), At(1_000_001, 3).Row())
}

func (s *suite) winAlways() {
	s.create(genA)
	s.write(genA, 1, At(1000, 7), online.WinAlways, true)
	s.write(genA, 1, At(10, 3), online.WinAlways, true)
	s.want(genA, Key(1), At(10, 3).Row())
	s.write(genA, 1, At(9, 3), online.WinNewest, false)
	s.write(genA, 1, At(11, 3), online.WinNewest, true)
}

// repeatedKeys: entries of one call count as if they came one after the other.
func (s *suite) repeatedKeys() {
	s.create(genA)
	var entries []online.Entry
	for _, event := range []int64{3, 5, 4, 5, 9, 1} {
		entries = append(entries, online.Entry{Key: Key(1), Row: At(event, 0).Row()})
		entries = append(entries, online.Entry{Key: Key(event + 10), Row: At(event, 0).Row()})
	}
	got, err := s.store.Write(s.ctx, genA, entries, online.WinNewest)
	s.ok(err)
	if want := (online.WriteResult{Written: 3 + 5, Older: 3 + 1}); got != want {
		s.Errorf("got %+v, want %+v", got, want)
	}
	s.want(genA, Key(1), At(9, 0).Row())
}

// facts returns random facts of few keys, times and values, so that all kinds of ties are frequent.
func (s *suite) facts(n int) []online.Entry {
	entries := make([]online.Entry, n)
	for i := range entries {
		f := Fact{Event: s.rnd.Int64N(4) * 500_000, Created: row.NoCreated, V: s.rnd.Int64N(300) - 150}
		if s.rnd.IntN(2) == 0 {
			f.Created = s.rnd.Int64N(3) * 500_000
		}
		entries[i] = online.Entry{Key: Key(s.rnd.Int64N(20)), Row: f.Row()}
	}
	return entries
}

// newest returns the greatest row per key.
func newest(entries []online.Entry) map[string]string {
	best := map[string]string{}
	for _, e := range entries {
		if old, ok := best[string(e.Key)]; !ok || row.Compare(e.Row, []byte(old)) > 0 {
			best[string(e.Key)] = string(e.Row)
		}
	}
	return best
}

// randomOrder: whatever the order, the split and the repeats, the greatest row stays.
func (s *suite) randomOrder() {
	s.create(genA)
	entries := s.facts(2000)
	for rest := entries; len(rest) > 0; {
		n := min(len(rest), 1+s.rnd.IntN(150))
		_, err := s.store.Write(s.ctx, genA, rest[:n], online.WinNewest)
		s.ok(err)
		if s.rnd.IntN(4) > 0 {
			rest = rest[n:]
		}
	}
	if got, want := s.all(genA), newest(entries); !maps.Equal(got, want) {
		s.Errorf("got %x\nwant %x", got, want)
	}
}

// contested is how many keys concurrent writers share.
const contested = 100

// concurrentWriters share keys, their times rise side by side, and their batches are long, so that every one is a
// contest; a reader that watches never sees a key move back.
func (s *suite) concurrentWriters() {
	s.create(genA)
	const writers = 4
	var all []online.Entry
	var parts [writers][]online.Entry
	for w := range parts {
		for i := range int64(30_000) {
			f := At(i/contested*writers+s.rnd.Int64N(writers), s.rnd.Int64N(300))
			parts[w] = append(parts[w], online.Entry{Key: Key(s.rnd.Int64N(contested)), Row: f.Row()})
		}
		all = append(all, parts[w]...)
	}
	var wg sync.WaitGroup
	errs := make(chan error, writers+1)
	for _, part := range parts {
		wg.Go(func() {
			for rest := part; len(rest) > 0; {
				n := min(len(rest), 2*contested)
				if _, err := s.store.Write(s.ctx, genA, rest[:n], online.WinNewest); err != nil {
					errs <- err
					return
				}
				rest = rest[n:]
			}
		})
	}
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := s.watch(stop); err != nil {
			errs <- err
		}
	})
	wg.Wait()
	close(stop)
	watching.Wait()
	close(errs)
	for err := range errs {
		s.Error(err)
	}
	if got, want := s.all(genA), newest(all); !maps.Equal(got, want) {
		s.Errorf("got %x\nwant %x", got, want)
	}
}

func (s *suite) watch(stop <-chan struct{}) error {
	group := online.Group{Keyspace: genA.Keyspace, Generations: []online.GenerationID{genA.ID}}
	for k := range int64(contested) {
		group.Keys = append(group.Keys, Key(k))
	}
	last := make([][]byte, len(group.Keys))
	var rows online.Rows
	for {
		if err := s.store.Read(s.ctx, []online.Group{group}, &rows); err != nil {
			return err
		}
		for k := range last {
			now := rows.Row(0, k, 0, 1)
			if last[k] != nil && (now == nil || row.Compare(now, last[k]) < 0) {
				return fmt.Errorf("key %d moved back from %s to %s", k, s.show(last[k]), s.show(now))
			}
			last[k] = bytes.Clone(now)
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// sizes covers batches of none, one and both sides of powers of two.
func (s *suite) sizes() {
	s.create(genA)
	base := int64(0)
	for _, n := range []int{0, 1, 2, 3, 99, 100, 101, 127, 128, 129, 4095, 4096, 4097} {
		entries := make([]online.Entry, n)
		group := online.Group{Keyspace: genA.Keyspace, Generations: []online.GenerationID{genA.ID}, Keys: make([][]byte, n)}
		for i := range entries {
			group.Keys[i] = Key(base + int64(i))
			entries[i] = online.Entry{Key: group.Keys[i], Row: At(1, int64(i)).Row()}
		}
		base += int64(n)
		got, err := s.store.Write(s.ctx, genA, entries, online.WinNewest)
		s.ok(err)
		if got.Written != int64(n) || got.Older != 0 {
			s.Errorf("%d entries: %+v", n, got)
		}
		var rows online.Rows
		s.ok(s.store.Read(s.ctx, []online.Group{group}, &rows))
		for i := range entries {
			if !bytes.Equal(rows.Row(0, i, 0, 1), entries[i].Row) {
				s.Fatalf("row %d of %d came back different", i, n)
			}
		}
	}
	if got := len(s.all(genA)); int64(got) != base {
		s.Errorf("scanned %d rows, want %d", got, base)
	}
	// No groups, a group without keys, one without generations.
	var rows online.Rows
	s.ok(s.store.Read(s.ctx, nil, &rows))
	s.ok(s.store.Read(s.ctx, []online.Group{
		{Keyspace: 1, Generations: []online.GenerationID{1}}, {Keyspace: 1, Keys: [][]byte{Key(1)}},
	}, &rows))
	if len(rows.Cells) != 0 {
		s.Errorf("%d cells, want none", len(rows.Cells))
	}
}

// binaryKeys are prefixes of each other, or have bytes that text formats and patterns give a meaning.
func (s *suite) binaryKeys() {
	s.create(genA, genB, genC)
	keys := [][]byte{
		[]byte(""), []byte("\x00"), []byte("\x00\x00"), []byte("\x01"), []byte("\x01\x01"), []byte("\xff"), []byte("\xff\xff"),
		[]byte("*"), []byte("[a-z]?\\"), []byte("\r\n$5\r\n"),
		[]byte("a:b"), []byte("{tag}"), bytes.Repeat([]byte{'k'}, 127), bytes.Repeat([]byte{'k'}, 128), bytes.Repeat([]byte{0x80}, 4000),
	}
	for i := range 256 {
		keys = append(keys, []byte{2, byte(i)})
	}
	gens := []online.Generation{genA, genB, genC}
	value := func(g, k int) []byte { return At(int64(g), math.MinInt64+int64(k)).Row() }
	for g, gen := range gens {
		var entries []online.Entry
		for k, key := range keys {
			entries = append(entries, online.Entry{Key: key, Row: value(g, k)})
		}
		got, err := s.store.Write(s.ctx, gen, entries, online.WinNewest)
		s.ok(err)
		if got.Written != int64(len(keys)) {
			s.Errorf("generation %d: %+v", gen.ID, got)
		}
	}
	for g, gen := range gens {
		rows := s.all(gen)
		if len(rows) != len(keys) {
			s.Errorf("generation %d: scanned %d rows, want %d", gen.ID, len(rows), len(keys))
		}
		for k, key := range keys {
			s.want(gen, key, value(g, k))
			if rows[string(key)] != string(value(g, k)) {
				s.Errorf("generation %d: scan has another row of %x", gen.ID, key)
			}
		}
	}
}
