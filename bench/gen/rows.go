package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/bench/internal/table"
)

// Times are microseconds.
const (
	minute = int64(60_000_000)
	hour   = 60 * minute
	day    = 24 * hour
)

var firstDay = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Popular entities are few (zipf) and lie anywhere among the ids: rank r has the id (r × scatter + shift) mod entities.
const (
	scatter = 7919
	shift   = 104_729
)

type entities struct {
	zipf  *rand.Zipf
	count uint64
}

func (p params) entities(r *rand.Rand) entities {
	return entities{zipf: rand.NewZipf(r, 1.1, 100, uint64(p.Entities-1)), count: uint64(p.Entities)}
}

func (e entities) next() int64 { return int64((e.zipf.Uint64()*scatter + shift) % e.count) }

func (p params) keyNode() pq.Node {
	if p.Strings {
		return pq.String()
	}
	return pq.Int(64)
}

func (p params) key(entity int64) pq.Value {
	if p.Strings {
		return pq.ByteArrayValue(fmt.Appendf(nil, "user_%07d", entity))
	}
	return pq.Int64Value(entity)
}

// fact is one row of a view, without its values.
type fact struct{ entity, event, created int64 }

// writeDay writes the file of one view and day.
func (p params) writeDay(out string, view, dayNumber int) (err error) {
	folder := filepath.Join(out, "data", fmt.Sprintf("view%d", view), "date="+firstDay.AddDate(0, 0, dayNumber).Format(time.DateOnly))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	nodes := pq.Group{"entity_id": p.keyNode(), "event_timestamp": table.Instant(), "created_timestamp": table.Instant()}
	for f := range p.Features {
		nodes[featureName(view, f)] = pq.Optional(pq.Leaf(pq.DoubleType))
	}
	t, err := table.Create(filepath.Join(folder, "part-0.parquet"), nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()

	r := rand.New(rand.NewPCG(p.Seed, uint64(view)<<32|uint64(dayNumber)))
	entity, event, created := t.Column("entity_id"), t.Column("event_timestamp"), t.Column("created_timestamp")
	features := make([]int, p.Features)
	for f := range features {
		features[f] = t.Column(featureName(view, f))
	}
	for _, x := range p.facts(r, dayNumber) {
		t.Set(entity, p.key(x.entity))
		t.Set(event, pq.Int64Value(x.event))
		t.Set(created, pq.Int64Value(x.created))
		for f, column := range features {
			t.SetOptional(column, value(r, f))
		}
		if err := t.EndRow(); err != nil {
			return err
		}
	}
	return nil
}

// facts returns a day's rows about in the order of time, as a stream leaves them: 10 minutes of disorder, created within
// the hour. A hundredth corrects the row before it: the same event time, created later. Half of these come before what
// they correct, so that the last row of a file is no tie-breaker.
func (p params) facts(r *rand.Rand, dayNumber int) []fact {
	n := p.Rows*(dayNumber+1)/p.Days - p.Rows*dayNumber/p.Days
	start := firstDay.UnixMicro() + int64(dayNumber)*day
	step := float64(day) / float64(n)
	who := p.entities(r)
	facts := make([]fact, 0, n)
	for i := range n {
		if i > 0 && r.Float64() < 0.01 {
			correction := facts[i-1]
			correction.created += 1 + r.Int64N(hour)
			facts = append(facts, correction)
			continue
		}
		event := start + int64(float64(i)*step) + r.Int64N(20*minute) - 10*minute
		switch {
		case event < start:
			event = start + r.Int64N(10*minute)
		case event >= start+day:
			event = start + day - 1 - r.Int64N(10*minute)
		}
		facts = append(facts, fact{who.next(), event, event + r.Int64N(hour)})
	}
	for i := 1; i < n; i++ {
		if a, b := facts[i-1], facts[i]; a.entity == b.entity && a.event == b.event && r.IntN(2) == 0 {
			facts[i-1], facts[i] = b, a
		}
	}
	return facts
}

// value returns a value as its kind of feature has them: 0–3 of full entropy, 4–6 prices in cents, 7–8 counters, 9 of
// five values. Some features have nulls.
func value(r *rand.Rand, feature int) pq.Value {
	null := false
	switch feature {
	case 1, 4, 7:
		null = r.IntN(20) == 0
	case 9:
		null = r.IntN(10) < 3
	}
	switch {
	case null:
		return pq.NullValue()
	case feature < 4:
		return pq.DoubleValue(r.NormFloat64())
	case feature < 7:
		return pq.DoubleValue(math.Round(r.ExpFloat64()*5000) / 100)
	case feature < 9:
		return pq.DoubleValue(float64(r.IntN(500)))
	default:
		return pq.DoubleValue(float64(r.IntN(5)) * 0.25)
	}
}

// writeSpine writes a spine: entities as popular as in the views, times of every day but the first, and as label the
// row's number.
func (p params) writeSpine(path string) (err error) {
	t, err := table.Create(path, pq.Group{"entity_id": p.keyNode(), "event_timestamp": table.Instant(), "label": pq.Leaf(pq.DoubleType)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	r := rand.New(rand.NewPCG(p.Seed, math.MaxUint64))
	who := p.entities(r)
	entity, event, label := t.Column("entity_id"), t.Column("event_timestamp"), t.Column("label")
	for i := range p.Spine {
		t.Set(entity, p.key(who.next()))
		t.Set(event, pq.Int64Value(firstDay.UnixMicro()+day+r.Int64N(day*int64(p.Days-1))))
		t.Set(label, pq.DoubleValue(float64(i)))
		if err := t.EndRow(); err != nil {
			return err
		}
	}
	return nil
}
