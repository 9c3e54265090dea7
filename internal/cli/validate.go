package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

func (a *app) validateCommand() *cobra.Command {
	var f annotations
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check the definition files",
		Long: `Check provender.yaml and every definition file, and report all problems in one pass. Needs no store. Exits 3 where
there are problems.`,
		Example: "  provender validate\n  provender validate -C flights -o json\n  provender validate --annotations github",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			r := &validateReport{Valid: true, Problems: []diag.Diagnostic{}}
			project, err := definition.LoadProject(a.dir, a.outside())
			var found diag.Set
			switch {
			case errors.As(err, &found):
				r.Valid, r.Problems = false, found
			case err != nil:
				return err
			default:
				r.Definitions = counted(project.Definitions)
			}
			if err := a.annotate(f, diag.LevelError, found); err != nil {
				return err
			}
			if err := a.show(r); err != nil || r.Valid {
				return err
			}
			return exitError{code: exitProblems}
		},
	}
	f.add(c)
	return c
}

type validateReport struct {
	Version     formatVersion     `json:"version"`
	Valid       bool              `json:"valid"`
	Problems    []diag.Diagnostic `json:"problems"`
	Definitions *definitionCounts `json:"definitions,omitempty"`
}

type definitionCounts struct {
	Entities int `json:"entities"`
	Sources  int `json:"sources"`
	Views    int `json:"views"`
	Services int `json:"services"`
}

func counted(d *registry.Definitions) *definitionCounts {
	return &definitionCounts{len(d.Entities), len(d.Sources), len(d.Views), len(d.Services)}
}

func (c *definitionCounts) String() string {
	return fmt.Sprintf("%s, %s, %s, %s", plural(c.Entities, "entity", "entities"), plural(c.Sources, "source", "sources"),
		plural(c.Views, "feature view", "feature views"), plural(c.Services, "feature service", "feature services"))
}

func (r *validateReport) text(p *printer) {
	if r.Valid {
		p.printf("%s %s.\n", p.good("No problems:"), r.Definitions)
		return
	}
	p.diagnostics(r.Problems)
}

// diagnostics prints problems with the lines that they are in, and their number.
func (p *printer) diagnostics(set diag.Set) {
	if p.err == nil {
		p.err = diag.Render(p.w, set, os.ReadFile)
	}
	p.printf("%s\n", p.bad(plural(len(set), "problem", "problems")+"."))
}

// problems makes an error of definition files one that exits with their code.
func problems(err error) error {
	var set diag.Set
	if errors.As(err, &set) {
		return exitError{code: exitProblems, err: err}
	}
	return err
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of provender.yaml and definition files, for editors",
		Example: "  provender schema > " + definition.SchemaName,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			p := a.out()
			p.printf("%s\n", bytes.TrimSpace(definition.Schema()))
			return p.err
		},
	}
}
