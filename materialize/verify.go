package materialize

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

const (
	sampleSize = 1000 // entities per view unless asked otherwise
	maxDiffs   = 20
	// blockSize entities are compared at a time: each block reads the view's history once.
	blockSize = 1 << 18
	// settleTries is how often a comparison that found differences while runs went on is made again.
	settleTries = 3
	settleLook  = 100 * time.Millisecond
	settleFor   = 30 * time.Second // in all, waiting for runs to end
)

// Verify compares online with offline, cell by cell (R11): for the generation of each view that serves, what the store
// answers at the read time with what history says, from the files that the generation's runs read, at its T. A
// comparison that a run disturbed is made again after it. A view that can't be compared has a Note that says why; an
// error of one view does not stop the others.
func (s *Service) Verify(ctx context.Context, req VerifyRequest, progress func(Progress)) ([]VerifyReport, error) {
	views, err := pick(s.cfg.Snapshot(), req.Views)
	if err != nil {
		return nil, err
	}
	if len(req.Views) == 0 {
		views = slices.DeleteFunc(views, func(v *registry.View) bool { return !v.Online })
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	if req.Sample <= 0 {
		req.Sample = sampleSize
	}
	var reports []VerifyReport
	var errs []error
	for _, v := range views {
		report, err := s.verifySettled(ctx, v, req, progress)
		if err != nil {
			errs = append(errs, fmt.Errorf("view %s: %w", v.Name, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		reports = append(reports, report)
	}
	return reports, errors.Join(errs...)
}

// verifySettled repeats a comparison that found differences while a run was moving the view.
func (s *Service) verifySettled(ctx context.Context, v *registry.View, req VerifyRequest, progress func(Progress)) (VerifyReport, error) {
	waited := time.Duration(0)
	for try := 1; ; try++ {
		before, err := s.lastRun(ctx, v)
		if err != nil {
			return VerifyReport{}, err
		}
		report, err := s.verifyView(ctx, v, req, progress)
		if err == nil && report.Equal == report.Cells {
			return report, nil
		}
		after, lastErr := s.lastRun(ctx, v)
		if lastErr != nil {
			return VerifyReport{}, errors.Join(err, lastErr)
		}
		if !after.disturbs(before) {
			if err == nil && after.interrupted {
				report.addNote("the last run did not end well: what it wrote is not recorded; run provender materialize")
			}
			return report, err
		}
		if try == settleTries || waited >= settleFor {
			if err == nil {
				report.addNote("a run went on during the comparison: differences may be its")
			}
			return report, err
		}
		for ; after.writing() && waited < settleFor; waited += settleLook {
			select {
			case <-ctx.Done():
				return VerifyReport{}, problem.New(problem.Canceled, "wait for a run to end: %w", context.Cause(ctx))
			case <-time.After(settleLook):
			}
			if after, err = s.lastRun(ctx, v); err != nil {
				return VerifyReport{}, err
			}
		}
	}
}

// lastRun is what a comparison must know of a view's newest run.
type lastRun struct {
	id                         int64
	running, full, interrupted bool
}

// writing reports whether a run is writing to the generation that serves; a full one fills another.
func (r lastRun) writing() bool { return r.running && !r.full }

// disturbs reports whether a run wrote between two looks.
func (r lastRun) disturbs(before lastRun) bool {
	return r.writing() || before.writing() || r.id != before.id
}

func (s *Service) lastRun(ctx context.Context, v *registry.View) (lastRun, error) {
	runs, err := s.cfg.State.Runs(ctx, s.cfg.StoreName, []string{v.Name}, 1, s.cfg.Now())
	if err != nil || len(runs) == 0 {
		return lastRun{}, err
	}
	return lastRun{runs[0].ID, runs[0].State == RunRunning, runs[0].Full, runs[0].State == RunFailed}, nil
}

// check is one comparison of one view.
type check struct {
	*Service
	view     *registry.View
	gen      *state.Generation
	in       asof.Input
	at       int64 // read time
	features []int
	whole    *row.Projection
	progress func(Progress)
	size     int64 // entities, 0 while not known
	report   *VerifyReport

	keys  []*columnar.Vector // of the block
	rows  online.Rows
	group []online.Group
	arena []byte
}

func (s *Service) verifyView(ctx context.Context, v *registry.View, req VerifyRequest, progress func(Progress)) (VerifyReport, error) {
	report := VerifyReport{View: v.Name}
	if !v.Online {
		report.Note = "online: false"
		return report, nil
	}
	gens, err := s.cfg.State.Generations(ctx, v.Name)
	if err != nil {
		return report, err
	}
	incarnation, err := s.identify(ctx)
	if err != nil {
		return report, err
	}
	g := s.serving(gens, incarnation)[v.Name]
	if g == nil {
		report.Note = "not materialized"
		return report, nil
	}
	report.T = time.UnixMicro(g.T).UTC()
	report.ReadTime = req.Now.UTC()
	switch {
	case req.Now.IsZero():
		// As a lookup does, where T was allowed to lie in the future.
		report.ReadTime = time.UnixMicro(max(s.cfg.Now().UnixMicro(), g.T)).UTC()
	case req.Now.Before(report.T):
		return report, &problem.Error{
			Code: problem.Invalid, Field: "now",
			Message: fmt.Sprintf("read time %s is before T %s: the store has rows of later than the read time",
				stamp(req.Now), stamp(report.T)),
			Suggestion: "verify at T or later",
		}
	}
	if g.Digest != v.Digest {
		report.Note = "definition changed since this generation was filled; the next run fills a new one"
		return report, nil
	}
	if outdated(v, g) != "" {
		report.addNote("ttl was raised; the next run fills a new generation")
	}
	if g.Diverged != state.NoTime {
		report.addNote("diverged since " + stamp(time.UnixMicro(g.Diverged)) + ": files changed or went; run with --full")
	}
	files, err := s.consumed(ctx, v, g, &report)
	if err != nil {
		return report, err
	}
	c := &check{
		Service: s, view: v, gen: g, at: report.ReadTime.UnixMicro(), progress: progress, report: &report,
		in:    asof.Input{View: v, Source: s.cfg.Files, Files: files, Cutoff: g.T},
		whole: v.Layout.Project(indexes(len(v.Features))), features: indexes(len(v.Features)),
		group: []online.Group{{Keyspace: g.Keyspace, Generations: []online.GenerationID{g.ID}}},
		keys:  newKeys(v),
		arena: []byte{}, // the key of a global view is empty, not nil
	}
	if req.Full {
		err = c.all(ctx)
	} else {
		err = c.sample(ctx, req.Sample)
	}
	return report, err
}

// consumed returns the files that the generation's runs read, as far as they are still there.
func (s *Service) consumed(ctx context.Context, v *registry.View, g *state.Generation, report *VerifyReport) ([]source.File, error) {
	ledger, err := s.cfg.State.Ledger(ctx, g.ID)
	if err != nil || len(ledger) == 0 {
		return nil, err
	}
	listed, err := s.cfg.Files.List(ctx, v.Source.Parquet)
	if err != nil {
		return nil, err
	}
	have := make(map[string]source.File, len(listed))
	for _, f := range listed {
		have[f.Path] = f
	}
	files := make([]source.File, 0, len(ledger))
	missing, first := 0, ""
	for _, l := range ledger {
		if f, ok := have[l.Path]; ok && f.Identity == l.Identity && f.Size == l.Size {
			files = append(files, f)
			continue
		}
		if missing++; missing == 1 {
			first = l.Path
		}
	}
	if missing > 0 {
		report.addNote(fmt.Sprintf("%d of the files that were read have changed or are gone (%s): their rows can't be compared",
			missing, first))
	}
	return files, nil
}

func (r *VerifyReport) addNote(note string) {
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += note
}

// all compares every entity of history, then every stored row whose entity history does not have.
func (c *check) all(ctx context.Context) error {
	var seen []uint64 // hashes of keys: bounded memory for any number of entities
	err := c.entities(ctx, func(key []byte) error {
		seen = append(seen, xxh3.Hash(key))
		return c.add(ctx, key)
	})
	if err != nil {
		return err
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	slices.Sort(seen)
	err = c.cfg.Online.Scan(ctx, c.gen.Generation, func(key, _ []byte) error {
		if _, ok := slices.BinarySearch(seen, xxh3.Hash(key)); ok {
			return nil
		}
		return c.add(ctx, key)
	})
	if err != nil {
		return storeFailure("scan", err)
	}
	return c.flush(ctx)
}

// sample compares n entities of history: always the same ones of the same history.
func (c *check) sample(ctx context.Context, n int) error {
	type pick struct {
		hash uint64
		key  []byte
	}
	// The n least hashes of all: an entity more or less changes one of the sample at most.
	var picks []pick
	limit := uint64(math.MaxUint64)
	trim := func() {
		slices.SortFunc(picks, func(a, b pick) int {
			return cmp.Or(cmp.Compare(a.hash, b.hash), bytes.Compare(a.key, b.key))
		})
		if len(picks) > n {
			picks = picks[:n]
			limit = picks[n-1].hash
		}
	}
	err := c.entities(ctx, func(key []byte) error {
		if h := xxh3.Hash(key); h <= limit {
			picks = append(picks, pick{h, bytes.Clone(key)})
			if len(picks) >= 2*n+1024 {
				trim()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	trim()
	c.size = int64(len(picks))
	for _, p := range picks {
		if err := c.add(ctx, p.key); err != nil {
			return err
		}
	}
	return c.flush(ctx)
}

// entities calls fn with the key of every entity that history has up to T. The key is valid during the call.
func (c *check) entities(ctx context.Context, fn func(key []byte) error) error {
	// No feature is read for it.
	in, view, declared := c.in, *c.view, *c.view.FeatureView
	declared.Features = nil
	view.FeatureView, view.Layout, view.Defaults = &declared, row.NewLayout(nil), nil
	in.View = &view
	var key []byte
	_, err := asof.Latest(ctx, in, math.MinInt64, asof.Options{
		Workers: c.cfg.Workers, Limits: c.cfg.Limits,
		Memory: math.MaxInt64, RoundRows: math.MaxInt64, // one round: each entity once
	}, func(b *asof.Batch) error {
		for i := range b.Event {
			var ok bool
			if key, ok = row.AppendKey(key[:0], b.Keys, i); !ok {
				continue
			}
			if err := fn(key); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// add takes an entity into the block, and compares the block when it is full.
func (c *check) add(ctx context.Context, key []byte) error {
	start := len(c.arena)
	c.arena = append(c.arena, key...)
	if row.ParseKey(key, c.keys) != nil {
		// A key that is none of this view's: some row that does not belong here.
		c.arena = c.arena[:start]
		c.report.Entities++
		c.report.Cells += int64(len(c.features))
		c.report.Extra += int64(len(c.features))
		c.differ(fmt.Sprintf("key %x", key), 0, "a row under a damaged key", columnar.NotFound.String())
		return nil //nolint:nilerr // it is reported
	}
	c.group[0].Keys = append(c.group[0].Keys, c.arena[start:len(c.arena):len(c.arena)])
	if len(c.group[0].Keys) < blockSize {
		return nil
	}
	return c.flush(ctx)
}

func newKeys(v *registry.View) []*columnar.Vector {
	keys := make([]*columnar.Vector, len(v.KeyColumns))
	for i, k := range v.KeyColumns {
		keys[i] = columnar.NewVector(columnar.Type{Kind: k.Kind}, 0)
	}
	return keys
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// entity names entity i of the block.
func (c *check) entity(i int) string {
	if len(c.keys) == 0 {
		return "(everybody)"
	}
	var b []byte
	for k, v := range c.keys {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(append(b, c.view.KeyColumns[k].Name...), '=')
		if v.Type.Kind == columnar.Int64 {
			b = strconv.AppendInt(b, v.Int64s[i], 10)
		} else {
			b = append(b, v.BytesAt(i)...)
		}
	}
	return string(b)
}
