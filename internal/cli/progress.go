package cli

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/provender-dev/provender/offline"
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

	began time.Time              // of an export
	whole atomic.Pointer[string] // what is told of an export, for the bar's own goroutine
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

// parts is how many parts of an export its bar can tell apart.
const parts = 1000

// export tells a step of an export, of which it is known how much is done in all: one bar, or a line every few seconds.
func (p *progress) export(s offline.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	if p.began.IsZero() {
		p.began, p.told = now, now
	}
	text := wholeOf(s, now.Sub(p.began))
	if p.bars == nil {
		if now.Sub(p.told) >= plainEvery {
			p.told = now
			p.talk.printf("%s: %s\n", s.Stage, text)
		}
		return
	}
	named := s.Stage + " " + text
	p.whole.Store(&named)
	if p.bar == nil {
		p.bar = p.bars.New(0, mpb.BarStyle(),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + *p.whole.Load() })),
			mpb.BarWidth(barWidth), mpb.BarRemoveOnComplete(),
		)
		p.bar.SetTotal(parts+1, false) // never complete: close takes it away
	}
	p.bar.SetCurrent(int64(s.Part * parts))
}

// wholeOf writes how much of an export is done, and how long the rest will take once that can be guessed.
func wholeOf(s offline.Progress, elapsed time.Duration) string {
	text := fmt.Sprintf("%d%%, %s", int(100*s.Part), rowsOf(s.Done, s.Size))
	if s.Part < 0.01 || elapsed < time.Second {
		return text
	}
	left := time.Duration(float64(elapsed) * (1 - s.Part) / s.Part)
	return text + ", " + since(left.Round(time.Second)) + " left"
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
