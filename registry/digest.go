package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/provender-dev/provender/internal/columnar"
)

// Digest returns the SHA-256 of the definitions' canonical JSON, in hexadecimal: equal for equal definitions, whatever
// the order of declaration.
func (d *Definitions) Digest() string {
	canonical := &Definitions{
		Entities: sortedBy(d.Entities, func(e *Entity) string { return e.Name }),
		Sources:  sortedBy(d.Sources, func(s *Source) string { return s.Name }),
		Views:    sortedBy(d.Views, func(v *FeatureView) string { return v.Name }),
		Services: sortedBy(d.Services, func(s *FeatureService) string { return s.Name }),
	}
	for i, v := range canonical.Views {
		if v.Entities == nil {
			global := *v
			global.Entities = []string{}
			canonical.Views[i] = &global
		}
	}
	return digest(canonical)
}

func sortedBy[T any](list []T, name func(T) string) []T {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return out
}

// viewShape is what makes a new generation necessary when it changes. Its JSON is hashed: never rename.
type viewShape struct {
	Parquet     []string       `json:"parquet"`
	EventTime   TimeColumn     `json:"event_time"`
	CreatedTime string         `json:"created_time"`
	Timezone    string         `json:"timezone"`
	Ambiguous   Ambiguous      `json:"ambiguous"`
	Keys        []keyShape     `json:"keys"`
	Features    []featureShape `json:"features"`
}

type keyShape struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Column string `json:"column"`
}

type featureShape struct {
	Name   string        `json:"name"`
	Type   columnar.Type `json:"type"`
	Column string        `json:"column"`
}

func viewDigest(v *View) string {
	shape := viewShape{
		Parquet:   slices.Sorted(slices.Values(v.Source.Parquet)),
		EventTime: v.Source.EventTime, CreatedTime: v.Source.CreatedTime,
		Timezone: v.Source.Timezone, Ambiguous: v.Source.Ambiguous,
		Keys:     make([]keyShape, len(v.KeyColumns)),
		Features: make([]featureShape, len(v.Features)),
	}
	for i, k := range v.KeyColumns {
		shape.Keys[i] = keyShape{Name: k.Name, Kind: k.Kind.String(), Column: k.Column}
	}
	for i, f := range v.Features {
		shape.Features[i] = featureShape{Name: f.StoredName(), Type: f.Type, Column: v.FeatureColumn(i)}
	}
	// Rows have the same bytes whatever the order of declaration.
	slices.SortFunc(shape.Features, func(a, b featureShape) int { return cmp.Compare(a.Name, b.Name) })
	return digest(shape)
}

// digest hashes a value whose JSON is canonical: structs, slices, maps with string keys.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// Only a Default that is not JSON can fail; Compile refuses that, and until then it must not equal anything valid.
		b = []byte("invalid: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
