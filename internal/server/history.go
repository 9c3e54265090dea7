package server

import (
	"context"
	"fmt"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/registry"
)

// history answers from a project's files.
type history struct {
	project  *Project
	snapshot func(context.Context) (*registry.Snapshot, error)
	// Of one lookup; 0 for no limit.
	maxEntities, maxFeatures int
}

// Snapshot implements rpc.History.
func (h *history) Snapshot(ctx context.Context) (*registry.Snapshot, error) { return h.snapshot(ctx) }

// Lookup implements rpc.History.
func (h *history) Lookup(
	ctx context.Context, service *registry.Service, keys []*columnar.Vector, rows int, at time.Time,
) (*offline.Answer, error) {
	if h.maxEntities > 0 && rows > h.maxEntities {
		return nil, &problem.Error{
			Code: problem.Exhausted, Field: "keys",
			Message:    fmt.Sprintf("%d entities, at most %d (limits.request_entities)", rows, h.maxEntities),
			Suggestion: "send several requests",
		}
	}
	if n := len(service.Outputs); h.maxFeatures > 0 && n > h.maxFeatures {
		return nil, &problem.Error{
			Code: problem.Exhausted, Field: "features",
			Message:    fmt.Sprintf("%d features, at most %d (limits.request_features)", n, h.maxFeatures),
			Suggestion: "send several requests",
		}
	}
	return offline.Lookup(ctx, offline.LookupRequest{
		Service: service, Source: h.project.Files, Keys: keys, At: at.UnixMicro(), Limits: h.project.ParquetLimits(),
	})
}

// Export implements rpc.History.
func (h *history) Export(ctx context.Context, req offline.ExportRequest) (*offline.ExportReport, error) {
	req.Source, req.Memory, req.Tool = h.project.Files, h.project.Config.Limits.ExportMemory, h.project.Tool
	req.Limits, req.SpineLimits = h.project.ParquetLimits(), h.project.SpineLimits()
	return offline.Export(ctx, req)
}

// Explain implements rpc.History.
func (h *history) Explain(
	ctx context.Context, view *registry.View, feature int, keys []*columnar.Vector, at time.Time, candidates int,
) (*offline.Explanation, *rpc.Consumed, error) {
	found, err := offline.Explain(ctx, offline.ExplainRequest{
		View: view, Feature: feature, Source: h.project.Files, Keys: keys, At: at.UnixMicro(), Candidates: candidates,
		Limits: h.project.ParquetLimits(),
	})
	if err != nil || len(found.Before) == 0 {
		return found, nil, err
	}
	newest := &found.Before[0]
	consumed, err := h.project.Consumed(ctx, view, found.Files[newest.File], newest.Event)
	return found, consumed, err
}
