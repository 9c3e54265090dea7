package asof

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/provender-dev/provender/internal/row"
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
	event, created int64
	pos            int64 // nowhere: none yet
}

// newer reports whether a row of these times comes after c.
func (c *candidate) newer(event, created int64) bool {
	return event > c.event || event == c.event && (created > c.created || c.pos == nowhere)
}

// hit is a row that may be the newest of a slot.
type hit struct {
	slot           int32
	event, created int64
	pos            int64
}

// tie is a row that equals its slot's candidate in event and created time; or, with pos nowhere, rows that did and
// whose encodings have been compared already.
type tie struct {
	slot           int32
	rows           int64
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

	ties  atomic.Int64 // entries in the segments' ties
	limit int64        // of ties, before they must be settled
}

type segment struct {
	mu        sync.Mutex
	best      []candidate
	ties      []tie
	compactAt int // length of ties
}

// tieRoom is how many ties may pile up before a scan pauses to settle them: 40 MiB of entries. A variable for tests.
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
		s := &segment{best: make([]candidate, segmentSize), compactAt: 1024}
		for j := range s.best {
			s.best[j] = candidate{math.MinInt64, row.NoCreated, nowhere}
		}
		b.segments = append(b.segments, s)
	}
	return b.segments[i]
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

// offer takes hits of one segment.
func (b *board) offer(i int, hits []hit) {
	s := b.segment(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.ties)
	for _, h := range hits {
		c := &s.best[h.slot&(segmentSize-1)]
		switch {
		case c.newer(h.event, h.created):
			*c = candidate{h.event, h.created, h.pos}
		case h.event == c.event && h.created == c.created:
			s.ties = append(s.ties, tie{slot: h.slot, rows: 1, event: h.event, created: h.created, pos: h.pos})
		}
	}
	if len(s.ties) >= s.compactAt {
		s.compact()
	}
	b.ties.Add(int64(len(s.ties) - before))
}

// compact drops the ties of candidates that have been beaten since.
func (s *segment) compact() {
	live := s.ties[:0]
	for _, t := range s.ties {
		if c := &s.best[t.slot&(segmentSize-1)]; t.event == c.event && t.created == c.created {
			live = append(live, t)
		}
	}
	s.ties = live
	s.compactAt = max(1024, 2*len(live))
}

// sink is one worker's way onto the board.
type sink struct {
	board   *board
	pending [][]hit // per segment
}

// reserve makes room for slots below n.
func (s *sink) reserve(n int) {
	for len(s.pending)<<segmentBits < n {
		s.pending = append(s.pending, nil)
	}
}

// add offers a hit whose slot was reserved.
func (s *sink) add(h hit) {
	p := &s.pending[h.slot>>segmentBits]
	*p = append(*p, h)
	if len(*p) == batchSize {
		s.board.offer(int(h.slot>>segmentBits), *p)
		*p = (*p)[:0]
	}
}

// flush offers what is pending.
func (s *sink) flush() {
	for i, hits := range s.pending {
		if len(hits) > 0 {
			s.board.offer(i, hits)
			s.pending[i] = hits[:0]
		}
	}
}
