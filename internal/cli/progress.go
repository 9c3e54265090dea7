package cli

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// barWidth is the width of a bar without its texts; on a narrow terminal it is narrower.
const barWidth = 40

// plainEvery is the least time between two plain lines of one stage.
const plainEvery = 5 * time.Second

// step is how far a long command is.
type step struct {
	View, Stage string
	Done, Size  int64 // rows; Size may be a guess that changes, 0 where it is not known
}

// progress tells on stderr how far a long command is: bars on a terminal, plain lines in a pipe, where a stage is told
// when it begins and then every few seconds. Safe for concurrent use.
type progress struct {
	talk  *printer
	clock func() time.Time

	mu   sync.Mutex
	bars *mpb.Progress // nil: plain lines
	bar  *mpb.Bar
	size atomic.Int64 // of the last step, for the bar's own goroutine
	last step
	told time.Time
}

func (a *app) progress() *progress {
	p := &progress{talk: a.talk(), clock: a.Now}
	if a.colour(a.StderrTerminal) {
		p.bars = mpb.New(mpb.WithOutput(a.Stderr), mpb.WithAutoRefresh())
	}
	a.shown.Store(p)
	return p
}

// say tells a line on stderr, above the bars that are shown at the time.
func (a *app) say(line string) {
	if p := a.shown.Load(); p == nil || !p.say(line) {
		fmt.Fprintln(a.Stderr, line)
	}
}

// say writes a line above the bars; it reports whether there are any.
func (p *progress) say(line string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return false
	}
	p.talk.printf("\r") // the terminal may have echoed ^C, and bars are erased from the cursor on
	_, err := fmt.Fprintln(p.bars, line)
	return err == nil
}

// update tells a step.
func (p *progress) update(s step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begins := s.View != p.last.View || s.Stage != p.last.Stage
	p.last = s
	if p.bars != nil {
		p.draw(s, begins)
		return
	}
	now := p.clock()
	if !begins && now.Sub(p.told) < plainEvery {
		return
	}
	p.told = now
	if s.Done == 0 {
		p.talk.printf("%s\n", s.what())
	} else {
		p.talk.printf("%s, %s\n", s.what(), rowsOf(s.Done, s.Size))
	}
}

// what names the step.
func (s step) what() string {
	if s.View == "" || s.Stage == "" {
		return s.View + s.Stage
	}
	return s.View + ": " + s.Stage
}

func (p *progress) draw(s step, begins bool) {
	if begins {
		if p.bar != nil {
			p.bar.Abort(true)
		}
		width, filler := barWidth, mpb.BarFillerBuilder(mpb.BarStyle())
		if s.Size == 0 {
			width, filler = 1, mpb.SpinnerStyle()
		}
		// A bar made without a total does not end by itself where a guess was too low.
		p.bar = p.bars.New(0, filler,
			mpb.PrependDecorators(decor.Name(s.what()+" ")),
			mpb.AppendDecorators(decor.Any(func(at decor.Statistics) string { return " " + rowsOf(at.Current, p.size.Load()) })),
			mpb.BarWidth(width), mpb.BarRemoveOnComplete(),
		)
	}
	p.size.Store(s.Size)
	if s.Size == 0 {
		p.bar.SetTotal(s.Done+1, false) // never complete
	} else {
		p.bar.SetTotal(s.Size, false)
	}
	p.bar.SetCurrent(s.Done)
}

// rowsOf writes how many rows are done, of how many if that is known.
func rowsOf(done, size int64) string {
	if size > 0 {
		return count(done) + " of " + count(size) + " rows"
	}
	return count(done) + " rows"
}

// close takes the bars off the terminal. Nothing may be told afterwards.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return
	}
	if p.bar != nil {
		p.bar.Abort(true)
	}
	p.bars.Wait()
	p.bars = nil
}
