package asof

import (
	"math"
	"sync"
	"sync/atomic"
)

// A position packs where a row is: its file's index above rowBits bits, its row within the file below. Positions order
// as (file, row) do.
const (
	rowBits  = 40
	maxFiles = 1 << (63 - rowBits)
	nowhere  = -1
)

func position(file int, row int64) int64 { return int64(file)<<rowBits | row }

func fileOf(pos int64) int { return int(pos >> rowBits) }

func rowOf(pos int64) int64 { return pos & (1<<rowBits - 1) }

// candidate is the newest row found so far for a slot.
type candidate struct {
	event, pos int64 // pos nowhere: none yet
}

// hit is a row that may be the newest of a slot.
type hit struct {
	event, pos int64
	slot       int32
}

// tie is a row that equals its slot's candidate in event time, and in created time if the board is strict.
type tie struct {
	slot           int32
	event, created int64
	pos            int64
}

const (
	segmentBits = 14
	segmentSize = 1 << segmentBits
	batchSize   = 256 // hits that a worker collects for a segment before it takes the lock
)

// board holds the newest candidate per slot. Slots lie in segments with a lock each, which workers take for a batch of
// hits at a time; a segment fits the processor's cache.
type board struct {
	mu       sync.RWMutex
	segments []*segment

	ties  atomic.Int64 // that are not settled
	limit int64        // of those, before they must be
	// strict: created times are compared as rows come. As few rows tie, most often it is cheaper to look up those of
	// ties alone. Changes only while no worker is running.
	strict bool
}

type segment struct {
	mu        sync.Mutex
	best      []candidate
	created   []int64 // of the candidates, where the board is strict
	tied      []int64 // rows that tied with the candidates when they were settled; nil: none
	ties      []tie
	compactAt int // length of ties
}

// tieRoom is how many ties may pile up before a scan pauses to settle them: 32 MiB. A variable for tests.
var tieRoom int64 = 1 << 20

func newBoard() *board { return &board{limit: tieRoom} }

// crowded reports whether ties must be settled before more rows are read.
func (b *board) crowded() bool { return b.ties.Load() > b.limit }

// segment returns a segment, making it and those before it where they are missing.
func (b *board) segment(i int) *segment {
	b.mu.RLock()
	if i < len(b.segments) {
		defer b.mu.RUnlock()
		return b.segments[i]
	}
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i >= len(b.segments) {
		s := &segment{best: make([]candidate, segmentSize)}
		s.reset()
		if b.strict {
			s.created = make([]int64, segmentSize)
		}
		b.segments = append(b.segments, s)
	}
	return b.segments[i]
}

// reset empties the board; whether it is strict stays. No worker may be running.
func (b *board) reset() {
	for _, s := range b.segments {
		s.reset()
	}
	b.ties.Store(0)
}

func (s *segment) reset() {
	for i := range s.best {
		s.best[i] = candidate{math.MinInt64, nowhere}
	}
	clear(s.tied)
	s.ties, s.compactAt = s.ties[:0], 1024
}

// at returns the candidate of a slot, nil where the slot was never hit. No worker may be running.
func (b *board) at(slot int32) *candidate {
	i := int(slot >> segmentBits)
	if i >= len(b.segments) {
		return nil
	}
	c := &b.segments[i].best[slot&(segmentSize-1)]
	if c.pos == nowhere {
		return nil
	}
	return c
}

// tiedWith counts the rows that tied with the candidate of a slot, once they are settled.
func (b *board) tiedWith(slot int32) int64 {
	s := b.segments[slot>>segmentBits]
	if s.tied == nil {
		return 0
	}
	return s.tied[slot&(segmentSize-1)]
}

// offer takes hits of one segment, with their created times if the board is strict.
func (b *board) offer(i int, hits []hit, created []int64) {
	s := b.segment(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.ties)
	if b.strict {
		s.offerStrict(hits, created)
	} else {
		for _, h := range hits {
			c := &s.best[h.slot&(segmentSize-1)]
			if h.event > c.event {
				*c = candidate{h.event, h.pos}
				s.untie(h.slot)
			} else if h.event == c.event {
				s.ties = append(s.ties, tie{slot: h.slot, event: h.event, pos: h.pos})
			}
		}
	}
	if len(s.ties) >= s.compactAt {
		s.compact()
	}
	b.ties.Add(int64(len(s.ties) - before))
}

func (s *segment) offerStrict(hits []hit, created []int64) {
	for i, h := range hits {
		at := h.slot & (segmentSize - 1)
		c, last := &s.best[at], &s.created[at]
		switch {
		case h.event > c.event || h.event == c.event && created[i] > *last:
			*c, *last = candidate{h.event, h.pos}, created[i]
			s.untie(h.slot)
		case h.event == c.event && created[i] == *last:
			s.ties = append(s.ties, tie{slot: h.slot, event: h.event, created: created[i], pos: h.pos})
		}
	}
}

// untie forgets the settled ties of a slot, whose candidate is another now.
func (s *segment) untie(slot int32) {
	if s.tied != nil {
		s.tied[slot&(segmentSize-1)] = 0
	}
}

// compact drops the ties of candidates that have been beaten since.
func (s *segment) compact() {
	live := s.ties[:0]
	for _, t := range s.ties {
		at := t.slot & (segmentSize - 1)
		if t.event == s.best[at].event && (s.created == nil || t.created == s.created[at]) {
			live = append(live, t)
		}
	}
	s.ties = live
	s.compactAt = max(1024, 2*len(live))
}

// sink is one worker's way onto the board.
type sink struct {
	board   *board
	pending []batch // per segment
}

// batch is some hits of one segment, with their created times if the board is strict.
type batch struct {
	hits    []hit
	created []int64
}

// reserve makes room for slots below n.
func (s *sink) reserve(n int) {
	for len(s.pending)<<segmentBits < n {
		s.pending = append(s.pending, batch{})
	}
}

// add offers a hit whose slot was reserved to a board that is not strict.
func (s *sink) add(h hit) {
	p := &s.pending[h.slot>>segmentBits]
	p.hits = append(p.hits, h)
	if len(p.hits) == batchSize {
		s.offer(int(h.slot>>segmentBits), p)
	}
}

// addStrict does so to a strict one.
func (s *sink) addStrict(h hit, created int64) {
	p := &s.pending[h.slot>>segmentBits]
	p.created = append(p.created, created)
	s.add(h)
}

func (s *sink) offer(segment int, p *batch) {
	s.board.offer(segment, p.hits, p.created)
	p.hits, p.created = p.hits[:0], p.created[:0]
}

// flush offers what is pending.
func (s *sink) flush() {
	for i := range s.pending {
		if p := &s.pending[i]; len(p.hits) > 0 {
			s.offer(i, p)
		}
	}
}
