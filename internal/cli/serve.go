package cli

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry/definition"
)

func (a *app) serveCommand() *cobra.Command {
	opts := server.ServeOptions{}
	now, from, local := instantFlag{clock: a.Now}, "", false
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer lookups over gRPC and run the schedules, until SIGTERM",
		Long: `Answer lookups over gRPC and run the views' schedules until SIGTERM or an interrupt; then calls under way finish, and
no new one is taken. Definitions that are applied meanwhile are taken up within a second; with --definitions the server
applies them itself, from a Git repository or a folder.

Over HTTP and at the admin address /livez tells that the process lives, /startedz that it has been able to answer once, /readyz that it
can be sent requests. While the registry is away the server waits for it, not ready; without the online store it starts, and is ready
when that answers.

With --local the server answers on the project's own socket alone, without schedules, until SIGTERM or the end of stdin: for
the process that started it, as the Python package does.`,
		Example: "  provender serve\n  provender serve --grpc 127.0.0.1:0 --http 127.0.0.1:0\n  provender serve --now 2001-06-30T18:00:00Z\n" +
			"  provender serve --definitions git:https://git.example.com/features.git#main:definitions",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if local {
				return a.serveLocal(c.Context())
			}
			return a.withProject(func(p *server.Project) error {
				opts.Now, opts.Logger = now.time, a.logger(slog.LevelInfo)
				var err error
				if opts.Definitions, err = definition.ExpandVariables(from, a.Getenv); err != nil {
					return err
				}
				opts.Ready = func(at server.Addresses) {
					err = a.show(&serveReport{Project: p.Config.Project, GRPC: at.GRPC, HTTP: at.HTTP, Admin: at.Admin, Now: timePointer(now.time)})
				}
				if serveErr := server.Serve(c.Context(), p, opts); serveErr != nil {
					return serveErr
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&opts.GRPC, "grpc", "", "gRPC address, host:port; port 0 takes a free one (default: server.grpc of provender.yaml)")
	c.Flags().StringVar(&opts.HTTP, "http", "", "HTTP address (default: server.http of provender.yaml)")
	c.Flags().StringVar(&opts.Admin, "admin", "", "address of state, metrics and profiles for those who run the server, or off (default: server.admin of provender.yaml)")
	c.Flags().BoolVar(&opts.Insecure, "insecure", false, "listen beyond loopback without authentication or without TLS (server.insecure of provender.yaml)")
	c.Flags().StringVar(&from, "definitions", "", "take definitions from a folder or git:URL#branch:folder (default: definitions.from of provender.yaml)")
	c.Flags().Var(&now, "now", "fixed read time, for rehearsals on old data; schedules rest")
	c.Flags().BoolVar(&local, "local", false, "answer on the project's own socket alone, until stdin ends; where, is told on stdout")
	for _, other := range []string{"grpc", "http", "admin", "insecure", "definitions", "now"} {
		c.MarkFlagsMutuallyExclusive("local", other)
	}
	return c
}

type serveReport struct {
	Version formatVersion `json:"version"`
	Project string        `json:"project"`
	GRPC    string        `json:"grpc"`
	HTTP    string        `json:"http"`
	Admin   string        `json:"admin,omitempty"`
	Now     *time.Time    `json:"now,omitempty"`
}

func (r *serveReport) text(p *printer) {
	p.printf("Serving %s: gRPC on %s, HTTP on %s.\n", r.Project, r.GRPC, r.HTTP)
	if r.Admin != "" {
		p.printf("State, metrics and profiles on %s.\n", r.Admin)
	}
	if r.Now != nil {
		p.printf("The read time is fixed at %s.\n", instant(*r.Now))
	}
}
