package materialize

import (
	"context"
	"math"
	"slices"

	"github.com/provender-dev/provender/materialize/state"
)

// LastSwap returns the number of the last swap of generations. What Live returns afterwards shows it.
func (s *Service) LastSwap(ctx context.Context) (int64, error) { return s.cfg.State.LastSwap(ctx) }

// withoutNeeded removes the retired generations that a server may still answer from: one that has not yet seen the swap
// that retired them.
func (s *Service) withoutNeeded(ctx context.Context, gens []state.Generation) ([]state.Generation, error) {
	servers, err := s.cfg.State.Servers(ctx, s.cfg.StoreName, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	seen := int64(math.MaxInt64)
	for _, sv := range servers {
		seen = min(seen, sv.Swap)
	}
	return slices.DeleteFunc(gens, func(g state.Generation) bool { return g.Phase == state.Retired && g.Swap > seen }), nil
}
