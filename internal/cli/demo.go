package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/sdk/client"
)

// demoFolder is where the demo goes unless told otherwise.
const demoFolder = "provender-demo"

// demoRoutes are the entities that the demo looks up; the last pair has no flights.
var demoRoutes = [][2]string{{"ATL", "LAX"}, {"JFK", "SFO"}, {"ORD", "BOS"}, {"SFO", "ATL"}, {"JFK", "XXX"}}

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Play the whole story on real data",
		Long: `Unpack a project of US flights into DIR (default ./` + demoFolder + `), apply its definitions, materialize, export a training
set, serve, look features up over gRPC, and compare them with history. Needs no network and no other store.`,
		Example: "  provender demo\n  provender demo /tmp/flights",
		Args:    takes(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := demoFolder
			if len(args) == 1 {
				dir = args[0]
			}
			r, err := a.demo(c.Context(), filepath.Clean(dir))
			if err != nil {
				return err
			}
			if err := a.show(r); err != nil || r.Equal == r.Cells {
				return err
			}
			return exitError{code: exitProblems}
		},
	}
}

type demoReport struct {
	Version      formatVersion `json:"version"`
	Dir          string        `json:"dir"`
	ShiftedWeeks int64         `json:"shifted_weeks"`
	Revision     int64         `json:"revision"`
	Applied      string        `json:"applied"`
	Runs         []runReport   `json:"runs"`
	Export       *exportReport `json:"export"`
	GRPC         string        `json:"grpc"`
	Online       *getReport    `json:"online"`
	Cells        int           `json:"cells"`
	Equal        int           `json:"equal"`
	Seconds      float64       `json:"seconds"`
	example      flights.Project
	differences  [][]string
}

func (a *app) demo(ctx context.Context, dir string) (*demoReport, error) {
	began := a.Now()
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		e := problem.New(problem.Conflict, "%s exists and is not an empty folder", dir)
		e.Suggestion = "remove it, or pass another: provender demo DIR"
		return nil, e
	}
	example, err := flights.Unpack(dir, began)
	if err != nil {
		return nil, err
	}
	r := &demoReport{Dir: dir, ShiftedWeeks: int64(example.Shift / (7 * 24 * time.Hour)), example: example}
	// The example's own files say everything; no environment applies.
	there := &app{World: a.World, dir: dir, output: a.output}
	there.Environ = slices.DeleteFunc(slices.Clone(a.Environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name != "NO_COLOR" && name != "TERM"
	})
	err = there.withProject(func(p *server.Project) error { return there.tell(ctx, p, r, began) })
	r.Seconds = a.Now().Sub(began).Seconds()
	return r, err
}

// tell does what the demo shows, step by step.
func (a *app) tell(ctx context.Context, p *server.Project, r *demoReport, now time.Time) error {
	logger := a.logger(slog.LevelWarn)
	err := p.DoRegistry(ctx, logger, func(ctx context.Context, c *client.Client) error {
		made, err := a.makePlan(ctx, c, 0)
		if err != nil {
			return err
		}
		rev, err := a.commit(ctx, c, made.plan, false)
		r.Revision, r.Applied = rev.Number, rev.Summary
		return err
	})
	if err != nil {
		return err
	}
	err = p.Do(ctx, logger, func(ctx context.Context, c *client.Client) error {
		bar := a.progress()
		defer bar.close()
		runs, err := c.Materialize(ctx, client.MaterializeRequest{To: now}, func(s client.Progress) { bar.update(step(s)) })
		r.Runs = newRunsReport(runs).Runs
		return err
	})
	if err != nil {
		return err
	}
	service := selection{service: r.example.Service}
	r.Export, err = a.export(ctx, p, service, offline.ExportRequest{
		Spine: r.example.Spine, SpineOptions: offline.SpineOptions{Time: r.example.Time}, Out: filepath.Join(r.Dir, "training.parquet"),
	})
	if err != nil {
		return err
	}
	return a.serveAndCompare(ctx, p, r, logger)
}

// serveAndCompare looks features up at a server in this process, and compares the answer with history.
func (a *app) serveAndCompare(ctx context.Context, p *server.Project, r *demoReport, logger *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	ready := make(chan server.Addresses, 1)
	group.Go(func() error {
		return server.Serve(ctx, p, server.ServeOptions{
			GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Logger: logger,
			Ready: func(at server.Addresses) { ready <- at },
		})
	})
	group.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
			return nil // the server tells why
		case at := <-ready:
			r.GRPC = at.GRPC
		}
		return server.Remote(ctx, r.GRPC, nil, func(ctx context.Context, c *client.Client) error {
			return r.compare(ctx, c)
		})
	})
	return group.Wait()
}

func (r *demoReport) compare(ctx context.Context, c *client.Client) error {
	asked := &entities{names: []string{"origin", "destination"}, where: func(int) string { return "the demo" }}
	for _, pair := range demoRoutes {
		asked.rows = append(asked.rows, []field{{value: pair[0]}, {value: pair[1]}})
	}
	f := &getFlags{selection: selection{service: r.example.Service}}
	var err error
	if r.Online, err = lookOnline(ctx, c, f, asked); err != nil {
		return err
	}
	f.at.time = r.Online.ReadTime
	past, err := lookBack(ctx, c, f, asked)
	if err != nil {
		return err
	}
	for k := range r.Online.columns {
		on, off := r.Online.columns[k], past.columns[k]
		for i := range r.Online.n {
			r.Cells++
			if on.status[i] == off.status[i] && on.values.EqualAt(i, off.values, i) {
				r.Equal++
				continue
			}
			r.differences = append(r.differences, []string{
				demoRoutes[i][0] + "-" + demoRoutes[i][1], on.name,
				cellText(on.values, i) + " " + on.status[i].String(), cellText(off.values, i) + " " + off.status[i].String(),
			})
		}
	}
	return nil
}

func (r *demoReport) text(p *printer) {
	pick := "-C " + r.Dir
	title := func(n int, what string) { p.printf("\n%s\n", p.bold(fmt.Sprintf("%d. %s", n, what))) }

	p.printf("US flights of May and June 2001, moved by %s weeks so that they end now, in %s.\n", count(r.ShiftedWeeks), r.Dir)

	title(1, "Definitions, from YAML into the registry")
	p.printf("Revision %d: %s.\n", r.Revision, r.Applied)
	p.command("provender apply --yes %s", pick)

	title(2, "The newest values, from Parquet into the online store")
	for _, run := range r.Runs {
		p.printf("%s: %s rows read, %s entities online, %s.\n", run.View, count(run.RowsRead), count(run.Written), took(run.took))
	}
	p.command("provender materialize %s", pick)

	title(3, "A training set: every flight with its features as they were known when it left")
	p.printf("%s rows, %d features, %.1fs: %s\n", count(r.Export.Rows), len(r.Export.Features), r.Export.Seconds, r.Export.Out)
	p.command("provender export %s --service %s --spine %s --time %s --out %s", pick, r.example.Service, r.example.Spine, r.example.Time, r.Export.Out)

	title(4, "The same features now, over gRPC from a server on "+r.GRPC)
	p.features(r.Online)
	p.command("provender serve %s", pick)
	p.command("provender get %s --service %s --entity origin=%s,destination=%s", pick, r.example.Service, demoRoutes[0][0], demoRoutes[0][1])

	title(5, "Are they the same values that history gives?")
	if r.Equal == r.Cells {
		p.printf("%s\n", p.good(fmt.Sprintf("All %d cells are equal, values and statuses, read at %s.", r.Cells, instant(r.Online.ReadTime))))
	} else {
		p.printf("%s\n", p.bad(fmt.Sprintf("%d of %d cells differ.", r.Cells-r.Equal, r.Cells)))
		p.table([]string{"ROUTE", "FEATURE", "ONLINE", "HISTORY"}, r.differences)
	}
	p.command("provender verify %s --full", pick)

	p.printf("\nDone in %.1fs. Try next: look at %s, change it, and see what that would do:\n", r.Seconds, filepath.Join(r.Dir, "definitions"))
	p.command("go install ./cmd/provender    # where provender is not a command yet")
	p.command("cd %s", r.Dir)
	p.command("provender show service %s", r.example.Service)
	p.command("provender status")
	p.command("provender plan")
}

// features prints an answer with a row per entity and a column per feature.
func (p *printer) features(r *getReport) {
	header := append([]string{}, r.keyNames...)
	for _, c := range r.columns {
		if c.values.Type.List {
			continue // too wide for a line; get shows it
		}
		header = append(header, c.name+"#")
	}
	rows := make([][]string, r.n)
	for i := range r.n {
		for _, k := range r.keys {
			rows[i] = append(rows[i], cellText(k, i))
		}
		for _, c := range r.columns {
			if c.values.Type.List {
				continue
			}
			switch c.status[i] {
			case columnar.Present:
				rows[i] = append(rows[i], short(c.values, i))
			default:
				rows[i] = append(rows[i], p.warn(c.status[i].String()))
			}
		}
	}
	p.table(header, rows)
}

// short writes a value for a narrow column.
func short(v *columnar.Vector, i int) string {
	if v.Type == (columnar.Type{Kind: columnar.Float64}) {
		return fmt.Sprintf("%.2f", v.Float64s[i])
	}
	return cellText(v, i)
}
