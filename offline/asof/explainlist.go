package asof

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/provender-dev/provender/internal/columnar"
)

// shortlistRoom is how many rows a shortlist holds before it compares encodings. A variable for tests.
var shortlistRoom = 4096

// shortlist keeps the first candidates of one side of an instant. Rows are told apart by their times as they come, and by
// their encodings once they are too many, and at the end.
type shortlist struct {
	kernel  *kernel
	keep    int
	later   bool // the side after the instant: the least event time comes first
	offered int64
	rows    []standing
	// last has the times that a row must reach to be among the first, once full.
	last standing
	full bool
}

// standing is a row on a shortlist, or rows that equal each other.
type standing struct {
	event, created int64
	spots          [1 + maxCopiesAt]spot // ascending, the first 1 + copies of them set
	copies         int64
	encoding       []byte             // nil: not read yet
	features       []*columnar.Vector // whose row index these are; shared with other rows until the end
	index          int
}

type spot struct {
	pos   int64
	group int
}

// order compares by times, as the shortlist lists rows.
func (l *shortlist) order(a, b *standing) int {
	events := cmp.Compare(b.event, a.event)
	if l.later {
		events = -events
	}
	return cmp.Or(events, cmp.Compare(b.created, a.created))
}

// offer takes a row of one spot.
func (l *shortlist) offer(ctx context.Context, s *standing) error {
	l.offered++
	if l.keep == 0 || l.full && l.order(s, &l.last) > 0 {
		return nil
	}
	l.rows = append(l.rows, *s)
	if len(l.rows) < shortlistRoom {
		return nil
	}
	l.trim()
	if len(l.rows) > shortlistRoom/2 {
		return l.settle(ctx)
	}
	return nil
}

// trim drops the rows whose times alone rule them out: as many other times come first as rows are kept.
func (l *shortlist) trim() {
	slices.SortFunc(l.rows, func(a, b standing) int { return l.order(&a, &b) })
	times := 1
	for i := 1; i < len(l.rows); i++ {
		if l.order(&l.rows[i-1], &l.rows[i]) == 0 {
			continue
		}
		if times == l.keep {
			l.cut(i)
			return
		}
		times++
	}
}

// cut keeps the first n rows, and from now on takes none that comes after them.
func (l *shortlist) cut(n int) {
	clear(l.rows[n:])
	l.rows = l.rows[:n]
	l.last = standing{event: l.rows[n-1].event, created: l.rows[n-1].created}
	l.full = true
}

// settle reads the features of rows that were not read yet, joins equal rows, and drops those beyond the ones kept.
func (l *shortlist) settle(ctx context.Context) error {
	if err := l.encode(ctx); err != nil {
		return err
	}
	slices.SortFunc(l.rows, func(a, b standing) int {
		return cmp.Or(l.order(&a, &b), bytes.Compare(b.encoding, a.encoding), cmp.Compare(a.spots[0].pos, b.spots[0].pos))
	})
	kept := l.rows[:0]
	for i := range l.rows {
		s := &l.rows[i]
		if n := len(kept); n > 0 && l.order(&kept[n-1], s) == 0 && bytes.Equal(kept[n-1].encoding, s.encoding) {
			kept[n-1].join(s)
			continue
		}
		if len(kept) == l.keep {
			break
		}
		kept = append(kept, *s)
	}
	clear(l.rows[len(kept):])
	l.rows = kept
	if len(kept) == l.keep && l.keep > 0 {
		l.cut(l.keep)
	}
	return nil
}

// encode reads the features and encodings of the rows that lack them.
func (l *shortlist) encode(ctx context.Context) error {
	var unread []*standing
	for i := range l.rows {
		if l.rows[i].encoding == nil {
			unread = append(unread, &l.rows[i])
		}
	}
	slices.SortFunc(unread, func(a, b *standing) int { return cmp.Compare(a.spots[0].pos, b.spots[0].pos) })
	positions := make([]int64, len(unread))
	for i, s := range unread {
		positions[i] = s.spots[0].pos
	}
	layout := l.kernel.in.View.Layout
	return l.kernel.gather(ctx, positions, l.kernel.valueColumns(), func(ctx context.Context, _ int, p *part) error {
		features, err := p.all(ctx, math.MaxInt64)
		if err != nil {
			return err
		}
		for i, s := range unread[p.lo:p.hi] {
			s.encoding = layout.AppendBody(nil, features, i)
			s.features, s.index = features, i
		}
		return nil
	})
}

// join adds the rows of an equal one.
func (s *standing) join(other *standing) {
	spots := make([]spot, 0, 2*len(s.spots))
	for _, x := range []*standing{s, other} {
		spots = append(spots, x.spots[:min(1+x.copies, int64(len(x.spots)))]...)
	}
	slices.SortFunc(spots, func(a, b spot) int { return cmp.Compare(a.pos, b.pos) })
	s.copies += 1 + other.copies
	copy(s.spots[:], spots)
}

// candidates settles what is left and lists it.
func (l *shortlist) candidates(ctx context.Context) ([]Candidate, error) {
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	list := make([]Candidate, len(l.rows))
	for i := range l.rows {
		s := &l.rows[i]
		c := &list[i]
		*c = Candidate{Event: s.event, Created: s.created, Copies: s.copies, Features: oneRow(s.features, s.index)}
		for j, at := range s.spots[:min(1+s.copies, int64(len(s.spots)))] {
			place := Place{File: fileOf(at.pos), Group: at.group, Row: rowOf(at.pos)}
			if j == 0 {
				c.Place = place
			} else {
				c.CopiesAt = append(c.CopiesAt, place)
			}
		}
	}
	return list, nil
}
