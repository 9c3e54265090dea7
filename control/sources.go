package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// A plan needs no data: a store that does not answer costs it no more than this.
const (
	sourceTime = 20 * time.Second // for one source
	allTime    = time.Minute      // for all
	slowPart   = 8                // of the time: after one it is told what is waited for
	atOnce     = 4                // sources
)

// lateError is the end of a plan's patience.
type lateError struct{ within time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no answer within %s", e.within) }
func (e *lateError) Unwrap() error { return context.DeadlineExceeded }

// checkSources checks every view's columns against the files of its source: the first, the last, and some between them. A
// source without files, or out of reach, is a warning: they may be elsewhere, or yet to come. What the plan fills anew is
// estimated. The error is a diag.Set.
func (s *Service) checkSources(ctx context.Context, project *definition.Project, made *plan.Plan) (warnings diag.Set, err error) {
	snapshot, err := registry.Compile(0, project.Definitions)
	if err != nil {
		return nil, err
	}
	checks := bySource(snapshot, project.Positions)
	limited, cancel := context.WithTimeoutCause(ctx, allTime, &lateError{allTime})
	defer cancel()
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, c := range checks {
		group.Go(func() error {
			c.run(limited, s, made.Generations)
			return nil
		})
	}
	_ = group.Wait() // every error is in its check
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found diag.Set
	for _, c := range checks {
		found, warnings = append(found, c.found...), append(warnings, c.warnings...)
		made.Estimates = append(made.Estimates, c.estimates...)
	}
	slices.SortFunc(made.Estimates, func(a, b plan.Estimate) int { return cmp.Compare(a.View, b.View) })
	return slices.Compact(warnings), found.Err()
}

// sourceCheck checks the views that read the same files.
type sourceCheck struct {
	patterns        []string
	views           []*registry.View
	positions       *definition.Positions
	found, warnings diag.Set
	estimates       []plan.Estimate
}

// bySource returns a check for each set of files, in the order of the first view that reads it.
func bySource(snapshot *registry.Snapshot, positions *definition.Positions) []*sourceCheck {
	var checks []*sourceCheck
	for _, declared := range snapshot.Definitions.Views {
		v := snapshot.Views[declared.Name]
		at := slices.IndexFunc(checks, func(c *sourceCheck) bool { return slices.Equal(c.patterns, v.Source.Parquet) })
		if at < 0 {
			at = len(checks)
			checks = append(checks, &sourceCheck{patterns: v.Source.Parquet, positions: positions})
		}
		checks[at].views = append(checks[at].views, v)
	}
	return checks
}

func (c *sourceCheck) run(ctx context.Context, s *Service, generations []string) {
	within := cmp.Or(s.SourceTime, sourceTime)
	ctx, cancel := context.WithTimeoutCause(ctx, within, &lateError{within})
	defer cancel()
	if s.Waiting != nil {
		slow := time.AfterFunc(within/slowPart, func() { s.Waiting(strings.Join(c.patterns, ", "), within) })
		defer slow.Stop()
	}
	survey, err := offline.NewSurvey(ctx, s.Files, c.patterns, s.Limits)
	if err != nil {
		c.unlisted(err)
		return
	}
	defer survey.Close()
	c.unread(ctx, survey)
	for _, v := range c.views {
		for _, want := range c.columns(v) {
			c.column(survey, want)
		}
	}
	if len(c.found) > 0 {
		return
	}
	for _, v := range c.views {
		if !slices.Contains(generations, v.Name) {
			continue
		}
		// What can't be estimated is left out: a plan is as good without.
		if e, err := survey.Statistics(ctx, v); err == nil {
			c.estimates = append(c.estimates, plan.Estimate{
				View: v.Name, Files: e.Files, Sampled: e.Looked, Rows: e.Rows, Keys: e.Keys, ReadBytes: e.Read, StoredBytes: e.Stored,
			})
		}
	}
}

// unlisted tells why there are no files: what no run may read is an error, what is out of reach a warning.
func (c *sourceCheck) unlisted(err error) {
	if errors.Is(err, source.ErrRefused) {
		c.each(&c.found, definition.CodeUnreadableData, err)
		return
	}
	c.each(&c.warnings, definition.CodeNoData, err)
}

// each adds a problem of the files at each definition that names them.
func (c *sourceCheck) each(set *diag.Set, code string, err error) {
	for _, v := range c.views {
		if at := c.source(v, "parquet"); len(*set) == 0 || (*set)[len(*set)-1].Position != at {
			add(set, at, code, err)
		}
	}
}

// unread tells which files can't be read: of those that are broken the last one; of what is out of reach, or changes at
// the moment, as a warning.
func (c *sourceCheck) unread(ctx context.Context, survey *offline.Survey) {
	var broken, passing error
	more := 0
	for _, l := range slices.Backward(survey.Looked) {
		switch code := problem.CodeOf(l.Err); {
		case l.Err == nil:
		case code == problem.Conflict || code == problem.Unavailable || ctx.Err() != nil:
			passing = l.Err
		case broken == nil:
			broken = l.Err
		default:
			more++
		}
	}
	if broken != nil {
		c.each(&c.found, definition.CodeUnreadableData, broken)
		if last := &c.found[len(c.found)-1]; more > 0 {
			last.Message += fmt.Sprintf("; of %d files looked at, %d more can't be read", len(survey.Looked), more)
		}
	}
	if passing != nil {
		c.each(&c.warnings, definition.CodeNoData, passing)
	}
}

// column checks a column against all files that were looked at, and tells its problem once: in the last file that has it,
// beside the last one that has not.
func (c *sourceCheck) column(survey *offline.Survey, want placed) {
	columns := []parquet.Column{want.Column}
	var bad, good *parquet.File
	var why error
	for _, l := range slices.Backward(survey.Looked) {
		if l.Footer == nil {
			continue
		}
		switch _, err := l.Footer.Bind(columns); {
		case err == nil && good == nil:
			good = l.Footer
		case err != nil && bad == nil:
			bad, why = l.Footer, err
		}
	}
	if bad == nil {
		return
	}
	if good != nil {
		why = cmp.Or(bad.Drift(why, columns, good), why)
	}
	add(&c.found, want.at, definition.CodeColumnMismatch, why)
}

// placed is a column that a definition asks for.
type placed struct {
	parquet.Column
	at diag.Position
}

// columns are those of offline.ViewColumns with their places.
func (c *sourceCheck) columns(v *registry.View) []placed {
	var at []diag.Position
	for _, k := range v.KeyColumns {
		at = append(at, c.positions.At("FeatureView", v.Name, "keys", k.Name))
	}
	at = append(at, c.source(v, "event_time"))
	for i, f := range v.Features {
		part := "name"
		if f.Column != "" {
			part = "column"
		}
		at = append(at, c.positions.At("FeatureView", v.Name, "features", strconv.Itoa(i), part))
	}
	at = append(at, c.source(v, "created_time"))
	var columns []placed
	for i, column := range offline.ViewColumns(v) {
		columns = append(columns, placed{column, at[i]})
	}
	return columns
}

// source is the position of a key of a view's source.
func (c *sourceCheck) source(v *registry.View, key string) diag.Position {
	if v.Source.Inline {
		return c.positions.At("FeatureView", v.Name, "source", key)
	}
	return c.positions.At("Source", v.Source.Name, key)
}

// add adds an error as a diagnostic.
func add(set *diag.Set, at diag.Position, code string, err error) {
	var p *problem.Error
	message, hint := err.Error(), ""
	if errors.As(err, &p) {
		message, hint = p.Message, p.Suggestion
	}
	set.Add(at, code, "%s", message).Hint = hint
}
