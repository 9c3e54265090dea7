package asof

import (
	"math"
	"slices"
)

// search finds the slots of rows for one worker.
type search struct {
	timeline *Timeline
	spans    []span // per entity
	epoch    int64  // where age classes begin

	rows, near [searchRows]int32
	due        [searchRows]int64
}

// span is the slots of one entity, and where the last search among them ended: files are roughly in the order of time,
// so the next one is close. newest is the age class of the newest row that was placed in the slot at the cursor; 0: none.
type span struct {
	from, to, cursor int32
	newest           uint32
}

// searchRows is how many rows are looked up together. What a search needs lies anywhere in memory; read in loops of
// their own, cursors and times of many rows are fetched at once, where row by row the processor would wait for each.
const searchRows = 512

// Event times fall into classes of about a second, which tell most older rows from newer ones in four bytes.
const (
	classBits  = 20
	classReach = 1<<(32+classBits) - 1 // 142 years; what is older is of class 0
)

func (t *Timeline) newSearch() *search {
	s := &search{timeline: t, spans: make([]span, len(t.start)-1), epoch: math.MinInt64}
	for e := range s.spans {
		s.spans[e] = span{from: t.start[e], to: t.start[e+1], cursor: t.start[e]}
	}
	if t.slots() > 0 {
		if greatest := slices.Max(t.times); greatest > math.MinInt64+classReach {
			s.epoch = greatest - classReach
		}
	}
	return s
}

// class returns the age class of an event time that is not after the last slot.
func (s *search) class(event int64) uint32 {
	if event < s.epoch {
		return 0
	}
	return uint32(uint64(event-s.epoch) >> classBits)
}

// each calls fn for the rows that have an entity with a slot at their event time or later: with the row and the first
// such slot. It leaves out rows that are older than one that fn was given for the slot. Rows are taken from the last to the
// first: as files are roughly in the order of time, most are left out then.
func (s *search) each(ids []int32, event []int64, fn func(row int, slot int32)) {
	times := s.timeline.times
	for end := len(ids); end > 0; end -= searchRows {
		first := max(0, end-searchRows)
		n := 0
		for i := end - 1; i >= first; i-- {
			s.rows[n] = int32(i)
			if ids[i] >= 0 {
				n++
			}
		}
		for j, i := range s.rows[:n] {
			s.near[j] = s.spans[ids[i]].cursor
		}
		for j, at := range s.near[:n] {
			s.due[j] = times[min(int(at), len(times)-1)]
		}
		for j, i := range s.rows[:n] {
			p := &s.spans[ids[i]]
			at := p.cursor
			if at != s.near[j] {
				// An earlier row of these moved it.
				s.due[j] = times[min(int(at), len(times)-1)]
			}
			slot := p.find(times, event[i], s.due[j])
			if slot == p.to {
				continue
			}
			class := s.class(event[i])
			if slot == at && class < p.newest {
				continue
			}
			p.newest = class
			fn(int(i), slot)
		}
	}
}

// find returns the first slot whose time is not before event, p.to for none. due is the time of the slot at the cursor,
// if it is one of p's.
func (p *span) find(times []int64, event, due int64) int32 {
	at := p.cursor
	var lo, hi int32
	switch {
	case at < p.to && due < event:
		// Gallop forward to a range that holds the answer.
		step := int32(1)
		lo = at + 1
		for step <= p.to-lo && times[lo+step-1] < event {
			lo += step
			step *= 2
		}
		hi = lo + min(step-1, p.to-lo)
	case at > p.from && times[at-1] >= event:
		// Or back.
		step := int32(1)
		hi = at - 1
		for step <= hi-p.from && times[hi-step] >= event {
			hi -= step
			step *= 2
		}
		lo = hi - min(step-1, hi-p.from)
	default:
		return at
	}
	for lo < hi {
		mid := int32(uint32(lo+hi) >> 1)
		if times[mid] < event {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	p.cursor = lo
	return lo
}
