package asof

import (
	"context"
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
	left   int     // row groups still to be worked on
}

// job is one row group to work on.
type job struct {
	file  *openFile
	group int
}

// pass works on row groups of files in parallel. It opens a file when no row group of an open one waits, so at most
// two files per worker are open at once, or in an object store a few ahead of them, and checks a file's identity after
// its last row group.
type pass struct {
	kernel *kernel
	files  []int
	reads  []int // columns that are read of most row groups
	// plan returns the row groups of a file to work on. Called from several goroutines, once per file.
	plan func(*openFile) []int

	mu      sync.Mutex
	changed sync.Cond // jobs or opening
	next    int       // into files
	opening int
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
				j.file.reader.Forget(j.group, p.reads...)
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
			j, p.jobs = p.jobs[0], p.jobs[1:]
			p.prefetch(ctx, j)
			return j, true, nil
		case p.next < len(p.files):
			if err := p.openNext(ctx); err != nil {
				return job{}, false, err
			}
		case p.opening > 0:
			p.changed.Wait()
		default:
			return job{}, false, nil
		}
	}
}

// openNext opens the next file and queues its jobs, giving up p.mu meanwhile.
func (p *pass) openNext(ctx context.Context) error {
	index := p.files[p.next]
	p.next++
	p.opening++
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
	p.opening--
	p.changed.Broadcast()
	if err != nil || len(groups) == 0 {
		return err
	}
	file.left = len(groups)
	p.open[file] = struct{}{}
	for _, g := range groups {
		p.jobs = append(p.jobs, job{file, g})
	}
	return nil
}

// finish records that a row group is done; the last one closes the file.
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
