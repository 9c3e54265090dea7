package serving

import (
	"context"
	"slices"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// KeyKinds returns the kinds of the keys that a request names, in its order, by the definitions that would answer it:
// Int64 or String, for callers whose values come without types. req.Keys is not looked at. Errors are those of Lookup.
func (s *Server) KeyKinds(_ context.Context, req *Request) ([]columnar.Kind, error) {
	p, _, err := s.plan(req)
	if err != nil {
		return nil, err
	}
	kinds := make([]columnar.Kind, 0, len(p.service.RequestKeys))
	for _, name := range req.KeyNames {
		i := slices.IndexFunc(p.service.RequestKeys, func(k registry.RequestKey) bool { return k.Name == name })
		if i < 0 {
			return nil, unknownKey(p.service, name)
		}
		kinds = append(kinds, p.service.RequestKeys[i].Kind)
	}
	return kinds, nil
}
