package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/sdk/client"
)

// healthTimeout bounds the question: what supervises a server asks every few seconds.
const healthTimeout = 3 * time.Second

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Ask the server whether it is ready: exit code 0 or 1",
		Long: `Ask the project's server, or the one that --server names, whether lookups can be sent to it: exit code 0 if so, 1 if not, or
where no server runs. No store is opened and no token needed. For what supervises servers, such as the health check of
a container.`,
		Example: "  provender health\n  provender health --server features.example.com:6565",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), healthTimeout)
			defer cancel()
			if a.server != "" {
				return a.remote(ctx, a.health)
			}
			return a.withProject(func(p *server.Project) error { return p.Ask(ctx, a.health) })
		},
	}
}

func (a *app) health(ctx context.Context, c *client.Client) error {
	answer, err := healthpb.NewHealthClient(c.Conn()).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return problem.New(problem.Unavailable, "the server does not tell whether it is ready: %w", err)
	}
	if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		err := problem.New(problem.Unavailable, "the server is not ready")
		err.Suggestion = "its log, and /readyz at its HTTP address, tell why"
		return err
	}
	return a.show(&healthReport{Ready: true})
}

type healthReport struct {
	Version formatVersion `json:"version"`
	Ready   bool          `json:"ready"`
}

func (r *healthReport) text(p *printer) { p.printf("ready\n") }
