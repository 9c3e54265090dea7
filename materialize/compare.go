package materialize

import (
	"context"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/asof"
)

// readKeys is how many entities are looked up in the store at a time.
const readKeys = 4096

// flush compares the block of entities.
func (c *check) flush(ctx context.Context) error {
	n := len(c.group[0].Keys)
	if n == 0 {
		return nil
	}
	spine := asof.Spine{Times: make([]int64, n), Keys: c.keys}
	for i := range spine.Times {
		spine.Times[i] = c.at
	}
	offline, err := asof.Join(ctx, spine, c.in, c.features, asof.Options{Workers: c.cfg.Workers, Limits: c.cfg.Limits})
	if err != nil {
		return err
	}
	all := c.group[0].Keys
	for lo := 0; lo < n; lo += readKeys {
		hi := min(lo+readKeys, n)
		c.group[0].Keys = all[lo:hi]
		if err := c.cfg.Online.Read(ctx, c.group, &c.rows); err != nil {
			return storeFailure("read", err)
		}
		c.compare(offline, lo, hi)
		c.progress(Progress{View: c.view.Name, Stage: "compare", Done: c.report.Entities, Size: c.size})
	}
	c.group[0].Keys, c.arena = all[:0], c.arena[:0]
	for _, k := range c.keys {
		k.Reset()
	}
	return nil
}

// compare counts the cells of entities [lo, hi) of the block, whose stored rows are in c.rows.
func (c *check) compare(offline *asof.Result, lo, hi int) {
	want, have := c.columns(hi-lo), c.columns(hi-lo)
	for f := range want {
		offline.Cells(f, lo, hi, want[f])
	}
	status := make([]columnar.Status, hi-lo)
	for i := range status {
		status[i] = c.decode(c.rows.Row(0, i, 0, 1), have)
	}
	c.report.Entities += int64(hi - lo)
	for f := range want {
		for i := range status {
			on, off := cell(status[i], have[f], i), cell(offline.Status[lo+i], want[f], i)
			c.report.Cells++
			switch {
			case on == off && (on != columnar.Present || have[f].EqualAt(i, want[f], i)):
				c.report.Equal++
				continue
			case on == columnar.NotFound:
				c.report.Missing++
			case off == columnar.NotFound:
				c.report.Extra++
			default:
				c.report.Wrong++
			}
			c.differ(c.entity(lo+i), f, show(on, have[f], i), show(off, want[f], i))
		}
	}
}

// decode appends a stored row's values to columns, nulls where it is not alive, and returns its status.
func (c *check) decode(stored []byte, columns []*columnar.Vector) columnar.Status {
	status := columnar.NotFound
	if stored != nil {
		event, _, err := c.whole.Append(columns, stored)
		if err == nil {
			return columnar.Judge(event, c.at, c.view.TTLMicros)
		}
		status = columnar.Error
	}
	for _, col := range columns {
		col.AppendNull()
	}
	return status
}

func (c *check) columns(n int) []*columnar.Vector {
	columns := make([]*columnar.Vector, len(c.features))
	for f := range columns {
		columns[f] = columnar.NewVector(c.view.Features[f].Type, n)
	}
	return columns
}

// differ records a difference, the first ones in full.
func (c *check) differ(entity string, feature int, on, off string) {
	if len(c.report.Diffs) < maxDiffs {
		c.report.Diffs = append(c.report.Diffs, Difference{
			Entity: entity, Feature: c.view.Features[feature].Name, Online: on, Offline: off,
		})
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
