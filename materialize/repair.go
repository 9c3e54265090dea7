package materialize

import (
	"bytes"
	"context"
	"errors"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

const (
	// mendKeys are how many entities wait until they are mended together: each time the view's history is read once.
	mendKeys = 1 << 18
	// mendBatch is how many rows are written between two looks at the lease.
	mendBatch = 1000
)

// repair compares a view and mends what differs, under its lease, so that no run goes on meanwhile; then it compares
// again. Each row that it writes is right by itself: one that is cut short has mended some.
func (s *Service) repair(ctx context.Context, v *registry.View, req VerifyRequest, progress func(Progress)) (VerifyReport, error) {
	lease, err := s.cfg.State.Acquire(ctx, v.StoredName(), s.cfg.StoreName, s.cfg.By, s.cfg.Now(), s.cfg.LeaseTTL)
	if err != nil {
		return VerifyReport{}, err
	}
	ctx, release := s.hold(ctx, lease, 0)
	defer release()
	report, err := s.verifyView(ctx, v, req, &lease, progress)
	if mended := report.Repaired; err == nil && mended > 0 {
		report, err = s.verifyView(ctx, v, req, nil, progress)
		report.Repaired = mended
	}
	if errors.Is(err, state.ErrLeaseLost) || errors.Is(context.Cause(ctx), state.ErrLeaseLost) {
		// What it wrote last may have met the other's writes.
		return report, &problem.Error{
			Code: problem.Conflict, Err: state.ErrLeaseLost,
			Message:    "a run has taken over, because this repair gave no sign of life",
			Suggestion: "repeat it",
		}
	}
	return report, err
}

// mender collects the entities whose rows are not as history has them, and mends them. A nil one leaves them.
type mender struct {
	*check
	lease   state.Lease
	wanted  map[string][]byte // by key: the row to write, nil until history has been read
	removed [][]byte
}

func newMender(c *check, lease state.Lease) *mender {
	return &mender{check: c, lease: lease, wanted: make(map[string][]byte)}
}

// rewrite takes an entity that history has.
func (m *mender) rewrite(ctx context.Context, key []byte) error {
	if m == nil {
		return nil
	}
	m.wanted[string(key)] = nil
	return m.added(ctx)
}

// remove takes an entity that history has not.
func (m *mender) remove(ctx context.Context, key []byte) error {
	if m == nil {
		return nil
	}
	m.removed = append(m.removed, bytes.Clone(key))
	return m.added(ctx)
}

func (m *mender) added(ctx context.Context) error {
	if len(m.wanted)+len(m.removed) < mendKeys {
		return nil
	}
	return m.flush(ctx)
}

// flush mends the entities taken so far.
func (m *mender) flush(ctx context.Context) error {
	if err := m.find(ctx); err != nil {
		return err
	}
	expire := expiry(m.view, m.report.T)
	var entries []online.Entry
	write := func() error {
		_, err := m.cfg.Online.Write(ctx, m.gen.Generation, entries, online.WinAlways)
		return err
	}
	for key, newest := range m.wanted {
		if newest == nil {
			continue // the comparison that follows tells
		}
		e := online.Entry{Key: []byte(key), Row: newest}
		if event, _, err := row.Times(newest); err == nil && expire != 0 {
			e.Expire = event + expire
		}
		if entries = append(entries, e); len(entries) == mendBatch {
			if err := m.mend(ctx, len(entries), write); err != nil {
				return err
			}
			entries = entries[:0]
		}
	}
	if err := m.mend(ctx, len(entries), write); err != nil {
		return err
	}
	for len(m.removed) > 0 {
		keys := m.removed[:min(len(m.removed), mendBatch)]
		err := m.mend(ctx, len(keys), func() error { return m.cfg.Online.Delete(ctx, m.gen.Generation, keys) })
		if err != nil {
			return err
		}
		m.removed = m.removed[len(keys):]
	}
	clear(m.wanted)
	return nil
}

// find reads the newest rows of the wanted entities, as a run up to T does.
func (m *mender) find(ctx context.Context) error {
	if len(m.wanted) == 0 {
		return nil
	}
	m.progress(Progress{View: m.view.Name, Stage: "repair", Done: m.report.Repaired})
	opts := asof.Options{Workers: m.cfg.Workers, Limits: m.cfg.Limits}
	var key, encoded []byte
	_, err := asof.Latest(ctx, m.in, since(m.view, m.report.T, m.cfg.Now()), opts, func(b *asof.Batch) error {
		for i, event := range b.Event {
			var ok bool
			if key, ok = row.AppendKey(key[:0], b.Keys, i); !ok {
				continue
			}
			newest, ok := m.wanted[string(key)]
			if !ok {
				continue
			}
			encoded = m.view.Layout.AppendRow(encoded[:0], event, b.Created[i], b.Features, i)
			if newest == nil || row.Compare(encoded, newest) > 0 {
				m.wanted[string(key)] = bytes.Clone(encoded)
			}
		}
		return nil
	})
	return err
}

// mend changes n rows by change, between two looks at the lease: a process that was stopped meanwhile learns that it
// may have undone what a run has written.
func (m *mender) mend(ctx context.Context, n int, change func() error) error {
	if n == 0 {
		return nil
	}
	if err := m.renew(ctx); err != nil {
		return err
	}
	if err := change(); err != nil {
		return storeFailure("repair", err)
	}
	m.report.Repaired += int64(n)
	m.progress(Progress{View: m.view.Name, Stage: "repair", Done: m.report.Repaired})
	return m.renew(ctx)
}

func (m *mender) renew(ctx context.Context) error {
	return m.cfg.State.Renew(ctx, m.lease, m.cfg.Now(), m.cfg.LeaseTTL)
}
