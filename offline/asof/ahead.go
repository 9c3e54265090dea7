package asof

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// openAhead keeps files open before their turn, where opening one takes its time, until none is left, the pass pauses or
// ctx ends.
func (p *pass) openAhead(ctx context.Context, group *errgroup.Group, pause func() bool) {
	if len(p.files) == 0 {
		return
	}
	ahead := p.kernel.in.Source.Ahead(p.kernel.in.Files[p.files[0]])
	if ahead == 0 {
		return
	}
	for range ahead / 2 {
		group.Go(func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			for ctx.Err() == nil && p.next < len(p.files) && !pause() {
				if len(p.open)+len(p.opening) >= ahead {
					p.changed.Wait()
					continue
				}
				if err := p.openNext(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// wake has those who open ahead look again.
func (p *pass) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// prefetch begins to fetch what a job and those behind it read. p.mu is held.
func (p *pass) prefetch(ctx context.Context, j job) {
	j.file.reader.Prefetch(ctx, j.group, p.reads...)
	for _, next := range p.jobs[:min(len(p.jobs), p.kernel.workers)] {
		next.file.reader.Prefetch(ctx, next.group, p.reads...)
	}
}
