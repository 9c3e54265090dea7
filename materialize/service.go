package materialize

import (
	"context"
	"log/slog"
	"time"

	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/registry"
)

// Config is what a Service works with.
type Config struct {
	State    *state.Store
	Online   online.Store
	Files    *source.Files
	Snapshot func() *registry.Snapshot // the current revision
	Now      func() time.Time          // default time.Now
	// MaxClockSkew is how far behind now a default T stays; default 1 s.
	MaxClockSkew time.Duration
	By           string // user@host:pid, for records and leases
	Logger       *slog.Logger
	// Changed is called after a generation began to serve or its T moved; may be nil.
	Changed func()
}

// Service runs, records and checks materializations. Safe for concurrent use.
type Service struct{}

// New returns a service; it touches nothing yet.
func New(cfg Config) *Service { panic("unwritten") }

// Run materializes views one after another, each under its lease, and returns the record of each; the error joins
// those of the views that failed.
func (s *Service) Run(ctx context.Context, req Request, progress func(Progress)) ([]Run, error) {
	panic("unwritten")
}

// Runs lists runs, newest first, at most limit (0: all).
func (s *Service) Runs(ctx context.Context, views []string, limit int) ([]Run, error) {
	panic("unwritten")
}

// Status tells the state of views (empty: all).
func (s *Service) Status(ctx context.Context, views []string) ([]ViewStatus, error) {
	panic("unwritten")
}

// Verify compares online with offline, cell by cell.
func (s *Service) Verify(ctx context.Context, req VerifyRequest, progress func(Progress)) ([]VerifyReport, error) {
	panic("unwritten")
}

// Live returns the generations that serve in this service's store.
func (s *Service) Live(ctx context.Context) ([]online.Live, error) { panic("unwritten") }
