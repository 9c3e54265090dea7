package admission

import (
	"slices"
	"time"
)

// lane is the turns of one kind of call, and those that wait for them.
type lane struct {
	turns int // that there are, in weight
	busy  int // that are taken
	held  int // calls under way or waiting
	// queue has those first that are due first. So a call with little time passes those that have more, and where all
	// have as much, first come is first served.
	queue  []entry
	queued int // their weight

	// The time per weight while all turns are taken; 0: not known yet. It is measured since begun, zero while turns are free;
	// so much was done since, the last of it when a turn came free.
	pace        time.Duration
	begun, last time.Time
	done        int
}

// entry is a call that waits.
type entry struct {
	due      time.Time // its order
	deadline time.Time // zero: none
	weight   int
	stream   bool
	waiter   *waiter
}

// waiter hears that its turn has come, or why it never will. It is used again.
type waiter struct {
	ready chan error // has room for one: telling never blocks
}

// fits reports whether a call may begin in a lane that has so many turns, which are no fewer than maxWeight.
func (l *lane) fits(weight, turns int) bool { return l.busy+weight <= turns }

// place returns where a call that is due then would stand.
func (l *lane) place(due time.Time) int {
	i := len(l.queue)
	if i == 0 || !l.queue[i-1].due.After(due) {
		return i
	}
	i, _ = slices.BinarySearchFunc(l.queue, due, func(e entry, due time.Time) int {
		if e.due.After(due) {
			return 1
		}
		return -1
	})
	return i
}

func (l *lane) insert(place int, e entry) {
	l.queue = slices.Insert(l.queue, place, e)
	l.queued += e.weight
}

// remove takes a call out, and reports whether it was there.
func (l *lane) remove(e entry) bool {
	i := slices.IndexFunc(l.queue, func(x entry) bool { return x.waiter == e.waiter })
	if i < 0 {
		return false
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	l.queued -= e.weight
	return true
}

// pop takes the first one out.
func (l *lane) pop() {
	l.queued -= l.queue[0].weight
	l.queue[0] = entry{}
	l.queue = l.queue[1:]
}

// takes returns how long it takes, at the present speed, until a call in some place is answered: when those before it and
// those under way are.
func (l *lane) takes(place, weight int, now time.Time) time.Duration {
	ahead := l.busy + weight
	if place == len(l.queue) {
		ahead += l.queued
	} else {
		for i := range l.queue[:place] {
			ahead += l.queue[i].weight
		}
	}
	return time.Duration(ahead)*l.pace + max(0, now.Sub(l.last)-window)
}

// watch begins to measure, where that has not begun.
func (l *lane) watch(now time.Time) {
	if l.begun.IsZero() {
		l.begun, l.last, l.done = now, now, 0
	}
}

// measure learns from a call of some weight that ended while all turns were taken. Turns come free in bursts, for the store
// answers many calls at once: a measure is of as much as was under way, or of a second.
func (l *lane) measure(weight int, now time.Time) {
	l.watch(now)
	l.done += weight
	l.last = now
	took := now.Sub(l.begun)
	if took < window || l.done < l.turns && took < time.Second {
		return
	}
	pace := took / time.Duration(l.done)
	if l.pace > 0 {
		pace = (pace + l.pace) / 2
	}
	l.pace, l.begun, l.done = pace, now, 0
}

// forget is for when a call ends and turns were free: it says nothing of the speed when they are not.
func (l *lane) forget() { l.pace, l.begun = 0, time.Time{} }
