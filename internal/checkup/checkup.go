// Package checkup has what `provender doctor` finds: checks, each with what it saw and what to do about it.
package checkup

import (
	"errors"

	"github.com/provender-dev/provender/internal/problem"
)

// State is how a check came out.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // works, but should be changed
	Error   State = "error"   // does not work
)

// Check is one thing that was looked at.
type Check struct {
	Name  string // what, in a word or two
	State State
	Text  string
	Fix   string // "" where there is nothing to do
}

// Failed returns the check that ended with err, with the fix that the error suggests.
func Failed(name string, err error) Check {
	c := Check{Name: name, State: Error, Text: err.Error()}
	var p *problem.Error
	if errors.As(err, &p) {
		c.Text, c.Fix = p.Message, p.Suggestion
	}
	return c
}
