package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
)

func (a *app) registryCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "registry",
		Short: "Export, import, check and migrate the registry itself",
		Long: `Export, import, check and migrate the project's registry: every revision with its definitions and its plan. What runs know of
online stores is no part of it. These commands open the registry of provender.yaml, whatever --server says.`,
		Example: "  provender registry export --out registry.jsonl\n  provender registry import registry.jsonl\n  provender registry check",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.registryExportCommand(), a.registryImportCommand(), a.registryCheckCommand(), a.registryMigrateCommand())
	return c
}

func (a *app) registryExportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "export",
		Short:   "Write every revision into one file",
		Example: "  provender registry export --out registry.jsonl\n  provender registry export --env prod | gzip > registry.jsonl.gz",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withProject(func(p *server.Project) error { return a.exportRegistry(c.Context(), p, out) })
		},
	}
	c.Flags().StringVar(&out, "out", "-", "file to write, - for stdout")
	return c
}

func (a *app) exportRegistry(ctx context.Context, p *server.Project, out string) error {
	reg, err := p.Registry(ctx)
	if err != nil {
		return err
	}
	if out == "-" {
		_, err := reg.Export(ctx, a.Stdout)
		return err
	}
	r := &registryExportReport{Out: out}
	err = writeWhole(out, 0o644, func(w io.Writer) error {
		r.Revisions, err = reg.Export(ctx, w)
		return err
	})
	if err != nil {
		return err
	}
	return a.show(r)
}

type registryExportReport struct {
	Version   formatVersion `json:"version"`
	Out       string        `json:"out"`
	Revisions int64         `json:"revisions"`
}

func (r *registryExportReport) text(p *printer) {
	p.printf("Wrote %s to %s.\n", plural(r.Revisions, "revision", "revisions"), r.Out)
}

func (a *app) registryImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Add the revisions of an export that the registry lacks",
		Long: `Add the revisions of a file that provender registry export wrote, all or none, with their numbers, times and digests. The
registry is empty, or has the beginning of the same history.`,
		Example: "  provender registry import registry.jsonl\n  gunzip -c registry.jsonl.gz | provender registry import -",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withProject(func(p *server.Project) error { return a.importRegistry(c.Context(), p, args[0]) })
		},
	}
}

func (a *app) importRegistry(ctx context.Context, p *server.Project, path string) (err error) {
	in := a.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return usagef("read export: %w", err)
		}
		defer f.Close()
		in = f
	}
	reg, err := p.Registry(ctx)
	if err != nil {
		return err
	}
	r := &registryImportReport{}
	r.Revisions, r.Added, err = reg.Import(ctx, in)
	var told *problem.Error
	if errors.As(err, &told) && (told.Code == problem.Invalid || told.Code == problem.Conflict) {
		return fmt.Errorf("import %s: %w", path, err)
	}
	if err != nil {
		return err
	}
	return a.show(r)
}

type registryImportReport struct {
	Version   formatVersion `json:"version"`
	Revisions int64         `json:"revisions"` // of the file
	Added     int64         `json:"added"`
}

func (r *registryImportReport) text(p *printer) {
	had := r.Revisions - r.Added
	switch {
	case r.Added == 0:
		p.printf("The registry has all of it: %s.\n", plural(r.Revisions, "revision", "revisions"))
	case had > 0:
		p.printf("Added %s to the %s that it had.\n", plural(r.Added, "revision", "revisions"), count(had))
	default:
		p.printf("Added %s.\n", plural(r.Added, "revision", "revisions"))
	}
}

func (a *app) registryCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read all of the registry, and tell what is wrong with it",
		Long: `Read every revision and tell in one pass what is damaged, missing or contradicts the rest. Changes nothing. Exits 3 where
something is wrong.`,
		Example: "  provender registry check\n  provender registry check -o json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withProject(func(p *server.Project) error { return a.checkRegistry(c.Context(), p) })
		},
	}
}

func (a *app) checkRegistry(ctx context.Context, p *server.Project) error {
	revisions, faults, err := p.CheckRegistry(ctx)
	if err != nil {
		return err
	}
	r := &registryCheckReport{Revisions: revisions, Sound: len(faults) == 0, Faults: make([]registryFault, len(faults))}
	for i, f := range faults {
		r.Faults[i] = registryFault(f)
	}
	if err := a.show(r); err != nil || r.Sound {
		return err
	}
	return exitError{code: exitProblems}
}

type registryCheckReport struct {
	Version   formatVersion   `json:"version"`
	Sound     bool            `json:"sound"`
	Revisions int             `json:"revisions"`
	Faults    []registryFault `json:"faults"`
}

type registryFault struct {
	Revision int64  `json:"revision,omitempty"` // absent: the registry as a whole
	Text     string `json:"text"`
}

func (r *registryCheckReport) text(p *printer) {
	for _, f := range r.Faults {
		where := "registry"
		if f.Revision != 0 {
			where = "revision " + count(f.Revision)
		}
		p.wrapped(p.bad(where)+": ", f.Text)
	}
	if r.Sound {
		p.printf("%s %s.\n", p.good("Nothing is wrong:"), plural(r.Revisions, "revision", "revisions"))
		return
	}
	p.printf("%s\n", p.bad(plural(len(r.Faults), "fault", "faults")+" in "+plural(r.Revisions, "revision", "revisions")+"."))
}

func (a *app) registryMigrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the registry's database to this version, also where older ones can't use it any more",
		Long: `Bring the registry's database to this version. Changes that older versions can live with are made by any command, and need
no migrate. Others are made by this one alone: stop older servers first, and keep a backup.`,
		Example: "  provender registry migrate",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withProject(func(p *server.Project) error {
				if err := p.MigrateRegistry(c.Context()); err != nil {
					return err
				}
				return a.show(&registryMigrateReport{Current: true})
			})
		},
	}
}

type registryMigrateReport struct {
	Version formatVersion `json:"version"`
	Current bool          `json:"current"`
}

func (r *registryMigrateReport) text(p *printer) {
	p.printf("The registry is as this version of Provender needs it.\n")
}
