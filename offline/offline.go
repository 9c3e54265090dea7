// Package offline answers from history: training sets with their manifests, and single lookups at an instant.
package offline

import (
	"context"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
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
	Out      string // path; the manifest goes beside it as OUT.manifest.json
	Workers  int    // default GOMAXPROCS
	Progress func(Progress)
}

// Progress is how far an export is.
type Progress struct {
	Stage      string // "airport_hourly as origin", "write"
	Done, Size int64  // rows
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

// Export joins a service's features onto a spine and writes Parquet: every spine column unchanged and first, then the
// features in the service's order (R7). The output appears under its name complete or not at all.
func Export(ctx context.Context, req ExportRequest) (*ExportReport, error) { panic("unwritten") }

// Answer is cells by output column for some entities.
type Answer struct {
	Columns []*columnar.Vector  // per output of the service; defaults filled in (R6)
	Status  [][]columnar.Status // per output, per row
	Events  [][]int64           // per read of the service, per row; math.MinInt64 for none
}

// Lookup answers from history what was known of the given request keys (one vector per Service.RequestKeys) at an
// instant: what an export with that spine would give.
func Lookup(ctx context.Context, svc *registry.Service, files *source.Files, keys []*columnar.Vector, at int64) (*Answer, error) {
	panic("unwritten")
}
