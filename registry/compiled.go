package registry

import (
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
)

// View is a feature view with every name resolved. Immutable.
type View struct {
	*FeatureView
	Source   *Source
	Location *time.Location // of the source's naive timestamps
	// KeyColumns are the join keys in R8's order: entities in name order, then declared key order.
	KeyColumns []KeyColumn
	TTLMicros  int64 // 0: never expires
	// Layout encodes this view's rows; its fields are in the order of FeatureView.Features, under their stored names.
	Layout *row.Layout
	// Defaults has, per feature, a vector of one value, or nil.
	Defaults []*columnar.Vector
	// Digest changes with whatever makes a new generation necessary (R12): source paths and columns, keys, time zone,
	// feature set by stored names, types. Not with ttl, schedule, defaults, descriptions, or by a rename.
	Digest string
}

// KeyColumn is one join key of a view.
type KeyColumn struct {
	Entity string
	Name   string        // the join key
	Kind   columnar.Kind // Int64 or String
	Column string        // column of the source
}

// FeatureColumn returns the source column of feature i.
func (v *View) FeatureColumn(i int) string {
	if c := v.Features[i].Column; c != "" {
		return c
	}
	return v.Features[i].Name
}

// FeatureIndex returns the position of a feature, -1 if there is none.
func (v *View) FeatureIndex(name string) int {
	for i, f := range v.Features {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// Service is a feature service, or an ad-hoc list of features, with every name resolved. Immutable.
type Service struct {
	Name string // "" for an ad-hoc list
	// Reads are the distinct (view, binding) pairs, in order of first use; one lookup each.
	Reads []Read
	// Outputs are the feature columns, in the service's order.
	Outputs []Output
	// RequestKeys are the spine columns and request keys needed, in order of first use.
	RequestKeys []RequestKey
}

// Read is one view read under one binding of its join keys.
type Read struct {
	View *View
	// Binding has, per View.KeyColumns, the index into Service.RequestKeys.
	Binding []int
}

// Output is one feature column of a service.
type Output struct {
	Name    string
	Read    int // index into Service.Reads
	Feature int // index into the view's Features
}

// RequestKey is a column that a caller gives: one value per row.
type RequestKey struct {
	Name string
	Kind columnar.Kind // Int64 or String
}

// Snapshot is one revision, compiled. Immutable, shared by every goroutine.
type Snapshot struct {
	Revision    int64
	Digest      string // of the definitions; equal definitions have equal digests
	Definitions *Definitions
	Views       map[string]*View
	Services    map[string]*Service
	stored      map[string]*View // by stored name
}
