package onlinetest

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

// absentAndNull: an absent row, a row of another generation and a null key are absent; nothing else is.
func (s *suite) absentAndNull() {
	s.create(genA, genB)
	s.write(genA, 1, At(1, 1), online.WinNewest, true)
	s.want(genA, Key(1), At(1, 1).Row())
	s.want(genA, Key(2), nil)
	s.want(genB, Key(1), nil)
	s.want(genA, nil, nil)
	s.want(genA, []byte{}, nil)
	s.want(online.Generation{ID: genA.ID, Keyspace: 2}, Key(1), nil)
}

// groups reads several keyspaces and generations at once, in any order, with repeats, into memory used before.
func (s *suite) groups() {
	s.create(genA, genB, genC)
	for k := range int64(5) {
		s.write(genA, k, At(1, 10+k), online.WinNewest, true)
		s.write(genC, k, At(1, 30+k), online.WinNewest, true)
		if k != 3 {
			s.write(genB, k, At(1, 20+k), online.WinNewest, true)
		}
	}
	groups := []online.Group{
		{Keyspace: 1, Generations: []online.GenerationID{genB.ID, genA.ID}, Keys: [][]byte{Key(4), Key(3), nil, Key(4), Key(77)}},
		{Keyspace: 1, Generations: []online.GenerationID{genA.ID}, Keys: nil},
		{Keyspace: 2, Generations: []online.GenerationID{genC.ID}, Keys: [][]byte{Key(0), Key(4)}},
		{Keyspace: 1, Generations: []online.GenerationID{genA.ID, genB.ID, genA.ID}, Keys: [][]byte{Key(2)}},
	}
	want := []int64{24, 14, -1, 13, -1, -1, 24, 14, -1, -1, 30, 34, 12, 22, 12}
	var rows online.Rows
	for range 3 {
		s.ok(s.store.Read(s.ctx, groups, &rows))
		if len(rows.Cells) != len(want) || !slices.Equal(rows.Starts, []int{0, 10, 10, 12}) {
			s.Fatalf("%d cells, starts %v", len(rows.Cells), rows.Starts)
		}
		for i, v := range want {
			got := rows.Cells[i]
			if v < 0 && got != nil || v >= 0 && string(got) != string(At(1, v).Row()) {
				s.Errorf("cell %d: got %s, want %d", i, s.show(got), v)
			}
		}
		s.ok(s.store.Read(s.ctx, groups[2:3], &rows)) // a smaller one in between
		if string(rows.Row(0, 1, 0, 1)) != string(At(1, 34).Row()) {
			s.Error("a reused answer is wrong")
		}
	}
}

func (s *suite) globalKey() {
	s.create(genA)
	s.want(genA, []byte{}, nil)
	got, err := s.store.Write(s.ctx, genA, []online.Entry{{Key: []byte{}, Row: At(5, 5).Row()}}, online.WinNewest)
	s.ok(err)
	if got.Written != 1 {
		s.Errorf("%+v", got)
	}
	s.want(genA, []byte{}, At(5, 5).Row())
	s.want(genA, nil, nil)
}

func (s *suite) delete() {
	s.create(genA, genB)
	for k := range int64(10) {
		s.write(genA, k, At(1, k), online.WinNewest, true)
		s.write(genB, k, At(1, k), online.WinNewest, true)
	}
	s.ok(s.store.Delete(s.ctx, genA, [][]byte{Key(3), Key(99), Key(4)}))
	s.ok(s.store.Delete(s.ctx, genA, nil))
	s.want(genA, Key(3), nil)
	s.want(genA, Key(2), At(1, 2).Row())
	s.want(genB, Key(3), At(1, 3).Row())
	if n := len(s.all(genA)); n != 8 {
		s.Errorf("%d rows left, want 8", n)
	}
	s.write(genA, 3, At(0, 0), online.WinNewest, true)
}

// drop removes the rows of one generation and no others.
func (s *suite) drop() {
	s.create(genA, genB, genC)
	var entries []online.Entry
	for k := range int64(5000) {
		entries = append(entries, online.Entry{Key: Key(k), Row: At(1, k).Row()})
	}
	for _, gen := range []online.Generation{genA, genB, genC} {
		_, err := s.store.Write(s.ctx, gen, entries, online.WinNewest)
		s.ok(err)
	}
	s.ok(s.store.DropGeneration(s.ctx, genA))
	if _, err := s.lookup(genA, Key(1)); !errors.Is(err, online.ErrGenerationLost) {
		s.Errorf("a read of a dropped generation: %v", err)
	}
	if _, err := s.store.Write(s.ctx, genA, entries[:1], online.WinNewest); !errors.Is(err, online.ErrGenerationLost) {
		s.Errorf("a write to a dropped generation: %v", err)
	}
	for _, gen := range []online.Generation{genB, genC} {
		if n := len(s.all(gen)); n != len(entries) {
			s.Errorf("generation %d has %d rows left of %d", gen.ID, n, len(entries))
		}
	}
	s.create(genA) // under a new marker one can see that the rows are gone
	if n := len(s.all(genA)); n != 0 {
		s.Errorf("%d rows were left behind", n)
	}
	s.ok(s.store.DropGeneration(s.ctx, genA))
	s.ok(s.store.DropGeneration(s.ctx, genA)) // again, as after a crash
}

// generations: what has a marker or a row is found, whatever is recorded of it elsewhere, and removed by a drop.
func (s *suite) generations() {
	found := func(want ...online.Generation) {
		s.Helper()
		got, err := s.store.Generations(s.ctx)
		s.ok(err)
		if !slices.Equal(got, want) {
			s.Errorf("got %v, want %v", got, want)
		}
	}
	found()
	s.create(genA, genB, genC)
	bare := func(gen online.Generation) online.Generation { return online.Generation{ID: gen.ID} }
	found(bare(genA), bare(genC), bare(genB))
	for k := range int64(100) {
		s.write(genA, k, At(1, k), online.WinNewest, true)
		s.write(genC, k, At(1, k), online.WinNewest, true)
	}
	s.write(genB, 7, At(1, 0), online.WinNewest, true)
	found(genA, genC, genB)
	s.subject.LoseMarker(s.T, genB.ID)
	s.subject.LoseMarker(s.T, genC.ID)
	found(genA, genC, genB)
	s.ok(s.store.DropGeneration(s.ctx, genC))
	found(genA, genB)
	s.ok(s.store.DropGeneration(s.ctx, genB))
	s.ok(s.store.DropGeneration(s.ctx, genA))
	found()
}

func (s *suite) scan() {
	s.create(genA, genB)
	for k := range int64(100) {
		s.write(genA, k, At(1, k), online.WinNewest, true)
	}
	s.write(genB, 1000, At(1, 0), online.WinNewest, true)
	rows := s.all(genA)
	if len(rows) != 100 || rows[string(Key(7))] != string(At(1, 7).Row()) {
		s.Errorf("scanned %d rows", len(rows))
	}
	stop := errors.New("enough")
	n := 0
	if err := s.store.Scan(s.ctx, genA, func(_, _ []byte) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		s.Errorf("after %d rows: %v", n, err)
	}
}

// neverCreated: what was never created is not an empty generation.
func (s *suite) neverCreated() {
	_, err := s.lookup(genA, Key(1))
	s.lost("read", err)
	_, err = s.store.Write(s.ctx, genA, []online.Entry{{Key: Key(1), Row: At(1, 1).Row()}}, online.WinNewest)
	s.lost("write", err)
	s.create(genA)
	s.want(genA, Key(1), nil)
}

func (s *suite) lost(what string, err error) {
	s.Helper()
	if !errors.Is(err, online.ErrGenerationLost) {
		s.Errorf("%s: got %v, want ErrGenerationLost", what, err)
	}
}

func (s *suite) markerLost() {
	s.create(genA, genB)
	s.write(genA, 1, At(1, 1), online.WinNewest, true)
	s.write(genB, 1, At(1, 1), online.WinNewest, true)
	s.subject.LoseMarker(s.T, genA.ID)
	_, err := s.lookup(genA, Key(2))
	s.lost("read", err)
	s.want(genB, Key(2), nil)
	var rows online.Rows
	s.lost("read of two", s.store.Read(s.ctx, []online.Group{{
		Keyspace: 1, Generations: []online.GenerationID{genB.ID, genA.ID}, Keys: [][]byte{Key(1), Key(2)},
	}}, &rows))
	_, err = s.store.Write(s.ctx, genA, []online.Entry{{Key: Key(1), Row: At(2, 1).Row()}}, online.WinNewest)
	s.lost("write", err)
	s.lost("delete", s.store.Delete(s.ctx, genA, [][]byte{Key(1)}))
	s.lost("scan", s.store.Scan(s.ctx, genA, func(_, _ []byte) error { return nil }))
	gone, err := s.store.CheckGenerations(s.ctx, []online.Checkpoint{{ID: genA.ID}, {ID: genB.ID}, {ID: 77}})
	s.ok(err)
	if !slices.Equal(gone, []online.GenerationID{genA.ID, 77}) {
		s.Errorf("lost generations: %v", gone)
	}
}

// wentBack: a store whose marker is of an earlier run than was recorded has lost rows.
func (s *suite) wentBack() {
	s.create(genA, genB)
	for _, run := range []int64{7, 300, 5} {
		s.ok(s.store.Checkpoint(s.ctx, online.Checkpoint{ID: genA.ID, Run: run}))
	}
	s.lost("checkpoint", s.store.Checkpoint(s.ctx, online.Checkpoint{ID: 77, Run: 1}))
	for _, c := range []struct {
		a, b int64
		want []online.GenerationID
	}{
		{0, 0, nil},
		{300, 0, nil},
		{301, 0, []online.GenerationID{genA.ID}},
		{300, 0, []online.GenerationID{genA.ID}}, // for good
		{0, 1, []online.GenerationID{genA.ID, genB.ID}},
	} {
		lost, err := s.store.CheckGenerations(s.ctx, []online.Checkpoint{{ID: genA.ID, Run: c.a}, {ID: genB.ID, Run: c.b}})
		s.ok(err)
		if !slices.Equal(lost, c.want) {
			s.Errorf("expecting runs %d and %d: lost %v, want %v", c.a, c.b, lost, c.want)
		}
	}
	_, err := s.lookup(genA, Key(1))
	s.lost("read", err)
}

// allLost: a store that lost everything says so, and is another one afterwards.
func (s *suite) allLost() {
	s.create(genA)
	s.write(genA, 1, At(1, 1), online.WinNewest, true)
	before, err := s.store.Identity(s.ctx)
	s.ok(err)
	s.subject.LoseAll(s.T)
	_, err = s.lookup(genA, Key(1))
	s.lost("read", err)
	_, err = s.store.Identity(s.ctx)
	s.lost("identity", err)
	after, err := s.store.Claim(s.ctx, "registry", "p1")
	s.ok(err)
	if !after.Created || after.Incarnation == before.Incarnation {
		s.Errorf("before %+v, after %+v", before, after)
	}
	_, err = s.lookup(genA, Key(1))
	s.lost("read after a new claim", err)
}

func (s *suite) claim() {
	first, err := s.store.Identity(s.ctx)
	s.ok(err)
	if first.Incarnation == "" {
		s.Error("no incarnation")
	}
	again, err := s.store.Claim(s.ctx, "registry", "p1")
	s.ok(err)
	if again.Created || again.Incarnation != first.Incarnation {
		s.Errorf("first %+v, again %+v", first, again)
	}
	if _, err := s.store.Claim(s.ctx, "another", "p1"); !errors.Is(err, online.ErrForeignStore) {
		s.Errorf("another registry: %v", err)
	}
}

// reopen: what was acknowledged is there after a Close.
func (s *suite) reopen() {
	s.create(genA)
	s.write(genA, 1, At(1, 1), online.WinNewest, true)
	before, err := s.store.Identity(s.ctx)
	s.ok(err)
	s.ok(s.store.Close())
	s.store = s.subject.Open(s.T)
	after, err := s.store.Claim(s.ctx, "registry", "p1")
	s.ok(err)
	if after.Created || after.Incarnation != before.Incarnation {
		s.Errorf("before %+v, after %+v", before, after)
	}
	s.want(genA, Key(1), At(1, 1).Row())
	s.want(genA, Key(2), nil)
	s.write(genA, 1, At(0, 1), online.WinNewest, false)
}

// damaged: altered bytes come back as they are, for the decoder to refuse; others are not touched by it; repair
// replaces them.
func (s *suite) damaged() {
	s.create(genA)
	for k := range int64(3) {
		s.write(genA, k, At(1, k), online.WinNewest, true)
	}
	good := At(1, 1).Row()
	for _, bad := range [][]byte{{}, {0xff}, good[:len(good)-1], append([]byte{good[0] ^ 1}, good[1:]...)} {
		s.subject.Overwrite(s.T, genA, Key(1), bad)
		got, err := s.lookup(genA, Key(1))
		s.ok(err)
		if got == nil {
			s.Errorf("%x is taken for absent", bad)
		}
		if _, _, err := row.Times(got); !errors.Is(err, row.ErrDamaged) {
			s.Errorf("%x: %v", bad, err)
		}
		s.want(genA, Key(0), At(1, 0).Row())
		s.write(genA, 1, At(1, 1), online.WinAlways, true)
		s.want(genA, Key(1), good)
	}
	// With a damaged checksum it loses to the same row.
	s.subject.Overwrite(s.T, genA, Key(1), append(bytes.Clone(good[:len(good)-2]), 0xff, 0xff))
	s.write(genA, 1, At(1, 1), online.WinNewest, true)
	s.want(genA, Key(1), good)
	// Too short to be a row, it loses to any.
	s.subject.Overwrite(s.T, genA, Key(1), []byte("\xff\xff\xff\xff\xff"))
	s.write(genA, 1, At(1, 1), online.WinNewest, true)
	s.want(genA, Key(1), good)
}

func (s *suite) cancelled() {
	s.create(genA)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	var rows online.Rows
	group := []online.Group{{Keyspace: 1, Generations: []online.GenerationID{1}, Keys: [][]byte{Key(1)}}}
	entries := []online.Entry{{Key: Key(1), Row: At(1, 1).Row()}}
	_, writeErr := s.store.Write(ctx, genA, entries, online.WinNewest)
	for what, err := range map[string]error{
		"read":  s.store.Read(ctx, group, &rows),
		"write": writeErr,
		"drop":  s.store.DropGeneration(ctx, genA),
		"scan":  s.store.Scan(ctx, genA, func(_, _ []byte) error { return nil }),
		"ping":  s.store.Ping(ctx),
	} {
		if !errors.Is(err, context.Canceled) {
			s.Errorf("%s: %v", what, err)
		}
	}
	s.want(genA, Key(1), nil)
}

func (s *suite) closed() {
	s.create(genA)
	s.ok(s.store.Ping(s.ctx))
	s.ok(s.store.Close())
	s.ok(s.store.Close())
	var rows online.Rows
	_, writeErr := s.store.Write(s.ctx, genA, nil, online.WinNewest)
	_, claimErr := s.store.Claim(s.ctx, "registry", "p1")
	_, identityErr := s.store.Identity(s.ctx)
	_, checkErr := s.store.CheckGenerations(s.ctx, nil)
	for what, err := range map[string]error{
		"read":     s.store.Read(s.ctx, nil, &rows),
		"write":    writeErr,
		"claim":    claimErr,
		"identity": identityErr,
		"check":    checkErr,
		"create":   s.store.CreateGeneration(s.ctx, genA),
		"delete":   s.store.Delete(s.ctx, genA, nil),
		"drop":     s.store.DropGeneration(s.ctx, genA),
		"scan":     s.store.Scan(s.ctx, genA, func(_, _ []byte) error { return nil }),
		"ping":     s.store.Ping(s.ctx),
	} {
		if !errors.Is(err, online.ErrClosed) {
			s.Errorf("%s: %v", what, err)
		}
	}
}
