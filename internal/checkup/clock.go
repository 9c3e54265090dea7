package checkup

import (
	"fmt"
	"time"
)

// How far clocks may differ. Runs bring what happened up to a second ago (materialize's MaxClockSkew): with clocks further
// apart than that, rows are dated after the T of a run that should have them.
const (
	clockWarning = 500 * time.Millisecond
	clockError   = time.Second
)

// Offset is by how much a server's clock is ahead of this machine's, known to within some time: that of half a round trip.
type Offset struct {
	Server        string
	Ahead, Within time.Duration
}

// Measure asks a server for its time.
func Measure(server string, now func() time.Time, ask func() (time.Time, error)) (Offset, error) {
	before := now()
	at, err := ask()
	if err != nil {
		return Offset{}, err
	}
	half := now().Sub(before) / 2
	return Offset{server, at.Sub(before.Add(half)), half}, nil
}

// Clocks judges by what is certain of the offsets.
func Clocks(name string, offsets []Offset) Check {
	c := Check{Name: name, State: OK}
	for i, o := range offsets {
		apart := max(o.Ahead.Abs()-o.Within, 0)
		if i > 0 {
			c.Text += "; "
		}
		c.Text += fmt.Sprintf("that of %s is %s (± %v)", o.Server, direction(o.Ahead), o.Within.Round(100*time.Microsecond))
		switch {
		case apart >= clockError:
			c.State = Error
		case apart >= clockWarning && c.State == OK:
			c.State = Warning
		}
	}
	if c.State != OK {
		c.Text += ": rows of the last second are dated wrong, and leases end too early or too late"
		c.Fix = "keep the clocks of all machines with NTP or chrony; they may differ by less than half a second"
	}
	return c
}

func direction(ahead time.Duration) string {
	if ahead < 0 {
		return fmt.Sprintf("%v behind this machine's", -ahead.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v ahead of this machine's", ahead.Round(time.Millisecond))
}
