package server

import (
	"math/rand/v2"
	"time"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
)

const (
	// lookAgain is the least after which a server looks again at a tick that another is busy with.
	lookAgain = time.Second
	// maxPause bounds the pause before a retry.
	maxPause = 24 * time.Hour
	// clockSkew is how far clocks of servers may differ. Runs that began later than that from now were recorded before
	// the clock was set back, and are passed over.
	clockSkew = time.Minute
)

// attempts is the policy of scheduled runs. What it decides by are records alone, so that several servers agree, and
// one that starts again goes on.
type attempts struct {
	retries int64
	backoff time.Duration
}

// step is what a tick asks for now: nothing more, to look again after a while, or a run.
type step struct {
	done    bool
	wait    time.Duration
	attempt int64
	retryOf int64
	after   int64 // the newest scheduled run that there was, 0 for none
}

// next decides about a tick of a view by the view's scheduled runs, newest first.
func (a attempts) next(runs []materialize.Run, tick, now time.Time) step {
	s := step{attempt: 1}
	if len(runs) > 0 {
		s.after = runs[0].ID
	}
	runs = past(runs, now)
	if len(runs) == 0 || runs[0].Started.Before(tick) {
		return s
	}
	last := &runs[0]
	switch {
	case last.State == materialize.RunRunning:
		s.wait = a.look()
	case a.settled(last):
		s.done = true
	case last.State == materialize.RunCancelled: // with its server: this is the same attempt
		s.attempt, s.retryOf = last.Attempt, last.RetryOf
	default:
		s.attempt, s.retryOf = last.Attempt+1, last.RetryOf
		if s.retryOf == 0 {
			s.retryOf = last.ID
		}
		// Longer than the pause: the clock was set.
		pause := a.pause(last.Attempt)
		if left := last.Finished.Add(pause).Sub(now); !last.Finished.IsZero() && left > 0 && left <= pause+clockSkew {
			s.wait = left
		}
	}
	return s
}

// past leaves out the runs of the future.
func past(runs []materialize.Run, now time.Time) []materialize.Run {
	for len(runs) > 0 && runs[0].Started.After(now.Add(clockSkew)) {
		runs = runs[1:]
	}
	return runs
}

// settled reports whether nothing more is to be done for the tick of a scheduled run: it succeeded, somebody cancelled
// it, or it was the last attempt.
func (a attempts) settled(r *materialize.Run) bool {
	switch r.State {
	case materialize.RunSucceeded:
		return true
	case materialize.RunFailed:
		return r.Attempt > a.retries
	case materialize.RunCancelled:
		return !r.CancelAsked.IsZero()
	}
	return false
}

// pause is the least between the end of an attempt and the next one.
func (a attempts) pause(attempt int64) time.Duration {
	pause := a.backoff
	for ; attempt > 1 && pause < maxPause; attempt-- {
		pause *= 2
	}
	return min(pause, maxPause)
}

// retry is how long to wait after an attempt that failed; with some jitter, as what made it fail may have made others
// fail. Zero: that was the last one.
func (a attempts) retry(attempt int64) time.Duration {
	if attempt > a.retries {
		return 0
	}
	pause := a.pause(attempt)
	return pause + rand.N(pause/4+time.Millisecond) + 1
}

// look is how long to wait until a tick is looked at again.
func (a attempts) look() time.Duration { return max(a.backoff, lookAgain) }

// since returns when a view was last served by its schedule, by its scheduled runs, newest first: ticks since then
// are still to be run. Zero where it never was.
func (a attempts) since(runs []materialize.Run, now time.Time) time.Time {
	runs = past(runs, now)
	for i := range runs {
		if a.settled(&runs[i]) {
			return runs[i].Started
		}
	}
	if len(runs) == 0 {
		return time.Time{}
	}
	// Before the tick of the oldest: every schedule has one within five years.
	return runs[len(runs)-1].Started.AddDate(-5, 0, 0)
}

// failures counts the failed runs at the head of scheduled runs, newest first. Runs that ended with their server say
// nothing about the view.
func failures(runs []materialize.Run) int64 {
	var n int64
	for i := range runs {
		switch r := &runs[i]; {
		case r.State == materialize.RunSucceeded:
			return n
		case r.State == materialize.RunFailed && r.Error != state.Interrupted:
			n++
		}
	}
	return n
}

// event tells how a scheduled run that ended changes a view, by the number of failures before it: a view has failed
// when one more than the retries have in a row, whichever ticks they were for, and recovers with the next success. It is
// "" where nothing changes.
func (a attempts) event(before int64, r *materialize.Run) string {
	switch {
	case r.State == materialize.RunSucceeded && before > a.retries:
		return eventRecovered
	case r.State == materialize.RunFailed && before == a.retries:
		return eventFailed
	}
	return ""
}
