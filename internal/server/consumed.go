package server

import (
	"context"
	"slices"
	"time"

	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// How far the runs into the online store have come with a file.
const (
	ConsumedNot     = "not_online" // the view is for training only
	ConsumedNever   = "never"      // nothing was materialized yet
	ConsumedPending = "pending"    // no run of the serving generation has read the file
	ConsumedChanged = "changed"    // the file is another than the one that a run read
	ConsumedHeld    = "held"       // the row is dated after the T that the generation is complete up to
	ConsumedRead    = "read"
)

// Consumed tells what runs have made of a row of a view, by their records: the online store is not opened.
func (p *Project) Consumed(ctx context.Context, view *registry.View, file source.File, event int64) (*rpc.Consumed, error) {
	if !view.Online {
		return &rpc.Consumed{State: ConsumedNot}, nil
	}
	reg, err := p.Registry(ctx)
	if err != nil {
		return nil, err
	}
	records, err := state.Open(ctx, reg.DB())
	if err != nil {
		return nil, err
	}
	gens, err := records.Generations(ctx, view.StoredName())
	if err != nil {
		return nil, err
	}
	var serving *state.Generation
	for i, g := range gens { // oldest first
		if g.Phase == state.Serving && g.Store == p.storeName() {
			serving = &gens[i]
		}
	}
	if serving == nil {
		return &rpc.Consumed{State: ConsumedNever}, nil
	}
	c := &rpc.Consumed{State: ConsumedPending, Generation: uint64(serving.ID), T: time.UnixMicro(serving.T).UTC()}
	ledger, err := records.Ledger(ctx, serving.ID)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(ledger, func(f state.LedgerFile) bool { return f.Path == file.Path })
	if at < 0 {
		return c, nil
	}
	c.Run = ledger[at].Run
	switch {
	case ledger[at].Identity != file.Identity || ledger[at].Size != file.Size:
		c.State = ConsumedChanged
	case event > serving.T:
		c.State = ConsumedHeld
	default:
		c.State = ConsumedRead
	}
	return c, nil
}
