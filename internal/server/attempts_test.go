package server

import (
	"testing"
	"time"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
)

// attempt is the record of a scheduled run that took a second.
func attempt(id, number int64, as materialize.RunState, started time.Time) materialize.Run {
	r := materialize.Run{ID: id, Attempt: number, State: as, Started: started, Trigger: materialize.TriggerSchedule}
	if as.Ended() {
		r.Finished = started.Add(time.Second)
	}
	return r
}

func TestNextAttempt(t *testing.T) {
	tick := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	now := tick.Add(20 * time.Second)
	policy := attempts{retries: 2, backoff: 10 * time.Second}
	cancelled := func(r materialize.Run) materialize.Run {
		r.CancelAsked = r.Finished
		return r
	}
	interrupted := func(r materialize.Run) materialize.Run {
		r.Error, r.Finished = state.Interrupted, time.Time{}
		return r
	}
	const (
		ok   = materialize.RunSucceeded
		bad  = materialize.RunFailed
		runs = materialize.RunRunning
		end  = materialize.RunCancelled
	)
	for name, c := range map[string]struct {
		runs []materialize.Run
		want step
	}{
		"the first ever":                 {nil, step{attempt: 1}},
		"the tick before was run":        {[]materialize.Run{attempt(7, 1, ok, tick.Add(-1))}, step{attempt: 1, after: 7}},
		"the tick before has failed":     {[]materialize.Run{attempt(7, 2, bad, tick.Add(-1))}, step{attempt: 1, after: 7}},
		"another server has run it":      {[]materialize.Run{attempt(8, 1, ok, tick)}, step{attempt: 1, after: 8, done: true}},
		"another server runs it":         {[]materialize.Run{attempt(8, 1, runs, tick)}, step{attempt: 1, after: 8, wait: 10 * time.Second}},
		"it failed long enough ago":      {[]materialize.Run{attempt(8, 1, bad, tick.Add(time.Second))}, step{attempt: 2, retryOf: 8, after: 8}},
		"it has just failed":             {[]materialize.Run{attempt(8, 1, bad, tick.Add(14*time.Second))}, step{attempt: 2, retryOf: 8, after: 8, wait: 5 * time.Second}},
		"the last attempt has failed":    {[]materialize.Run{attempt(9, 3, bad, tick)}, step{attempt: 1, after: 9, done: true}},
		"somebody has cancelled it":      {[]materialize.Run{cancelled(attempt(8, 1, end, tick))}, step{attempt: 1, after: 8, done: true}},
		"its server was stopped":         {[]materialize.Run{attempt(8, 1, end, tick)}, step{attempt: 1, after: 8}},
		"its server has died":            {[]materialize.Run{interrupted(attempt(8, 1, bad, tick))}, step{attempt: 2, retryOf: 8, after: 8}},
		"its server died too often":      {[]materialize.Run{interrupted(attempt(8, 3, bad, tick))}, step{attempt: 1, after: 8, done: true}},
		"before the clock was set back":  {[]materialize.Run{attempt(8, 1, ok, now.AddDate(1, 0, 0))}, step{attempt: 1, after: 8}},
		"another server's clock is fast": {[]materialize.Run{attempt(8, 1, ok, now.Add(30*time.Second))}, step{attempt: 1, after: 8, done: true}},
		"it seems to end in a year": {
			[]materialize.Run{{ID: 8, Attempt: 1, State: bad, Started: tick, Finished: now.AddDate(1, 0, 0)}},
			step{attempt: 2, retryOf: 8, after: 8},
		},
	} {
		if got := policy.next(c.runs, tick, now); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}

	second := attempt(9, 2, bad, tick)
	second.RetryOf = 8
	if got := policy.next([]materialize.Run{second}, tick, now); got != (step{attempt: 3, retryOf: 8, after: 9, wait: time.Second}) {
		t.Errorf("the third attempt: %+v", got)
	}

	for name, c := range map[string]struct {
		runs []materialize.Run
		want time.Time
	}{
		"never":            {nil, time.Time{}},
		"succeeded":        {[]materialize.Run{attempt(8, 1, ok, tick), attempt(7, 1, bad, tick.Add(-time.Hour))}, tick},
		"given up":         {[]materialize.Run{attempt(8, 3, bad, tick)}, tick},
		"to be retried":    {[]materialize.Run{attempt(8, 2, bad, tick), attempt(6, 1, ok, tick.Add(-time.Hour))}, tick.Add(-time.Hour)},
		"stopped":          {[]materialize.Run{attempt(8, 1, end, tick), attempt(6, 1, ok, tick.Add(-time.Hour))}, tick.Add(-time.Hour)},
		"of the future":    {[]materialize.Run{attempt(8, 1, ok, now.AddDate(1, 0, 0)), attempt(6, 1, ok, tick)}, tick},
		"only one, failed": {[]materialize.Run{attempt(8, 1, bad, tick)}, tick.AddDate(-5, 0, 0)},
	} {
		if got := policy.since(c.runs, now); !got.Equal(c.want) {
			t.Errorf("%s: since %v, want %v", name, got, c.want)
		}
	}
}

func TestRetryPause(t *testing.T) {
	policy := attempts{retries: 100, backoff: 30 * time.Second}
	for number, least := range map[int64]time.Duration{
		1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 12: 61440 * time.Second, 13: maxPause, 100: maxPause,
	} {
		for range 50 {
			if got := policy.retry(number); got <= least || got > least+least/4+time.Second {
				t.Errorf("after attempt %d a pause of %v, want %v and up to a quarter more", number, got, least)
			}
		}
	}
	if got := policy.retry(101); got != 0 {
		t.Errorf("after the last attempt a pause of %v", got)
	}
	if got := (attempts{retries: 1}).retry(1); got <= 0 {
		t.Errorf("without backoff no retry")
	}
}

// A view has failed with as many failures in a row as a tick has attempts, whichever ticks they were for, and is told
// once; the next success is its recovery.
func TestEvents(t *testing.T) {
	policy := attempts{retries: 2}
	began := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var records []materialize.Run // newest first
	told := ""
	// f fails, s succeeds, i is interrupted, c cancelled
	for i, as := range "sfsffsfiffcfffsssfcffs" {
		r := attempt(int64(i), 1, materialize.RunFailed, began.Add(time.Duration(i)*time.Minute))
		switch as {
		case 's':
			r.State = materialize.RunSucceeded
		case 'c':
			r.State = materialize.RunCancelled
		case 'i':
			r.Error = state.Interrupted
		}
		event := ""
		if as != 'i' { // nobody is left to tell
			event = policy.event(failures(records), &r)
		}
		switch event {
		case eventFailed:
			told += "F"
		case eventRecovered:
			told += "R"
		default:
			told += "."
		}
		records = append([]materialize.Run{r}, records...)
	}
	if want := ".........F....R.....FR"; told != want {
		t.Errorf("told %s\nwant %s", told, want)
	}
}
