package materialize

import (
	"context"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/asof"
)

// readKeys is how many entities are looked up in the store at a time.
const readKeys = 4096

// side is what one side of a comparison has of some entities.
type side struct {
	event  []int64            // of the row; of no account without one
	now    []columnar.Status  // of the row at the read time
	then   []columnar.Status  // at T; nil where the side is of later than that
	values []*columnar.Vector // per feature; nulls where no row is alive
}

func (c *check) newSide(n int) *side {
	s := &side{event: make([]int64, n), now: make([]columnar.Status, n), values: make([]*columnar.Vector, len(c.features))}
	for f := range s.values {
		s.values[f] = columnar.NewVector(c.view.Features[f].Type, n)
	}
	return s
}

// flush compares the block of entities.
func (c *check) flush(ctx context.Context) error {
	n := len(c.group[0].Keys)
	if n == 0 {
		return nil
	}
	offline, err := c.join(ctx, c.in, c.gen.T)
	if err != nil {
		return err
	}
	var later *asof.Result
	if c.later != nil {
		if later, err = c.join(ctx, *c.later, c.at); err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.notLater(err)
		}
	}
	all := c.group[0].Keys
	for lo := 0; lo < n; lo += readKeys {
		hi := min(lo+readKeys, n)
		c.group[0].Keys = all[lo:hi]
		if err := c.cfg.Online.Read(ctx, c.group, &c.rows); err != nil {
			return storeFailure("read", err)
		}
		if err := c.compare(ctx, offline, later, lo, hi); err != nil {
			return err
		}
		c.progress(Progress{View: c.view.Name, Stage: "compare", Done: c.report.Entities, Size: c.size})
	}
	c.group[0].Keys, c.arena = all[:0], c.arena[:0]
	for _, k := range c.keys {
		k.Reset()
	}
	return nil
}

// join answers the block's entities from history, all at one instant.
func (c *check) join(ctx context.Context, in asof.Input, at int64) (*asof.Result, error) {
	spine := asof.Spine{Times: make([]int64, len(c.group[0].Keys)), Keys: c.keys}
	for i := range spine.Times {
		spine.Times[i] = at
	}
	return asof.Join(ctx, spine, in, c.features, asof.Options{Workers: c.cfg.Workers, Limits: c.cfg.Limits})
}

// compare counts the cells of entities [lo, hi) of the block, whose stored rows are in c.rows.
func (c *check) compare(ctx context.Context, offline, later *asof.Result, lo, hi int) error {
	have, want := c.stored(hi-lo), c.recorded(offline, lo, hi)
	want.then = offline.Status[lo:hi]
	for i := range want.now {
		// The newest row up to T is so at every later instant, only older.
		want.now[i] = c.judge(want.then[i], want.event[i])
	}
	var newer *side
	if later != nil {
		newer = c.recorded(later, lo, hi)
		newer.now = later.Status[lo:hi]
	}
	c.report.Entities += int64(hi - lo)
	for i := range want.now {
		sound := true
		for f := range c.features {
			c.report.Cells++
			switch {
			case !sameRow(have, want, f, i):
				if c.excused(have, want, newer, i) {
					c.report.Behind++
					continue
				}
				sound = false
				c.count(c.describe(have, want, lo+i, f, i))
			case newer != nil && !sameRow(have, newer, f, i):
				c.report.Behind++
			default:
				c.report.Equal++
			}
		}
		if sound {
			continue
		}
		var err error
		if key := c.group[0].Keys[i]; want.now[i] == columnar.NotFound {
			err = c.mender.remove(ctx, key)
		} else {
			err = c.mender.rewrite(ctx, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stored returns the rows in c.rows.
func (c *check) stored(n int) *side {
	s := c.newSide(n)
	s.then = make([]columnar.Status, n)
	for i := range n {
		stored := c.rows.Row(0, i, 0, 1)
		s.then[i], s.now[i] = columnar.NotFound, columnar.NotFound
		if stored != nil {
			event, _, err := c.whole.Append(s.values, stored)
			if err == nil {
				// No run wrote a row of later than T, or one that did not end well: whenever it will be seen, it is there.
				s.event[i] = event
				s.then[i] = columnar.Judge(event, max(c.gen.T, event), c.view.TTLMicros)
				s.now[i] = columnar.Judge(event, max(c.at, event), c.view.TTLMicros)
				continue
			}
			s.then[i], s.now[i] = columnar.Error, columnar.Error
		}
		for _, v := range s.values {
			v.AppendNull()
		}
	}
	return s
}

// recorded returns what history says of entities [lo, hi) of the block.
func (c *check) recorded(r *asof.Result, lo, hi int) *side {
	s := c.newSide(hi - lo)
	s.event = r.Event[lo:hi]
	for f := range s.values {
		r.Cells(f, lo, hi, s.values[f])
	}
	return s
}

// judge returns the status at the read time of a row that has one at T.
func (c *check) judge(then columnar.Status, event int64) columnar.Status {
	if then == columnar.NotFound {
		return then
	}
	return columnar.Judge(event, c.at, c.view.TTLMicros)
}

// sameRow reports whether both sides have the same row i, as far as feature f and any read time from T on can tell. Rows
// that are too old at the read time are so for good: a store may have dropped them.
func sameRow(have, want *side, f, i int) bool {
	switch {
	case !sameCell(have, have.now[i], want, want.now[i], f, i):
		return false
	case want.now[i] == columnar.NotFound:
		return true
	case have.event[i] != want.event[i]:
		return false
	}
	return want.then == nil || sameCell(have, have.then[i], want, want.then[i], f, i)
}

func sameCell(a *side, as columnar.Status, b *side, bs columnar.Status, f, i int) bool {
	as, bs = cell(as, a.values[f], i), cell(bs, b.values[f], i)
	return as == bs && (as != columnar.Present || a.values[f].EqualAt(i, b.values[f], i))
}

// excused reports whether a row that is not as history has it up to T is no defect.
func (c *check) excused(have, want, newer *side, i int) bool {
	if have.now[i] == columnar.Error {
		return false
	}
	// A row of a file that is no longer as it was, as far as can be told.
	if c.altered && have.now[i] != columnar.NotFound && have.event[i] <= c.gen.T &&
		(want.then[i] == columnar.NotFound || have.event[i] >= want.event[i]) {
		return true
	}
	if !c.cut || newer == nil || have.now[i] == columnar.NotFound {
		return false
	}
	// A true row that a run wrote which did not end well, or has not ended yet.
	for f := range c.features {
		if !sameRow(have, newer, f, i) {
			return false
		}
	}
	return true
}

// describe tells how feature f of entity i differs; at is its place in the block.
func (c *check) describe(have, want *side, at, f, i int) Difference {
	d := Difference{Entity: c.entity(at), Feature: c.view.Features[f].Name, Class: Wrong}
	on, off := cell(have.now[i], have.values[f], i), cell(want.now[i], want.values[f], i)
	switch {
	case on == columnar.NotFound:
		d.Class = Missing
	case off == columnar.NotFound:
		d.Class = Extra
	}
	d.Online, d.Offline = show(on, have.values[f], i), show(off, want.values[f], i)
	if d.Online == d.Offline { // they differ as of T, or in their event times
		d.Online = show(cell(have.then[i], have.values[f], i), have.values[f], i)
		d.Offline = show(cell(want.then[i], want.values[f], i), want.values[f], i)
	}
	if d.Online == d.Offline {
		d.Online += " of " + stamp(time.UnixMicro(have.event[i]))
		d.Offline += " of " + stamp(time.UnixMicro(want.event[i]))
	}
	return d
}

// count counts a difference, and keeps the first ones.
func (c *check) count(d Difference) {
	switch d.Class {
	case Missing:
		c.report.Missing++
	case Extra:
		c.report.Extra++
	default:
		c.report.Wrong++
	}
	c.differ(d)
}

// differ keeps the first differences.
func (c *check) differ(d Difference) {
	if len(c.report.Diffs) < maxDiffs {
		c.report.Diffs = append(c.report.Diffs, d)
	}
}

// cell is the status of one cell of a row.
func cell(row columnar.Status, v *columnar.Vector, i int) columnar.Status {
	if row == columnar.Present && v.IsNull(i) {
		return columnar.Null
	}
	return row
}

// show is a cell as reports have it: "12.5 PRESENT", "NOT_FOUND".
func show(status columnar.Status, v *columnar.Vector, i int) string {
	if status != columnar.Present {
		return status.String()
	}
	return string(columnar.AppendText(nil, v, i)) + " " + status.String()
}
