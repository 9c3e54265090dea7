// Package rpc puts the domain on gRPC and on HTTP: messages and JSON to domain values and back, and the one table from
// domain errors to codes. Generated types and codes stop here.
package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/control/gitops"
	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/rpc/feast"
	"github.com/provender-dev/provender/materialize"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

// Lookups answers GetFeatures; *serving.Server does.
type Lookups = calls.Lookups

// Operations runs and checks materializations; *materialize.Service does.
type Operations interface {
	Run(ctx context.Context, req materialize.Request, progress func(materialize.Progress)) ([]materialize.Run, error)
	Plan(ctx context.Context, req materialize.Request) ([]materialize.RunPlan, error)
	RunsBefore(ctx context.Context, views []string, before int64, limit int) ([]materialize.Run, error)
	GetRun(ctx context.Context, id int64) (materialize.Run, error)
	Cancel(ctx context.Context, id int64, from string) (materialize.Run, error)
	Retry(ctx context.Context, id int64, requestID string, progress func(materialize.Progress)) ([]materialize.Run, error)
	Pause(ctx context.Context, views []string) ([]string, error)
	Resume(ctx context.Context, views []string) ([]string, error)
	Status(ctx context.Context, views []string) ([]materialize.ViewStatus, error)
	Verify(
		ctx context.Context, req materialize.VerifyRequest, progress func(materialize.Progress),
	) ([]materialize.VerifyReport, error)
	Prune(ctx context.Context, dryRun bool, progress func(materialize.Progress)) ([]materialize.Pruned, error)
}

// Revisions reads definitions and their history; a registry.Store does.
type Revisions interface {
	Current(ctx context.Context) (registry.Revision, *registry.Definitions, error)
	At(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error)
	HistoryBefore(ctx context.Context, before int64, limit int) ([]registry.Revision, error)
}

// Services is what a server offers. A service whose part is nil is not registered.
type Services struct {
	Lookups    Lookups
	Admission  *admission.Controller // of lookups; nil: all are admitted
	Operations Operations
	Revisions  Revisions
	Control    Control // nil where definitions are only read
	History    History
	Exports    ExportLimits // of History
	// Snapshot returns the definitions that the server answers by, nil before the first. They are listed where the
	// registry does not answer.
	Snapshot func() *registry.Snapshot
	Tokens   TokenStore
	// Definitions tells of the source of definitions, false where there is none; may be nil.
	Definitions func() (gitops.Status, bool)
	Calls       *calls.Watcher // sees every call; may be nil
}

// Register adds services to a server that was made with ServerOptions.
func Register(server grpc.ServiceRegistrar, s Services) {
	server = s.Calls.Registrar(server)
	if s.Lookups != nil {
		s.Lookups = calls.Watched(s.Lookups)
		feast.Register(server, s.Lookups, s.Admission)
		server.RegisterService(&onlineServiceDesc, &onlineService{s.Lookups, s.Admission})
	}
	if s.Operations != nil {
		pb.RegisterOperationsServiceServer(server, &operationsService{operations: s.Operations, definitions: s.Definitions})
	}
	if s.History != nil {
		pb.RegisterOfflineServiceServer(server, &offlineService{history: s.History})
		server.RegisterService(&flightServiceDesc, newFlightServer(s.History, s.Exports))
	}
	if s.Revisions != nil {
		pb.RegisterRegistryServiceServer(server, &registryService{
			revisions: s.Revisions, control: s.Control, snapshot: s.Snapshot,
		})
	}
	if s.Tokens != nil {
		pb.RegisterAdminServiceServer(server, &adminService{tokens: s.Tokens})
	}
}
