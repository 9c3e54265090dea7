package cli

import (
	"context"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/offline"
)

// reproduce makes the training set of a manifest again.
func (a *app) reproduce(ctx context.Context, p *server.Project, f *exportFlags) error {
	if f.out == "-" {
		return usagef("--out is -: a manifest is of a file; name one")
	}
	revisions, err := p.Registry(ctx)
	if err != nil {
		return err
	}
	req := offline.ReproduceRequest{
		Manifest: f.manifest, Revisions: revisions, Source: p.Files, Spine: f.spine, Out: f.out, CheckOnly: f.check,
		Memory: int64(f.memory), Limits: p.ParquetLimits(), SpineLimits: p.SpineLimits(), Tool: version.String(), Commit: gitCommit(ctx, p.Dir), Workers: f.workers,
	}
	if req.Memory == 0 {
		req.Memory = p.Config.Limits.ExportMemory
	}
	bar := a.progress()
	req.Progress = bar.export
	done, err := offline.Reproduce(ctx, req)
	bar.close()
	if err != nil {
		return err
	}
	r := newReproduceReport(done, f.check)
	if err := a.show(r); err != nil {
		return err
	}
	if !r.Reproducible || r.Identical != nil && !*r.Identical {
		return exitError{code: exitProblems}
	}
	return nil
}
