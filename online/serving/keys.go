package serving

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
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

// hashKey tells keys apart in logs, the same way in all servers of a registry. Keys are people.
func (s *Server) hashKey(key []byte) string {
	h := hmac.New(sha256.New, s.opts.KeySecret)
	h.Write(key)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// SampleKeys returns the hashes of the keys of at most so many rows of a request, taken at random, those without a key
// left out. For an entity that takes all of the request's keys they are those that are told of damaged rows.
func (s *Server) SampleKeys(req *Request, most int) []string {
	type column struct {
		name string
		*columnar.Vector
	}
	var columns []column
	for i, v := range req.Keys {
		columns = append(columns, column{req.KeyNames[i], v})
	}
	slices.SortFunc(columns, func(a, b column) int { return strings.Compare(a.name, b.name) })
	var vectors []*columnar.Vector
	rows := 0
	for i, c := range columns {
		if vectors = append(vectors, c.Vector); i == 0 || c.Len() < rows {
			rows = c.Len()
		}
	}
	var hashes []string
	for k := range min(most, rows) {
		i := k
		if rows > most {
			i = rand.IntN(rows)
		}
		if key, ok := row.AppendKey(nil, vectors, i); ok {
			hashes = append(hashes, s.hashKey(key))
		}
	}
	return hashes
}
