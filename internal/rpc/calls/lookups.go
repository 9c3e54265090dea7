package calls

import (
	"context"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online/serving"
)

// Lookups answers lookups; *serving.Server does.
type Lookups interface {
	Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error)
	// KeyKinds returns the kinds of the keys that a request names, for JSON, whose values have none.
	KeyKinds(ctx context.Context, req *serving.Request) ([]columnar.Kind, error)
}

// Watched returns next, its lookups noted in the calls that they belong to.
func Watched(next Lookups) Lookups { return watched{next} }

type watched struct{ Lookups }

// Lookup implements Lookups.
func (w watched) Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error) {
	a, err := w.Lookups.Lookup(ctx, req)
	if c := From(ctx); c != nil {
		c.noteLookup(req, a)
	}
	return a, err
}
