package asof

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
)

// openFile is a file of the input whose columns are bound.
type openFile struct {
	index  int // into Input.Files
	handle *source.Handle
	reader *parquet.Reader
	first  []int64 // per row group, the position of its first row in the file
	rows   int64   // of the file
	footer uint64  // its digest
	left   int     // jobs still to be done
}

// job is one row group to work on, or of a scan in rounds a range of its rows.
type job struct {
	file     *openFile
	group    int
	from, to int // rows
}

// whole reports whether the job is all of its row group.
func (j *job) whole() bool { return j.from == 0 && j.last() }

// last reports whether the job has the last row of its row group.
func (j *job) last() bool { return j.to == j.file.reader.Rows(j.group) }

// pass works on row groups of files in parallel. It opens a file when no row group of an open one waits, so at most
// two files per worker are open at once, or in an object store a few ahead of them, and checks a file's identity after
// its last row group.
type pass struct {
	kernel *kernel
	files  []int
	reads  []int // columns that are read of most row groups
	// plan returns the row groups of a file to work on. Called from several goroutines, once per file.
	plan func(*openFile) []int
	// rounds lets jobs begin, in the order of their rows. nil: they begin as files open. Set before the first run.
	rounds *rounds

	mu      sync.Mutex
	changed sync.Cond // jobs, opening or what rounds waits for
	next    int       // into files
	opening []int     // indexes into Input.Files
	jobs    []job
	open    map[*openFile]struct{}
}

func (k *kernel) newPass(files, reads []int, plan func(*openFile) []int) *pass {
	p := &pass{kernel: k, files: files, reads: reads, plan: plan, open: make(map[*openFile]struct{})}
	p.changed.L = &p.mu
	return p
}

// run works on row groups until none is left or pause reports true, and can be called again after a pause. Worker
// numbers are below kernel.workers; one worker does one job at a time.
func (p *pass) run(ctx context.Context, pause func() bool, work func(ctx context.Context, worker int, j job) error) error {
	group, ctx := errgroup.WithContext(ctx)
	context.AfterFunc(ctx, p.wake)
	p.openAhead(ctx, group, pause)
	for worker := range p.kernel.workers {
		group.Go(func() error {
			defer p.wake()
			for !pause() {
				j, ok, err := p.take(ctx)
				if err != nil || !ok {
					return err
				}
				if err := work(ctx, worker, j); err != nil {
					return err
				}
				if j.last() {
					j.file.reader.Forget(j.group, p.reads...)
				}
				if err := p.finish(j.file); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// take returns the next job; ok is false where none is left.
func (p *pass) take(ctx context.Context) (j job, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return job{}, false, context.Cause(ctx)
		}
		switch {
		case len(p.jobs) > 0:
			switch p.admit(p.jobs[0]) {
			case begins:
				j, p.jobs = p.jobs[0], p.jobs[1:]
				p.prefetch(ctx, j)
				return j, true, nil
			case waits:
				p.changed.Wait()
			case nextRound:
				return job{}, false, nil
			}
		case p.next < len(p.files):
			if err := p.openNext(ctx); err != nil {
				return job{}, false, err
			}
		case len(p.opening) > 0:
			p.changed.Wait()
		default:
			return job{}, false, nil
		}
	}
}

// admit tells when a job begins. p.mu is held.
func (p *pass) admit(j job) admission {
	if p.rounds == nil {
		return begins
	}
	for _, index := range p.opening {
		if index < j.file.index {
			return waits
		}
	}
	return p.rounds.admit(&j)
}

// numbered tells rounds that the keys of a job have their numbers.
func (p *pass) numbered(j *job) {
	if p.rounds == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rounds.numbered(j)
	p.changed.Broadcast()
}

// openNext opens the next file and queues its jobs, giving up p.mu meanwhile.
func (p *pass) openNext(ctx context.Context) error {
	index := p.files[p.next]
	p.next++
	p.opening = append(p.opening, index)
	p.mu.Unlock()
	file, err := p.kernel.openFile(ctx, index)
	var groups []int
	if err == nil {
		groups = p.plan(file)
		if len(groups) == 0 {
			err = file.close()
		}
	}
	p.mu.Lock()
	p.opening = slices.DeleteFunc(p.opening, func(i int) bool { return i == index })
	p.changed.Broadcast()
	if err != nil || len(groups) == 0 {
		return err
	}
	p.open[file] = struct{}{}
	jobs := p.cut(file, groups)
	file.left = len(jobs)
	at := len(p.jobs)
	for p.rounds != nil && at > 0 && p.jobs[at-1].file.index > index {
		at--
	}
	p.jobs = slices.Insert(p.jobs, at, jobs...)
	return nil
}

// cut makes jobs of the row groups of a file.
func (p *pass) cut(file *openFile, groups []int) []job {
	jobs := make([]job, 0, len(groups))
	for _, g := range groups {
		j := job{file: file, group: g, to: file.reader.Rows(g)}
		if p.rounds == nil {
			jobs = append(jobs, j)
		} else {
			jobs = p.rounds.cut(jobs, j)
		}
	}
	return jobs
}

// finish records that a job is done; the last one closes the file.
func (p *pass) finish(file *openFile) error {
	p.mu.Lock()
	file.left--
	last := file.left == 0
	if last {
		delete(p.open, file)
		p.changed.Broadcast()
	}
	p.mu.Unlock()
	if last {
		return file.close()
	}
	return nil
}

// done reports whether every row group has been worked on.
func (p *pass) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next == len(p.files) && len(p.open) == 0
}

// ended reports whether all of the files, or of a round, is done. No run may be under way.
func (p *pass) ended() bool { return p.rounds != nil && p.rounds.over || p.done() }

// waiting is the file of the first job that has not begun, if there is one. No run may be under way.
func (p *pass) waiting() (file int, ok bool) {
	if len(p.jobs) == 0 {
		return 0, false
	}
	return p.jobs[0].file.index, true
}

// abandon closes what a failed run left open.
func (p *pass) abandon() {
	for file := range p.open {
		_ = file.handle.Close() // the failure that led here is what matters
	}
}

// close checks that the file is still the one that was listed, after the last read, and closes it.
func (f *openFile) close() error {
	err := f.handle.Check()
	if cerr := f.handle.Close(); err == nil {
		err = cerr
	}
	return err
}

// openFile opens a file of the input, reads its footer and binds the view's columns.
func (k *kernel) openFile(ctx context.Context, index int) (*openFile, error) {
	handle, err := k.in.Source.Open(ctx, k.in.Files[index])
	if err != nil {
		return nil, err
	}
	reader, footer, err := k.bind(ctx, index, handle)
	if err != nil {
		_ = handle.Close() // the file's defect is what matters
		return nil, err
	}
	f := &openFile{index: index, handle: handle, reader: reader, footer: footer, first: make([]int64, reader.RowGroups())}
	for g := range f.first {
		f.first[g] = f.rows
		f.rows += int64(reader.Rows(g))
	}
	return f, nil
}

func (k *kernel) bind(ctx context.Context, index int, handle *source.Handle) (r *parquet.Reader, footer uint64, err error) {
	file, err := parquet.Open(ctx, handle, handle.File, k.opts.Limits)
	if err != nil {
		return nil, 0, err
	}
	if r, err = file.Bind(k.columns); err != nil {
		return nil, 0, k.drift(ctx, index, file, err)
	}
	return r, file.Digest(), nil
}
