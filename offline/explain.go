package offline

import (
	"context"
	"fmt"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// ExplainRequest asks why a feature has the value that it has.
type ExplainRequest struct {
	View       *registry.View
	Feature    int // index into the view's Features
	Source     *source.Files
	Keys       []*columnar.Vector // one per View.KeyColumns, of one value each
	At         int64              // microseconds
	Candidates int                // to list on each side of the row that answers
	Limits     parquet.Limits
	Workers    int // default GOMAXPROCS
}

// Explanation is why a feature has the value that it has: what Lookup and Export answer, and what they have chosen from.
type Explanation struct {
	Status columnar.Status
	Value  *columnar.Vector // one value, the default filled in (R6)
	// NullKey tells that a key is null, which is no entity's (R7). The files were not read then.
	NullKey bool
	Files   []source.File
	// The rows; asof.Explanation.Before[0] is the one that answers, or would if it were not past 2 × ttl.
	*asof.Explanation
	// Lost says of Before why each does not answer: "" for the first.
	Lost []Loss
}

// Loss is why a row up to the instant does not answer. Why is stable, for programs.
type Loss struct {
	Why     string
	Feature int // with LostEncoding: whose bytes decide
}

// Why a row loses against the one that answers (R2, R4), the first rule that does not tell them apart left out.
const (
	LostEvent    = "older_event_time"
	LostCreated  = "earlier_created_time"
	LostEncoding = "smaller_encoding"
)

// Explain reads all files of the view's source for one entity.
func Explain(ctx context.Context, req ExplainRequest) (*Explanation, error) {
	view := req.View
	if req.Candidates < 0 {
		return nil, problem.New(problem.Invalid, "%d candidates: want none or more", req.Candidates)
	}
	x := &Explanation{Status: columnar.NotFound, Explanation: &asof.Explanation{First: math.MaxInt64, Last: math.MinInt64}}
	for _, key := range req.Keys {
		x.NullKey = x.NullKey || key.NullCount() > 0
	}
	if !x.NullKey {
		if err := x.read(ctx, req); err != nil {
			return nil, fmt.Errorf("view %s: %w", view.Name, err)
		}
	}
	x.Value = columnar.NewVector(view.Features[req.Feature].Type, 1)
	if len(x.Before) > 0 {
		x.Status = columnar.Judge(x.Before[0].Event, req.At, view.TTLMicros)
	}
	byDefault := view.Defaults[req.Feature]
	switch {
	case x.Status == columnar.Present:
		value := x.Before[0].Features[req.Feature]
		x.Value.AppendFrom(value, 0)
		if value.IsNull(0) {
			x.Status = columnar.Null
		}
	case byDefault != nil:
		x.Value.AppendFrom(byDefault, 0)
	default:
		x.Value.AppendNull()
	}
	return x, nil
}

func (x *Explanation) read(ctx context.Context, req ExplainRequest) error {
	view := req.View
	var err error
	if x.Files, err = req.Source.List(ctx, view.Source.Parquet); err != nil {
		return err
	}
	in := asof.Input{View: view, Source: req.Source, Files: x.Files, Cutoff: asof.NoCutoff}
	x.Explanation, err = asof.Explain(ctx, req.Keys, req.At, req.Candidates, in,
		asof.Options{Workers: req.Workers, Limits: req.Limits})
	if err != nil {
		return err
	}
	for i := range x.Before {
		x.Lost = append(x.Lost, lost(view, &x.Before[0], &x.Before[i]))
	}
	return nil
}

// lost says why a row does not answer where best does.
func lost(view *registry.View, best, c *asof.Candidate) Loss {
	switch {
	case c == best:
		return Loss{}
	case c.Event < best.Event:
		return Loss{Why: LostEvent}
	case c.Created < best.Created:
		return Loss{Why: LostCreated}
	}
	return Loss{LostEncoding, view.Layout.Decides(best.Features, 0, c.Features, 0)}
}
