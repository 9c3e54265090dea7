package materialize

import (
	"time"

	"github.com/provender-dev/provender/materialize/state"
)

// The phases of a run. Reading and writing take turns: what counts is whether a run waits for rows, or for the store.
const (
	phaseList = iota
	phaseRead
	phaseWrite
	phaseCommit
)

var phaseNames = [...]string{phaseList: "list", phaseRead: "read", phaseWrite: "write", phaseCommit: "commit"}

// phases is how long the parts of a run took. It is used by one goroutine at a time.
type phases struct {
	took    [len(phaseNames)]time.Duration
	current int
	since   time.Time // zero before the first enter
	// ended is called with each turn of a phase that is over; may be nil.
	ended func(phase int, from, to time.Time)
}

// enter ends the current phase and begins another.
func (p *phases) enter(phase int) {
	now := time.Now()
	if !p.since.IsZero() {
		p.took[p.current] += now.Sub(p.since)
		if p.ended != nil {
			p.ended(p.current, p.since, now)
		}
	}
	p.current, p.since = phase, now
}

// record returns what was measured until now, phases that took no time left out.
func (p *phases) record() []state.PhaseTime {
	p.enter(p.current)
	var out []state.PhaseTime
	for i, d := range p.took {
		if d > 0 {
			out = append(out, state.PhaseTime{Name: phaseNames[i], Took: d})
		}
	}
	return out
}
