package asof

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
)

// encodingRoom bounds, by estimate, the bytes of encodings that settle holds at once. A variable for tests.
var encodingRoom = 64 << 20

// settle decides every tie: by created time, then by the canonical encoding of all the view's features (R4), then the
// least position. No worker may be running.
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
	return nil
}

// contest is what decides among the contenders of one slot.
type contest struct {
	slot     int32
	created  int64 // the greatest
	tied     int64 // how many have it
	pos      int64 // of the champion so far, nowhere for none
	encoding []byte
	flawed   bool // the champion has a value that can't be represented
}

// decide makes the greatest of each slot's contenders its candidate. The contenders are ordered by slot, all of a slot
// among them.
func (k *kernel) decide(ctx context.Context, b *board, contenders []want) error {
	// Contenders go by the number of their slot's contest, so that encodings need no map.
	var contests []contest
	wants := make([]want, len(contenders))
	for i, c := range contenders {
		if n := len(contests); n == 0 || contests[n-1].slot != c.id {
			contests = append(contests, contest{slot: c.id, created: math.MinInt64, pos: nowhere})
		}
		wants[i] = want{c.pos, int32(len(contests) - 1)}
	}
	if err := k.sort(ctx, wants); err != nil {
		return err
	}
	wants, err := k.latestCreated(ctx, wants, contests)
	if err != nil {
		return err
	}
	if err := k.compareEncodings(ctx, undecided(wants, contests), contests); err != nil {
		return err
	}
	for i := range contests {
		b.decided(&contests[i])
	}
	return nil
}

// latestCreated returns the wants that have the greatest created time of their contest, and notes it there.
func (k *kernel) latestCreated(ctx context.Context, wants []want, contests []contest) ([]want, error) {
	created, err := k.createdOf(ctx, wants)
	if err != nil {
		return nil, err
	}
	for i, w := range wants {
		c := &contests[w.id]
		switch {
		case c.tied == 0 || created[i] > c.created:
			c.created, c.tied = created[i], 1
		case created[i] == c.created:
			c.tied++
		}
	}
	latest := wants[:0]
	for i, w := range wants {
		if created[i] == contests[w.id].created {
			latest = append(latest, w)
		}
	}
	return latest, nil
}

// undecided returns the wants whose contest has more than one; the others are champions.
func undecided(wants []want, contests []contest) []want {
	rest := wants[:0]
	for _, w := range wants {
		if c := &contests[w.id]; c.tied == 1 {
			c.pos = w.pos
		} else {
			rest = append(rest, w)
		}
	}
	return rest
}

// compareEncodings makes the greatest in encoding champion, the least position among equal ones.
func (k *kernel) compareEncodings(ctx context.Context, wants []want, contests []contest) error {
	var mu sync.Mutex // guards contests
	buffers := make([][]byte, k.workers)
	compare := func(worker int, p *part, features []*columnar.Vector) {
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
			c := &contests[w.id]
			flawed := p.flawed(i)
			order := bytes.Compare(encoding, c.encoding)
			if flawed || c.flawed {
				// It wins, so that it is refused if it stands in the end.
				order = 0
				if flawed != c.flawed && c.pos != nowhere {
					order = -1
					if flawed {
						order = 1
					}
				}
			}
			if c.pos == nowhere || order > 0 || order == 0 && w.pos < c.pos {
				c.pos, c.encoding, c.flawed = w.pos, append(c.encoding[:0], encoding...), flawed
			}
		}
	}
	return k.gather(ctx, positions(wants), k.valueColumns(), func(ctx context.Context, worker int, p *part) error {
		return p.allWithin(ctx, batchBytes, func(p *part, features []*columnar.Vector) error {
			compare(worker, p, features)
			return nil
		})
	})
}

// createdOf returns the created times of wants, which are ordered by position.
func (k *kernel) createdOf(ctx context.Context, wants []want) ([]int64, error) {
	created := make([]int64, len(wants))
	if !k.hasCreated() {
		return created, nil // all the same
	}
	err := k.gather(ctx, positions(wants), []int{k.createdColumn()}, func(ctx context.Context, _ int, p *part) error {
		_, err := p.created(ctx, created[p.lo:p.lo:p.hi])
		return err
	})
	return created, err
}

// strictPart bounds the candidates that makeStrict looks at together: 24 MiB.
const strictPart = 1 << 20

// makeStrict looks up the created times of all candidates, so that those of rows to come are compared with them.
func (k *kernel) makeStrict(ctx context.Context, b *board) error {
	if b.strict || !k.hasCreated() {
		return nil
	}
	for _, s := range b.segments {
		s.created = make([]int64, segmentSize)
	}
	var wants []want
	for i, s := range b.segments {
		for at, c := range s.best {
			if c.pos != nowhere {
				wants = append(wants, want{c.pos, int32(i<<segmentBits | at)})
			}
		}
		if len(wants) < strictPart && i+1 < len(b.segments) {
			continue
		}
		if err := k.sort(ctx, wants); err != nil {
			return err
		}
		created, err := k.createdOf(ctx, wants)
		if err != nil {
			return err
		}
		for j, w := range wants {
			b.segments[w.id>>segmentBits].created[w.id&(segmentSize-1)] = created[j]
		}
		wants = wants[:0]
	}
	b.strict = true
	return nil
}

// contenders takes the ties and lists them with their candidates, ordered by slot.
func (b *board) contenders() []want {
	var list []want
	for _, s := range b.segments {
		s.compact()
		for _, t := range s.ties {
			// The candidate is listed with each of its ties; the repeats go below.
			list = append(list, want{t.pos, t.slot}, want{s.best[t.slot&(segmentSize-1)].pos, t.slot})
		}
		s.ties, s.compactAt = s.ties[:0], 1024
	}
	b.ties.Store(0)
	slices.SortFunc(list, func(x, y want) int { return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.pos, y.pos)) })
	return slices.Compact(list)
}

// decided makes a contest's champion the candidate of its slot. Rows that tied with an earlier one were equal to it in both
// times, as all that come after a settlement are.
func (b *board) decided(c *contest) {
	s, at := b.segments[c.slot>>segmentBits], c.slot&(segmentSize-1)
	s.best[at].pos = c.pos
	if s.tied == nil {
		s.tied = make([]int64, segmentSize)
	}
	s.tied[at] += c.tied - 1
}

// tied counts the rows that tied with the candidate that stands (R4). No worker may be running.
func (b *board) tied() int64 {
	var n int64
	for _, s := range b.segments {
		s.compact()
		n += int64(len(s.ties))
		for _, rows := range s.tied {
			n += rows
		}
	}
	return n
}
