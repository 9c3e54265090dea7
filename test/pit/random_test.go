package pit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

var featureTypes = []string{
	"bool", "int32", "int64", "float32", "float64", "string", "bytes", "timestamp",
	"list<bool>", "list<int32>", "list<int64>", "list<float32>", "list<float64>", "list<string>", "list<bytes>", "list<timestamp>",
}

// random makes a case in which edges are common: few entities, few instants, times that differ by a ttl or by one
// microsecond, ties in event time and in created time, rewritten and deleted files under both `rewrites`, runs that lag,
// are cut off and repeated.
func random(rng *rand.Rand) *Case {
	c := &Case{Name: "random"}
	v := &c.View
	if rng.IntN(3) > 0 {
		v.TTL = []int64{1, 1500, 1e6, 3600e6}[rng.IntN(4)]
	}
	if rng.IntN(2) == 0 {
		v.Rewrites = "replace"
	}
	for i := range rng.IntN(4) {
		v.Keys = append(v.Keys, Column{Name: fmt.Sprint("k", i), Type: []string{"int64", "string"}[rng.IntN(2)]})
	}
	for i := range 1 + rng.IntN(6) {
		v.Features = append(v.Features, Column{Name: fmt.Sprint("f", i), Type: featureTypes[rng.IntN(len(featureTypes))]})
	}
	base := Instant(base.UnixNano())
	step := Instant(max(v.TTL, 1e6)) * 1000
	instant := func() Instant {
		t := base + Instant(rng.IntN(6))*step
		if rng.IntN(2) == 0 {
			t += Instant(rng.IntN(5)-2) * 1000
		}
		if rng.IntN(4) == 0 {
			t += Instant(rng.IntN(3) - 1)
		}
		return t
	}
	keys := func(nullable bool) []Value {
		out := make([]Value, len(v.Keys))
		for i, k := range v.Keys {
			n := rng.IntN(3)
			switch {
			case nullable && rng.IntN(12) == 0:
				out[i] = Value{Null: true}
			case k.Type == "string":
				out[i] = Value{Str: []string{"", "1", "12", "a\x00", "é"}[n]}
			default:
				out[i] = Value{Bits: uint64([]int64{1, 12, math.MinInt64}[n])}
			}
		}
		return out
	}
	sizes := []int{0, 1, 2, 3, 7, 8, 9, 31, 64, 65, 200}
	addRows := func(n int) {
		for range n {
			r := Row{File: string(rune('a' + rng.IntN(4))), Keys: keys(true), Event: instant()}
			if rng.IntN(3) > 0 {
				created := instant()
				r.Created = &created
			}
			for _, f := range v.Features {
				r.Values = append(r.Values, randomValue(rng, f.Type))
			}
			c.Steps = append(c.Steps, Step{Row: &r})
			if rng.IntN(10) == 0 { // the same row again, in another file
				again := r
				again.File = string(rune('a' + rng.IntN(4)))
				c.Steps = append(c.Steps, Step{Row: &again})
			}
		}
	}
	addRows(sizes[rng.IntN(len(sizes))])
	for range 1 + rng.IntN(20) {
		c.Steps = append(c.Steps, Step{Ask: &Ask{Keys: keys(true), At: instant()}})
	}
	// Runs at rising instants while files come, change and go.
	at := base - step
	for range rng.IntN(6) {
		switch rng.IntN(4) {
		case 0:
			c.Steps = append(c.Steps, Step{Delete: string(rune('a' + rng.IntN(4)))})
		default:
			addRows(rng.IntN(10))
		}
		at += Instant(rng.IntN(3)) * step
		to := at + Instant(rng.IntN(3)-1)*1000
		run := Run{To: max(to, lastRun(c)), Full: rng.IntN(8) == 0}
		if rng.IntN(3) == 0 {
			run.Cut = 1 + rng.IntN(4)
		}
		c.Steps = append(c.Steps, Step{Run: &run})
		if rng.IntN(4) == 0 { // once more
			c.Steps = append(c.Steps, Step{Run: &Run{To: run.To}})
		}
		for range 1 + rng.IntN(4) {
			c.Steps = append(c.Steps, Step{Online: &Ask{Keys: keys(true), At: run.To + Instant(rng.IntN(3))*step + Instant(rng.IntN(2))*1000}})
		}
	}
	return c
}

func lastRun(c *Case) Instant {
	last := Instant(math.MinInt64)
	for _, s := range c.Steps {
		if s.Run != nil {
			last = s.Run.To
		}
	}
	return last
}

func randomValue(rng *rand.Rand, typ string) Value {
	if rng.IntN(6) == 0 {
		return Value{Null: true}
	}
	if elem, list := strings.CutPrefix(typ, "list<"); list {
		v := Value{}
		for range rng.IntN(4) {
			v.List = append(v.List, randomValue(rng, strings.TrimSuffix(elem, ">")))
		}
		return v
	}
	switch typ {
	case "bool":
		return Value{Bits: rng.Uint64N(2)}
	case "int32":
		return Value{Bits: uint64(int64([]int32{0, 1, -1, math.MaxInt32, math.MinInt32}[rng.IntN(5)]))}
	case "int64":
		return Value{Bits: uint64([]int64{0, 1, -1, 63, 64, math.MaxInt64, math.MinInt64}[rng.IntN(7)])}
	case "float32":
		f := []float32{0, float32(math.Copysign(0, -1)), 1.5, float32(math.Inf(-1)), math.SmallestNonzeroFloat32}[rng.IntN(5)]
		return Value{Bits: uint64(math.Float32bits(f))}
	case "float64":
		f := []float64{0, math.Copysign(0, -1), 1.1, math.Inf(1), math.NaN()}[rng.IntN(5)]
		return Value{Bits: math.Float64bits(f)}
	case "timestamp":
		return Value{Bits: uint64(base.UnixMicro() + int64(rng.IntN(5)) - 2)}
	default:
		return Value{Str: []string{"", "a", "b\x00", "longer text"}[rng.IntN(4)]}
	}
}

// text writes the steps of a case for a failure's log.
func (c *Case) text() string {
	var b strings.Builder
	at := func(t Instant) string { return time.Unix(0, int64(t)).UTC().Format("15:04:05.000000000") }
	fmt.Fprintf(&b, "view %+v\n", c.View)
	for _, s := range c.Steps {
		switch {
		case s.Row != nil:
			created := "none"
			if s.Row.Created != nil {
				created = at(*s.Row.Created)
			}
			fmt.Fprintf(&b, "row %s file=%s created=%s keys=%+v values=%+v\n", at(s.Row.Event), s.Row.File, created, s.Row.Keys, s.Row.Values)
		case s.Delete != "":
			fmt.Fprintf(&b, "delete %s\n", s.Delete)
		case s.Run != nil:
			fmt.Fprintf(&b, "run %s full=%v cut=%d\n", at(s.Run.To), s.Run.Full, s.Run.Cut)
		case s.Online != nil:
			fmt.Fprintf(&b, "online %s keys=%+v\n", at(s.Online.At), s.Online.Keys)
		case s.Ask != nil:
			fmt.Fprintf(&b, "ask %s keys=%+v\n", at(s.Ask.At), s.Ask.Keys)
		}
	}
	return b.String()
}
