// Package offline answers from history: training sets with their manifests, and single lookups at an instant.
package offline

import (
	"time"

	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// SpineOptions say how the spine's time column is read (R1).
type SpineOptions struct {
	Time     string          // the column
	Unit     string          // for integers: s, ms, us, ns; "" makes an integer column an error
	Location *time.Location  // for naive timestamps; nil: UTC
	At       registry.DayEnd // for DATE columns; "" makes them an error
}

// ExportRequest is one training set.
type ExportRequest struct {
	Service  *registry.Service
	Snapshot *registry.Snapshot
	Source   *source.Files
	Spine    string // path of a Parquet file
	SpineOptions
	Out      string         // path; the manifest goes beside it as OUT.manifest.json
	Tool     string         // Provender's version, for the manifest
	Workers  int            // default GOMAXPROCS
	Progress func(Progress) // may be nil; one call at a time
}

// Progress is how far an export is.
type Progress struct {
	Stage      string // "airport_hourly as origin", "write"
	Done, Size int64  // rows; Size is a guess until all files are open, 0: not known
}

// ExportReport is what an export did: what the summary prints and the manifest holds.
type ExportReport struct {
	Rows     int64
	Features []FeatureCounts
	Took     time.Duration
	Manifest string // path
}

// FeatureCounts counts the cells of one output by status.
type FeatureCounts struct {
	Name                             string
	Present, Null, Expired, NotFound int64
}
