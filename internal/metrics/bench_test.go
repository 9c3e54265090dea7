package metrics

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online/serving"
)

type nothing struct{ answer *serving.Answer }

func (n nothing) Lookup(context.Context, *serving.Request) (*serving.Answer, error) {
	return n.answer, nil
}

func (nothing) KeyKinds(context.Context, *serving.Request) ([]columnar.Kind, error) { return nil, nil }

// What counting adds to a lookup.
func BenchmarkCount(b *testing.B) {
	none := func() error { return nil }
	m := New(Config{
		Store: none, Registry: none, Refreshed: time.Now, Revision: func() int64 { return 1 },
		Damaged: func() int64 { return 0 }, Logger: slog.New(slog.DiscardHandler),
	})
	lookups := m.Count(nothing{&serving.Answer{Rows: 100, Cells: [columnar.Statuses]int{columnar.Present: 900, columnar.Null: 100}}})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var req serving.Request
		for p.Next() {
			if _, err := lookups.Lookup(b.Context(), &req); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
