// Package load asks servers for features all the time, as many callers do, and checks every cell of every answer. Memory
// is bounded however long it goes on.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/provender-dev/provender/sdk/client"
)

// Ask looks drivers up and fills in a row for each.
type Ask func(ctx context.Context, drivers []int64, rows []Row) error

// Config is how to ask.
type Config struct {
	History  *History
	Asks     []Ask         // callers share them out among themselves
	Callers  int           // default: one for each of Asks
	Drivers  int           // per call, all of those that exist in turn, and one that does not; default 10
	Deadline time.Duration // of each call; default 5 s
	Pace     float64       // calls per second, of all callers together; 0: each calls again at once
	Seed     uint64
}

// Load is callers at work.
type Load struct {
	config  Config
	stop    context.CancelFunc
	callers sync.WaitGroup

	mu       sync.Mutex
	part     Tally // since the last Cut
	total    Tally
	mark     time.Time // of the last fault's end; zero: none
	first    time.Time // answer since
	failed   time.Time // end of the last call that began since, and failed
	answered uint64
	refused  uint64
}

// Start begins to ask, until Stop.
func Start(c Config) *Load {
	if c.Callers <= 0 {
		c.Callers = len(c.Asks)
	}
	if c.Drivers <= 0 {
		c.Drivers = 10
	}
	if c.Deadline <= 0 {
		c.Deadline = 5 * time.Second
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{config: c, stop: stop, part: newTally(), total: newTally()}
	for i := range c.Callers {
		l.callers.Go(func() { l.call(ctx, i) })
	}
	return l
}

// Stop ends the load, once every call under way has its answer, and returns what all calls came to.
func (l *Load) Stop() Tally {
	l.stop()
	l.callers.Wait()
	return l.Total()
}

// call is the loop of one caller.
func (l *Load) call(ctx context.Context, number int) {
	c := &l.config
	rnd := rand.New(rand.NewPCG(c.Seed, uint64(number)))
	drivers, floors, rows := make([]int64, c.Drivers+1), make([]int32, c.Drivers+1), make([]Row, c.Drivers+1)
	exist := len(c.History.drivers)
	var every time.Duration
	if c.Pace > 0 {
		every = time.Duration(float64(c.Callers) / c.Pace * float64(time.Second))
	}
	due := time.Now().Add(time.Duration(rnd.Float64() * float64(every)))
	for next := rnd.IntN(exist); rest(ctx, time.Until(due)); {
		absent := rnd.IntN(len(drivers))
		for i := range drivers {
			d := next
			if i == absent {
				d = exist + rnd.IntN(1000)
			} else {
				next = (next + 1) % exist
			}
			drivers[i], floors[i], rows[i] = int64(d), c.History.floor(d), Row{}
		}
		l.one(c.Asks[number%len(c.Asks)], drivers, floors, rows)
		if due = due.Add(every); time.Now().After(due) { // what is late is not made up for
			due = time.Now()
		}
	}
}

// rest returns false where ctx ends meanwhile.
func rest(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// one makes a call and judges its answer.
func (l *Load) one(ask Ask, drivers []int64, floors []int32, rows []Row) {
	ctx, cancel := context.WithTimeout(context.Background(), l.config.Deadline)
	defer cancel()
	begun := time.Now()
	err := ask(ctx, drivers, rows)
	ended := time.Now()
	wrong, missing := "", 0
	var wrongs int
	if err == nil {
		for i, d := range drivers {
			text, absent := l.config.History.judge(int(d), floors[i], rows[i])
			switch {
			case text == "":
				continue
			case absent:
				missing++
			default:
				wrongs++
			}
			wrong = text
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range []*Tally{&l.part, &l.total} {
		t.add(err, ended.Sub(begun))
		t.Wrong += wrongs
		t.Missing += missing
		if wrong != "" && len(t.Examples) < maxExamples {
			t.Examples = append(t.Examples, wrong)
		}
	}
	if err == nil {
		l.answered++
	} else {
		l.refused++
	}
	switch {
	case l.mark.IsZero():
	case err == nil && l.first.IsZero():
		l.first = ended
	case err != nil && begun.After(l.mark):
		l.failed = ended
	}
}

// Cut returns what calls that ended since the last Cut came to.
func (l *Load) Cut() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.part
	l.part = newTally()
	part.Took = l.part.begun.Sub(part.begun)
	return part
}

// Total returns what all calls so far came to.
func (l *Load) Total() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.total.clone()
	total.Took = time.Since(total.begun)
	return total
}

// Counts returns how many calls were answered so far, and how many were not.
func (l *Load) Counts() (answered, refused uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered, l.refused
}

// FaultEnds says that whatever was done to the servers is undone now.
func (l *Load) FaultEnds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark, l.first, l.failed = time.Now(), time.Time{}, time.Time{}
}

// Recovery tells how long after the fault's end the first answer came, whenever it was asked for, and from when on no
// call failed that began after it: 0 where none has. recovered is false while no answer has come.
func (l *Load) Recovery() (first, steady time.Duration, recovered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		return 0, 0, false
	}
	if !l.failed.IsZero() {
		steady = l.failed.Sub(l.mark)
	}
	return l.first.Sub(l.mark), steady, true
}

// code is what an error of an Ask is counted as.
func code(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*HTTPError](err); ok {
		return fmt.Sprintf("http_%d", e.Status)
	}
	return "connection"
}
