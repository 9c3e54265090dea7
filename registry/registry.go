// Package registry holds what users declare (entities, sources, views, services), its immutable revisions, and the
// compiled form that both paths read. It reads no YAML (registry/definition) and no database (registry/store).
package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
)

// Definitions is one complete state of a project: what one revision holds. Every slice is sorted by name.
// Its JSON is stored in the registry: fields may be added, left out where they are empty, and never renamed. A Provender
// that does not know one refuses the definitions that have it.
type Definitions struct {
	Entities []*Entity         `json:"entities,omitempty"`
	Sources  []*Source         `json:"sources,omitempty"`
	Views    []*FeatureView    `json:"views,omitempty"`
	Services []*FeatureService `json:"services,omitempty"`
}

// Complete reports whether no definition is null, as JSON that Provender did not write may have it: nothing else here
// takes such.
func (d *Definitions) Complete() bool {
	for _, v := range d.Views {
		if v == nil || slices.Contains(v.Features, nil) {
			return false
		}
	}
	return !slices.Contains(d.Entities, nil) && !slices.Contains(d.Sources, nil) && !slices.Contains(d.Services, nil)
}

// Meta is what every definition may carry besides its meaning.
type Meta struct {
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// Entity is a thing that features describe.
type Entity struct {
	Name string `json:"name"`
	Meta
	// Was, here and below, is the name that `was` gives: the plan makes it a rename. The registry does not keep it.
	Was      string    `json:"-"`
	JoinKeys []JoinKey `json:"join_keys"`
}

// JoinKey is a typed column that identifies an entity: int64 or string (R8).
type JoinKey struct {
	Name string        `json:"name"`
	Type columnar.Type `json:"type"`
}

// Rewrites says what a changed or deleted file does to what is online (R12).
type Rewrites string

// The ways of R12.
const (
	RewritesRebuild Rewrites = "rebuild"
	RewritesReplace Rewrites = "replace"
)

// Ambiguous says how a local time that does not exist, or exists twice, is read (R1).
type Ambiguous string

// The ways of R1.
const (
	AmbiguousError    Ambiguous = "error"
	AmbiguousEarliest Ambiguous = "earliest"
	AmbiguousLatest   Ambiguous = "latest"
)

// DayEnd says at which end of a day a DATE holds (R1); "" for columns that are instants.
type DayEnd string

// The ends of a day.
const (
	AtStart DayEnd = "start"
	AtEnd   DayEnd = "end"
)

// UnmarshalText refuses ways that this Provender does not know, as one of the others does.
func (r *Rewrites) UnmarshalText(b []byte) error {
	return oneOf(r, b, "rewrites", RewritesRebuild, RewritesReplace)
}

// UnmarshalText is as that of Rewrites.
func (a *Ambiguous) UnmarshalText(b []byte) error {
	return oneOf(a, b, "ambiguous", AmbiguousError, AmbiguousEarliest, AmbiguousLatest)
}

// UnmarshalText is as that of Rewrites.
func (d *DayEnd) UnmarshalText(b []byte) error { return oneOf(d, b, "at", "", AtStart, AtEnd) }

func oneOf[T ~string](v *T, b []byte, name string, known ...T) error {
	if *v = T(b); !slices.Contains(known, *v) {
		return fmt.Errorf("unknown %s %q", name, b)
	}
	return nil
}

// TimeColumn names a source's time column.
type TimeColumn struct {
	Column string `json:"column"`
	At     DayEnd `json:"at,omitempty"`
}

// Source is where rows come from. Defaults are filled in: Timezone "UTC", Ambiguous error, Rewrites rebuild.
type Source struct {
	Name string `json:"name"` // of an inline source: its view's name
	Meta
	Was         string     `json:"-"`
	Inline      bool       `json:"inline,omitempty"`
	Parquet     []string   `json:"parquet"` // "root:path", path, folder or glob, as written
	EventTime   TimeColumn `json:"event_time"`
	CreatedTime string     `json:"created_time,omitempty"` // column, "" for none
	Timezone    string     `json:"timezone"`
	Ambiguous   Ambiguous  `json:"ambiguous"`
	Rewrites    Rewrites   `json:"rewrites"`
}

// FeatureView is features of the same entities from one source.
type FeatureView struct {
	Name string `json:"name"`
	Meta
	Was string `json:"-"`
	// Stored is the name that the view had first, "" where it was never renamed: what is stored goes by it.
	Stored           string            `json:"stored,omitempty"`
	Entities         []string          `json:"entities"` // empty: a global view
	Source           string            `json:"source"`
	Keys             map[string]string `json:"keys,omitempty"`     // join key -> column of the source, where names differ
	TTL              time.Duration     `json:"ttl,omitempty"`      // 0: never expires
	Schedule         string            `json:"schedule,omitempty"` // cron; "" for none
	ScheduleTimezone string            `json:"schedule_timezone,omitempty"`
	Online           bool              `json:"online"`
	Features         []*Feature        `json:"features"`
}

// StoredName is the name that what is stored of the view goes by, whatever it is called now.
func (v *FeatureView) StoredName() string { return cmp.Or(v.Stored, v.Name) }

// Feature is one column of a view.
type Feature struct {
	Name string `json:"name"`
	Meta
	Was     string          `json:"-"`
	Stored  string          `json:"stored,omitempty"` // as of FeatureView
	Column  string          `json:"column,omitempty"` // "" means Name
	Type    columnar.Type   `json:"type"`
	Default json.RawMessage `json:"default,omitempty"` // read by columnar.ParseJSON; nil for none
}

// StoredName is the name that the feature has in stored rows, whatever it is called now.
func (f *Feature) StoredName() string { return cmp.Or(f.Stored, f.Name) }

// FeatureService is the named, ordered list of features that one model uses.
type FeatureService struct {
	Name string `json:"name"`
	Meta
	Was      string        `json:"-"`
	Locked   bool          `json:"locked,omitempty"` // its shape can't change: a model pins it
	Features []ServiceView `json:"features"`
}

// ServiceView is one view's part of a service.
type ServiceView struct {
	View     string            `json:"view"`
	Prefix   string            `json:"prefix,omitempty"`
	Join     map[string]string `json:"join,omitempty"`     // join key -> spine column and request key
	Features []ServiceFeature  `json:"features,omitempty"` // empty: all, in the view's order
}

// ServiceFeature selects one feature. In YAML a bare name is short for {name: …}.
type ServiceFeature struct {
	Name string `json:"name"`
	As   string `json:"as,omitempty"` // the output's whole name; no prefix is added
}
