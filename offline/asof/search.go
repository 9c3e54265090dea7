package asof

// search finds the slots of rows for one worker.
type search struct {
	timeline *timeline
	spans    []span // per entity

	rows, near [searchRows]int32
	due        [searchRows]int64
}

// span is the slots of one entity, and where the last search among them ended: files are roughly in the order of time,
// so the next one is close.
type span struct{ from, to, cursor int32 }

// searchRows is how many rows are looked up together. What a search needs lies anywhere in memory; read in loops of
// their own, cursors and times of many rows are fetched at once, where row by row the processor would wait for each.
const searchRows = 512

func (t *timeline) newSearch() *search {
	s := &search{timeline: t, spans: make([]span, len(t.start)-1)}
	for e := range s.spans {
		s.spans[e] = span{t.start[e], t.start[e+1], t.start[e]}
	}
	return s
}

// each calls fn for the rows that have an entity with a slot at their event time or later: with the row and the first
// such slot.
func (s *search) each(ids []int32, event []int64, fn func(row int, slot int32)) {
	times := s.timeline.times
	for first := 0; first < len(ids); first += searchRows {
		n := 0
		for i, id := range ids[first:min(first+searchRows, len(ids))] {
			s.rows[n] = int32(first + i)
			if id >= 0 {
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
			if slot := p.find(times, event[i], s.due[j]); slot < p.to {
				fn(int(i), slot)
			}
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
		lo, hi = p.from, at-1
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
