package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
)

// Export joins a service's features onto a spine: every spine column unchanged and first, then the features in the
// service's order (R7). The output appears under its name complete or not at all, and its manifest right after it: both
// are complete, files durable under temporary names, before the first gets its name. Should the process die between the
// two, the manifest's digest of the output tells an older manifest from the right one. What is written to standard output
// is out, complete only if there is no error, and has no manifest.
//
// The bytes of the output depend on the inputs and the options of its format: not on workers, memory or timing.
func Export(ctx context.Context, req ExportRequest) (_ *ExportReport, err error) {
	e := &export{req: req, start: time.Now()}
	if e.opts, err = req.options(); err != nil {
		return nil, err
	}
	if e.spine, err = openSpine(ctx, &req); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.spine.close()) }()
	if err := e.spareSpine(); err != nil {
		return nil, err
	}
	var sidecar *output // nil for none
	if req.Batches == nil {
		if e.target, err = openTarget(ctx, &req, e.opts); err != nil {
			return nil, err
		}
		defer e.target.discard()
		if req.Out != "-" {
			if sidecar, err = createOutput(ctx, manifestPath(req.Out)); err != nil {
				return nil, err
			}
			defer sidecar.discard()
		}
	}
	e.spill = spill{folder: req.temporaryFolder(), room: e.opts.memory / 4}
	defer func() { err = errors.Join(err, e.spill.close()) }()
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	if req.accept != nil {
		if err := req.accept(e.files); err != nil {
			return nil, err
		}
	}
	report := &ExportReport{Rows: e.rows, Bytes: e.bytes, Features: e.counts, Reads: e.reads, Warnings: e.found}
	if req.Batches != nil {
		text, err := json.Marshal(e.manifest(e.digest, []written{{Rows: e.rows}}, e.start))
		if err != nil {
			return nil, fmt.Errorf("write manifest: %w", err)
		}
		report.Manifest = string(text)
	} else if err := e.commit(ctx, sidecar); err != nil {
		return nil, err
	}
	if sidecar != nil {
		report.Manifest = sidecar.path
	}
	report.Took = time.Since(e.start)
	return report, nil
}

// export is the state of one Export.
type export struct {
	req    ExportRequest
	opts   exportOptions
	start  time.Time
	spine  *spine
	digest string // of the spine
	target target // nil where the rows go to Batches
	spill  spill

	progress *stages // may be nil
	answer   *answer
	schema   *parquet.Schema
	width    int // leaf columns of the spine; the outputs' follow
	blocks   []block
	encoded  [][][]*parquet.Encoded // by leaf, from width on, and block: pieces
	sizes    rowSizes
	workers  []*worker

	files  []written
	rows   int64
	bytes  int64 // of the output
	counts []FeatureCounts
	reads  []ReadReport
	found  []Warning
}

// manifestPath is the name of an output's manifest: beside it, also of a folder named with a slash at its end.
func manifestPath(out string) string { return strings.TrimRight(out, "/") + manifestSuffix }

// spareSpine refuses an output that would replace the spine.
func (e *export) spareSpine() error {
	if e.req.Batches != nil {
		return nil
	}
	for _, path := range []string{e.req.Out, manifestPath(e.req.Out)} {
		if existing, err := os.Stat(path); err == nil && e.spine.is(existing) || path == e.req.Spine {
			e := problem.New(problem.Invalid, "the output %s is the spine itself", path)
			e.Field, e.Suggestion = "out", "name another file"
			return e
		}
	}
	return nil
}

// temporaryFolder is where encoded columns go that find no room in memory: beside the output, which takes as much.
func (req *ExportRequest) temporaryFolder() string {
	if req.Out == "-" || req.Batches != nil || source.IsURL(req.Out) {
		return os.TempDir()
	}
	return filepath.Dir(filepath.Clean(req.Out))
}

// run writes the output under its temporary name. The spine's digest, for which all of it is read, is taken beside the
// join, which reads other files.
func (e *export) run(ctx context.Context) error {
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		e.digest, err = e.spine.sha256(bothCtx)
		return err
	})
	both.Go(func() error { return e.join(bothCtx) })
	if err := both.Wait(); err != nil {
		return err
	}
	return e.spine.check()
}

func (e *export) join(ctx context.Context) error {
	if err := e.spine.read(ctx, e.req.SpineOptions, e.req.Service.RequestKeys); err != nil {
		return err
	}
	names := e.spine.columns.Names()
	for _, output := range e.req.Service.Outputs {
		if slices.Contains(names, output.Name) {
			err := problem.New(problem.Invalid, "output %s is named like a column of %s", output.Name, e.spine.name())
			err.Field = "spine"
			err.Suggestion = "rename the spine's column, or give the feature another name with `as` or `prefix` in the service"
			return err
		}
	}
	var err error
	if e.answer, err = newAnswer(ctx, e.req.Service, e.req.Source, e.req.Inputs); err != nil {
		return err
	}
	if err := e.prepare(); err != nil {
		return err
	}
	e.progress = newStages(e)
	for r := range e.req.Service.Reads {
		if err := e.encodeRead(ctx, r); err != nil {
			return err
		}
	}
	e.found = e.warnings(ctx)
	return e.write(ctx)
}

// commit gives the output its name, then the manifest.
func (e *export) commit(ctx context.Context, sidecar *output) error {
	if sidecar != nil {
		if err := e.manifest(e.digest, e.files, e.start).write(sidecar); err != nil {
			return err
		}
		if _, err := sidecar.finish(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.ExportBeforeRename); err != nil {
		return err
	}
	if err := e.target.commit(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.ExportBeforeManifest); err != nil {
		return err
	}
	if sidecar == nil {
		return nil
	}
	return sidecar.commit(ctx)
}
