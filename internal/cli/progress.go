package cli

import (
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// plainEvery is the least time between two plain lines of one stage.
const plainEvery = 5 * time.Second

// step is how far a long command is.
type step struct {
	View, Stage string
	Done, Size  int64 // rows; Size 0 where it is not known
}

// progress tells on stderr how far a long command is: bars on a terminal, plain lines in a pipe, where a stage is told
// when it begins and then every few seconds. Safe for concurrent use.
type progress struct {
	talk  *printer
	clock func() time.Time

	mu   sync.Mutex
	bars *mpb.Progress // nil: plain lines
	bar  *mpb.Bar
	last step
	told time.Time
}

func (a *app) progress() *progress {
	p := &progress{talk: a.talk(), clock: a.Now}
	if a.colour(a.StderrTerminal) {
		p.bars = mpb.New(mpb.WithOutput(a.Stderr), mpb.WithWidth(40), mpb.WithAutoRefresh())
	}
	return p
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
	switch {
	case s.Done == 0:
		p.talk.printf("%s\n", s.what())
	case s.Size > 0:
		p.talk.printf("%s, %s of %s rows\n", s.what(), count(s.Done), count(s.Size))
	default:
		p.talk.printf("%s, %s rows\n", s.what(), count(s.Done))
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
		p.bar = p.bars.AddBar(s.Size,
			mpb.PrependDecorators(decor.Name(s.what()+" ")),
			mpb.AppendDecorators(decor.CountersNoUnit(" %d / %d rows")),
		)
	}
	p.bar.SetTotal(max(s.Size, s.Done), false)
	p.bar.SetCurrent(s.Done)
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
