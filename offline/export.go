package offline

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
)

// Export joins a service's features onto a spine and writes Parquet: every spine column unchanged and first, then the
// features in the service's order (R7). The output appears under its name complete or not at all, and its manifest
// right after it: both are complete and durable under temporary names before the first gets its name. Should the
// process die between the two, the manifest's digest of the output tells an older manifest from the right one.
func Export(ctx context.Context, req ExportRequest) (_ *ExportReport, err error) {
	start := time.Now()
	in, err := openSpine(ctx, req.Source, req.Spine, req.SpineFormat)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	manifestPath := req.Out + ".manifest.json"
	for _, path := range []string{req.Out, manifestPath} {
		if existing, statErr := os.Stat(path); statErr == nil && in.is(existing) {
			e := problem.New(problem.Invalid, "the output %s is the spine itself", path)
			e.Field, e.Suggestion = "out", "name another file"
			return nil, e
		}
	}
	out, err := createOutput(req.Out)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	sidecar, err := createOutput(manifestPath)
	if err != nil {
		return nil, err
	}
	defer sidecar.discard()

	// The digest reads the whole spine; it runs beside the join, which reads other files.
	var digest string
	e := &export{req: req, spine: in, out: out, progress: serialized(req.Progress)}
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		digest, err = in.sha256(bothCtx)
		return err
	})
	both.Go(func() error { return e.run(bothCtx) })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	sum, err := out.finish()
	if err != nil {
		return nil, err
	}
	files := []written{{Path: req.Out, Rows: e.rows, Bytes: e.bytes, SHA256: sum}}
	if req.accept != nil {
		if err := req.accept(files); err != nil {
			return nil, err
		}
	}
	m := e.manifest(digest, files, start)
	if err := m.write(sidecar); err != nil {
		return nil, err
	}
	if _, err := sidecar.finish(); err != nil {
		return nil, err
	}
	if err := commit(ctx, out, sidecar); err != nil {
		return nil, err
	}
	return &ExportReport{
		Rows: e.rows, Bytes: e.bytes, Features: e.counts, Reads: e.reads, Took: time.Since(start), Manifest: sidecar.path,
		Warnings: e.found,
	}, nil
}

func commit(ctx context.Context, out, sidecar *output) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.ExportBeforeRename); err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.ExportBeforeManifest); err != nil {
		return err
	}
	return sidecar.commit()
}

// export is the state of one Export.
type export struct {
	req      ExportRequest
	spine    *spine
	out      *output
	progress func(Progress) // may be nil
	answer   *answer
	rows     int64
	bytes    int64 // of the output
	counts   []FeatureCounts
	reads    []ReadReport
	found    []Warning
}

func (e *export) run(ctx context.Context) error {
	if err := e.spine.read(ctx, e.req.SpineOptions, e.req.Service.RequestKeys); err != nil {
		return err
	}
	names := e.spine.columns.Names()
	for _, output := range e.req.Service.Outputs {
		if slices.Contains(names, output.Name) {
			err := problem.New(problem.Invalid, "output %s is named like a column of the spine %s", output.Name, e.req.Spine)
			err.Field = "spine"
			err.Suggestion = "rename the spine's column, or give the feature another name with `as` or `prefix` in the service"
			return err
		}
	}
	var err error
	e.answer, err = join(ctx, e.req.Service, e.req.Source, e.spine.times, e.spine.keys,
		joinOptions{workers: e.req.Workers, inputs: e.req.Inputs, progress: e.progress})
	if err != nil {
		return err
	}
	e.reads = e.readReports()
	e.found = e.warnings(ctx)
	return e.write(ctx)
}

// serialized returns progress as one call at a time, without figures that go back; nil for nil.
func serialized(progress func(Progress)) func(Progress) {
	if progress == nil {
		return nil
	}
	var mu sync.Mutex
	var last Progress
	return func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Stage == last.Stage && p.Done < last.Done {
			return
		}
		last = p
		progress(p)
	}
}
