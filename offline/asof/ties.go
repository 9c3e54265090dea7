package asof

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
)

// encodingRoom bounds, by estimate, the bytes of encodings that settle holds at once. A variable for tests.
var encodingRoom = 64 << 20

// settle decides every tie by the canonical encoding of all the view's features (R4), the least position among equal
// ones, and leaves one entry per tied slot that only counts. No worker may be running.
func (k *kernel) settle(ctx context.Context, b *board) error {
	contenders := b.contenders()
	room := max(1, encodingRoom/k.encodedSize())
	for len(contenders) > 0 {
		// A part ends with a slot's last contender, since a slot must be decided at once.
		n, slots := 0, 0
		for n < len(contenders) {
			if n == 0 || contenders[n].id != contenders[n-1].id {
				if slots == room {
					break
				}
				slots++
			}
			n++
		}
		if err := k.decide(ctx, b, contenders[:n]); err != nil {
			return err
		}
		contenders = contenders[n:]
	}
	b.collapse()
	return nil
}

// decide makes the greatest of each slot's contenders its candidate. The contenders are ordered by slot, all of a slot
// among them.
func (k *kernel) decide(ctx context.Context, b *board, contenders []want) error {
	// Contenders go by the number of their slot in slots, so that the encodings need no map.
	var slots []int32
	wants := make([]want, len(contenders))
	for i, c := range contenders {
		if len(slots) == 0 || slots[len(slots)-1] != c.id {
			slots = append(slots, c.id)
		}
		wants[i] = want{c.pos, int32(len(slots) - 1)}
	}
	type champion struct {
		pos      int64
		encoding []byte
	}
	best := make([]champion, len(slots))
	for i := range best {
		best[i].pos = nowhere
	}
	var mu sync.Mutex // guards best
	buffers := make([][]byte, k.workers)
	if err := k.sort(ctx, wants); err != nil {
		return err
	}
	positions := make([]int64, len(wants))
	for i, w := range wants {
		positions[i] = w.pos
	}
	err := k.gather(ctx, positions, func(ctx context.Context, worker int, p *part) error {
		features, err := p.all(ctx)
		if err != nil {
			return err
		}
		ends := make([]int, p.hi-p.lo)
		buf := buffers[worker][:0]
		for i := range ends {
			buf = k.in.View.Layout.AppendBody(buf, features, i)
			ends[i] = len(buf)
		}
		buffers[worker] = buf
		mu.Lock()
		defer mu.Unlock()
		start := 0
		for i, w := range wants[p.lo:p.hi] {
			encoding := buf[start:ends[i]]
			start = ends[i]
			x := &best[w.id]
			order := bytes.Compare(encoding, x.encoding)
			if x.pos == nowhere || order > 0 || order == 0 && w.pos < x.pos {
				x.pos = w.pos
				x.encoding = append(x.encoding[:0], encoding...)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, slot := range slots {
		b.at(slot).pos = best[i].pos
	}
	return nil
}

// contenders lists the rows of every slot with a tie that is not settled, ordered by slot.
func (b *board) contenders() []want {
	var list []want
	for _, s := range b.segments {
		s.compact()
		for _, t := range s.ties {
			if t.pos != nowhere {
				// The candidate is listed with each of its ties; the repeats go below.
				list = append(list, want{t.pos, t.slot}, want{s.best[t.slot&(segmentSize-1)].pos, t.slot})
			}
		}
	}
	slices.SortFunc(list, func(x, y want) int { return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.pos, y.pos)) })
	return slices.Compact(list)
}

// collapse leaves one entry per tied slot, and makes room for new ties.
func (b *board) collapse() {
	var held int64
	for _, s := range b.segments {
		slices.SortFunc(s.ties, func(x, y tie) int { return cmp.Compare(x.slot, y.slot) })
		kept := s.ties[:0]
		for _, t := range s.ties {
			if n := len(kept); n > 0 && kept[n-1].slot == t.slot {
				kept[n-1].rows += t.rows
				continue
			}
			t.pos = nowhere
			kept = append(kept, t)
		}
		s.ties = kept
		s.compactAt = max(1024, 2*len(kept))
		held += int64(len(kept))
	}
	b.ties.Store(held)
	b.limit = held + tieRoom
}

// tied counts the rows that tied with the candidate that stands (R4). No worker may be running.
func (b *board) tied() int64 {
	var n int64
	for _, s := range b.segments {
		s.compact()
		for _, t := range s.ties {
			n += t.rows
		}
	}
	return n
}
