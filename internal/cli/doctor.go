package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/server"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look whether registry, online store and this machine are well set up",
		Long: `Look whether registry and online store answer, and whether they are set up well; and at this machine: clock, files,
addresses, certificates, limits. Exits 1 where something does not work; warnings are advice.`,
		Example: "  provender doctor\n  provender doctor --env prod -o json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withProject(func(p *server.Project) error { return a.doctor(c.Context(), p) })
		},
	}
}

func (a *app) doctor(ctx context.Context, p *server.Project) error {
	r := newDoctorReport(p.Doctor(ctx, a.logger(slog.LevelError)))
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.show(r); err != nil {
		return err
	}
	if !r.Healthy {
		return exitError{code: exitFailure}
	}
	return nil
}

type doctorReport struct {
	Version formatVersion `json:"version"`
	Healthy bool          `json:"healthy"`
	Checks  []doctorCheck `json:"checks"`
}

type doctorCheck struct {
	Name  string        `json:"name"`
	State checkup.State `json:"state"`
	Text  string        `json:"text"`
	Fix   string        `json:"fix,omitempty"`
}

func newDoctorReport(found []checkup.Check) *doctorReport {
	r := &doctorReport{Healthy: true, Checks: make([]doctorCheck, len(found))}
	for i, c := range found {
		r.Healthy = r.Healthy && c.State != checkup.Error
		r.Checks[i] = doctorCheck(c)
	}
	return r
}

func (r *doctorReport) text(p *printer) {
	for _, c := range r.Checks {
		state := p.good("ok      ")
		switch c.State {
		case checkup.Warning:
			state = p.warn("warning ")
		case checkup.Error:
			state = p.bad("error   ")
		}
		p.wrapped(state+c.Name+": ", c.Text)
		if c.Fix != "" {
			p.wrapped("        fix: ", c.Fix)
		}
	}
}
