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
// has with what history says, from the files that the generation's runs read, up to its T; both as of T and at the read
// time. What is equal so, and not what all files say at the read time, is behind. A comparison that a run disturbed is
// made again after it. A view that can't be compared has a Note that says why; an error of one view does not stop the
// others. With Repair what is found is mended under the view's lease, and compared again.
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
	verify := s.verifySettled
	if req.Repair {
		if !req.Now.IsZero() {
			return nil, &problem.Error{
				Code: problem.Invalid, Field: "now", Message: "a repair reads at the present time: what no answer needs any more is removed",
				Suggestion: "leave the read time out",
			}
		}
		verify = s.repair
	}
	var reports []VerifyReport
	var errs []error
	for _, v := range views {
		report, err := verify(ctx, v, req, progress)
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
		report, err := s.verifyView(ctx, v, req, nil, progress)
		if err == nil && report.Sound() {
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
	running, full, interrupted bool // interrupted: what it wrote may be in the generation that serves
}

// writing reports whether a run is writing to the generation that serves; a full one fills another.
func (r lastRun) writing() bool { return r.running && !r.full }

// disturbs reports whether a run wrote between two looks.
func (r lastRun) disturbs(before lastRun) bool {
	return r.writing() || before.writing() || r.id != before.id
}

func (s *Service) lastRun(ctx context.Context, v *registry.View) (lastRun, error) {
	runs, err := s.cfg.State.LastRuns(ctx, s.cfg.StoreName, s.cfg.Now())
	r := runs[v.StoredName()]
	if err != nil || r == nil {
		return lastRun{}, err
	}
	return lastRun{r.ID, r.State == RunRunning, r.Full, r.State.Ended() && r.State != RunSucceeded && !r.Full}, nil
}

// check is one comparison of one view.
type check struct {
	*Service
	view     *registry.View
	gen      *state.Generation
	in       asof.Input    // what the generation's runs read
	later    *asof.Input   // what a run would read now, where that may answer otherwise; nil: it can't
	fresh    []source.File // of later, those that may have entities that in has not
	altered  bool          // files that were read are no longer as they were
	cut      bool          // a run that did not end well may have written rows
	at       int64         // read time
	features []int
	whole    *row.Projection
	progress func(Progress)
	size     int64 // entities, 0 while not known
	report   *VerifyReport
	mender   *mender // nil: nothing is mended

	keys  []*columnar.Vector // of the block
	rows  online.Rows
	group []online.Group
	arena []byte
}

// verifyView compares one view; with a lease, what is found is mended under it.
func (s *Service) verifyView(
	ctx context.Context, v *registry.View, req VerifyRequest, lease *state.Lease, progress func(Progress),
) (VerifyReport, error) {
	report := VerifyReport{View: v.Name}
	g, err := s.comparable(ctx, v, req, &report)
	if err != nil || g == nil {
		return report, err
	}
	c := &check{
		Service: s, view: v, gen: g, at: report.ReadTime.UnixMicro(), progress: progress, report: &report,
		in:    asof.Input{View: v, Source: s.cfg.Files, Cutoff: g.T},
		whole: v.Layout.Project(indexes(len(v.Features))), features: indexes(len(v.Features)),
		group: []online.Group{{Keyspace: g.Keyspace, Generations: []online.GenerationID{g.ID}}},
		keys:  newKeys(v),
		arena: []byte{}, // the key of a global view is empty, not nil
	}
	if err := c.files(ctx); err != nil {
		return report, err
	}
	switch {
	case lease == nil:
	case c.altered:
		report.addNote("nothing was repaired: provender materialize --full writes everything again")
	default:
		c.mender = newMender(c, *lease)
	}
	if req.Full {
		err = c.all(ctx)
	} else {
		err = c.sample(ctx, req.Sample)
	}
	if err == nil && c.mender != nil {
		err = c.mender.flush(ctx)
	}
	return report, err
}

// comparable returns the generation to compare, with what the report says of it; nil, with a note, where there is none
// that the definition fits.
func (s *Service) comparable(ctx context.Context, v *registry.View, req VerifyRequest, report *VerifyReport) (*state.Generation, error) {
	if !v.Online {
		report.Note = "online: false"
		return nil, nil //nolint:nilnil // the note says it
	}
	gens, err := s.cfg.State.Generations(ctx, v.StoredName())
	if err != nil {
		return nil, err
	}
	incarnation, err := s.identify(ctx)
	if err != nil {
		return nil, err
	}
	g := s.serving(gens, incarnation)[v.StoredName()]
	if g == nil {
		report.Note = "not materialized"
		return nil, nil //nolint:nilnil // the note says it
	}
	report.T = time.UnixMicro(g.T).UTC()
	report.ReadTime = req.Now.UTC()
	switch {
	case req.Now.IsZero():
		// As a lookup does, where T was allowed to lie in the future.
		report.ReadTime = time.UnixMicro(max(s.cfg.Now().UnixMicro(), g.T)).UTC()
	case req.Now.Before(report.T):
		return nil, &problem.Error{
			Code: problem.Invalid, Field: "now",
			Message: fmt.Sprintf("read time %s is before T %s: the store has rows of later than the read time",
				stamp(req.Now), stamp(report.T)),
			Suggestion: "verify at T or later",
		}
	}
	if g.Digest != v.Digest {
		report.Note = "definition changed since this generation was filled; the next run fills a new one"
		return nil, nil //nolint:nilnil // the note says it
	}
	if outdated(v, g) != "" {
		report.addNote("ttl was raised; the next run fills a new generation")
	}
	if g.Diverged != state.NoTime {
		report.addNote("diverged since " + stamp(time.UnixMicro(g.Diverged)) + ": files changed or went; run with --full")
	}
	return g, nil
}

// files finds the files that the generation's runs read, as far as they are still there, and those that a run would
// read now.
func (c *check) files(ctx context.Context) error {
	had, err := c.consumedBy(ctx, c.gen)
	if err != nil {
		return err
	}
	var listed []source.File
	// Without any file read there is none to miss.
	if listed, err = c.cfg.Files.List(ctx, c.view.Source.Parquet); err != nil && len(had.ledger) > 0 {
		return err
	}
	have := make(map[string]source.File, len(listed))
	for _, f := range listed {
		have[f.Path] = f
	}
	missing, first := 0, ""
	for i := range had.ledger {
		l := &had.ledger[i]
		if f, ok := have[l.Path]; ok && same(l, f) {
			c.in.Files = append(c.in.Files, f)
			continue
		}
		if missing++; missing == 1 {
			first = l.Path
		}
	}
	if missing > 0 {
		c.altered = true
		c.report.addNote(fmt.Sprintf("%d of the files that were read have changed or are gone (%s): "+
			"what may come from their former rows can't be compared, and counts as behind", missing, first))
	}
	d := compare(had, listed, c.at)
	c.cut = len(had.attempts) > 0
	if d.pending()+int64(len(d.due)) > 0 {
		c.later = &asof.Input{View: c.view, Source: c.cfg.Files, Files: listed, Cutoff: c.at}
		c.fresh = slices.Concat(d.fresh, d.changed, d.due)
	}
	return nil
}

func (r *VerifyReport) addNote(note string) {
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += note
}

// all compares every entity of history, then every stored row whose entity history does not have.
func (c *check) all(ctx context.Context) error {
	var seen hashes // bounded memory for any number of entities
	add := func(key []byte) error {
		if !seen.add(xxh3.Hash(key)) {
			return nil
		}
		return c.add(ctx, key)
	}
	if err := c.entities(ctx, add); err != nil {
		return err
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	err := c.cfg.Online.Scan(ctx, c.gen.Generation, func(key, _ []byte) error { return add(key) })
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
	order := func(a, b pick) int { return cmp.Or(cmp.Compare(a.hash, b.hash), bytes.Compare(a.key, b.key)) }
	trim := func() {
		slices.SortFunc(picks, order)
		picks = slices.CompactFunc(picks, func(a, b pick) bool { return order(a, b) == 0 })
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

// entities calls fn with the key of every entity that history has up to T, or by now, some more than once. The key is
// valid during the call.
func (c *check) entities(ctx context.Context, fn func(key []byte) error) error {
	if err := c.entitiesOf(ctx, c.in, fn); err != nil || c.later == nil {
		return err
	}
	in := *c.later
	in.Files = c.fresh
	var told error // fn's
	err := c.entitiesOf(ctx, in, func(key []byte) error {
		told = fn(key)
		return told
	})
	if err == nil || told != nil || ctx.Err() != nil {
		return cmp.Or(told, err)
	}
	c.notLater(err)
	return nil
}

// notLater gives up to tell what is behind, because of a file that no run has read yet: what was read can be compared
// all the same.
func (c *check) notLater(err error) {
	c.later = nil
	c.report.addNote("what is behind can't be told: " + err.Error())
}

func (c *check) entitiesOf(ctx context.Context, in asof.Input, fn func(key []byte) error) error {
	if len(in.Files) == 0 {
		return nil
	}
	// No feature is read for it.
	view, declared := *c.view, *c.view.FeatureView
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
		c.differ(Difference{
			Entity: fmt.Sprintf("key %x", key), Feature: c.view.Features[0].Name, Class: Extra,
			Online: "a row under a damaged key", Offline: columnar.NotFound.String(),
		})
		return c.mender.remove(ctx, key)
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
