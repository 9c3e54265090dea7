package offline

import (
	"context"
	"math"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// Answer is cells by output column for some entities.
type Answer struct {
	Columns []*columnar.Vector  // per output of the service; defaults filled in (R6)
	Status  [][]columnar.Status // per output, per row
	Events  [][]int64           // per read of the service, per row; math.MinInt64 for none
}

// LookupRequest asks what was known at an instant.
type LookupRequest struct {
	Service *registry.Service
	Source  *source.Files
	Keys    []*columnar.Vector // one per Service.RequestKeys, of one length: the number of rows; without request keys one row
	At      int64              // microseconds
	Limits  parquet.Limits
	Workers int // default GOMAXPROCS
}

// Lookup answers from history: what an export with that spine would give.
func Lookup(ctx context.Context, req LookupRequest) (*Answer, error) {
	svc, keys := req.Service, req.Keys
	rows, err := lookupRows(svc, keys)
	if err != nil {
		return nil, err
	}
	times := make([]int64, rows)
	for i := range times {
		times[i] = req.At
	}
	joined, err := join(ctx, svc, req.Source, times, keys, joinOptions{workers: req.Workers, limits: req.Limits})
	if err != nil {
		return nil, err
	}
	out := &Answer{}
	for i, o := range svc.Outputs {
		t := outputType(svc, i)
		if size := joined.totalSize(i, rows); size > math.MaxUint32 {
			return nil, problem.New(problem.Exhausted, "output %s: %d bytes for %d rows; ask for fewer at a time", o.Name, size, rows)
		}
		result := joined.results[o.Read]
		cells := columnar.NewVector(t, rows)
		result.Cells(joined.columns[i], 0, rows, cells)
		status := make([]columnar.Status, rows)
		for row, s := range result.Status {
			if s == columnar.Present && cells.IsNull(row) {
				s = columnar.Null
			}
			status[row] = s
		}
		filled := columnar.NewVector(t, rows)
		joined.cells(i, 0, rows, filled, columnar.NewVector(t, rows))
		out.Columns = append(out.Columns, filled)
		out.Status = append(out.Status, status)
	}
	for _, result := range joined.results {
		out.Events = append(out.Events, result.Event)
	}
	return out, nil
}

// totalSize returns the bytes of an output's cells, 0 for a fixed width.
func (a *answer) totalSize(output, rows int) int {
	size := 0
	if outputType(a.service, output).FixedWidth() {
		return size
	}
	for row := range rows {
		size += a.size(output, row)
	}
	return size
}

// lookupRows checks the request keys and returns the number of rows they ask for.
func lookupRows(svc *registry.Service, keys []*columnar.Vector) (int, error) {
	if len(keys) != len(svc.RequestKeys) {
		return 0, problem.New(problem.Invalid, "%d key columns where the service has %d", len(keys), len(svc.RequestKeys))
	}
	if len(keys) == 0 {
		return 1, nil
	}
	for i, key := range svc.RequestKeys {
		if (keys[i].Type != columnar.Type{Kind: key.Kind}) {
			return 0, problem.New(problem.Invalid, "key %s is %s, and the service needs %s", key.Name, keys[i].Type, key.Kind)
		}
		if keys[i].Len() != keys[0].Len() {
			return 0, problem.New(problem.Invalid, "key %s has %d rows where %s has %d",
				key.Name, keys[i].Len(), svc.RequestKeys[0].Name, keys[0].Len())
		}
	}
	return keys[0].Len(), nil
}
