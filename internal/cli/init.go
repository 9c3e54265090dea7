package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/examples/starter"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a small working project to change",
		Long: `Write a small working project: a configuration, an entity, a feature view with a little data, a feature service and
labels to train on, and a schema by which editors complete and check the files. The folder may hold other files; none is
overwritten.`,
		Example: "  provender init shop",
		Args:    takes(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := a.dir
			if len(args) == 1 {
				dir = args[0]
			}
			r, err := a.initProject(dir)
			if err != nil {
				return err
			}
			return a.show(r)
		},
	}
}

type initReport struct {
	Version formatVersion `json:"version"`
	Dir     string        `json:"dir"`
	Files   []string      `json:"files"`
}

func (r *initReport) text(p *printer) {
	p.printf("Wrote a project into %s:\n", r.Dir)
	for _, f := range r.Files {
		p.printf("  %s\n", f)
	}
	p.printf("\nNext:\n")
	if r.Dir != "." {
		p.command("cd %s", r.Dir)
	}
	p.command("provender apply --yes")
	p.command("provender materialize")
	p.command("provender get --service %s --entity customer_id=1", starter.Service)
	p.command("provender export --service %s --spine %s --time %s --out training.parquet", starter.Service, starter.Spine, starter.Time)
}

func (a *app) initProject(dir string) (*initReport, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	r := &initReport{Dir: filepath.Clean(dir)}
	contents, err := starter.Files(projectName(filepath.Base(abs)), a.Now())
	if err != nil {
		return nil, err
	}
	contents[definition.SchemaName] = definition.Schema()
	r.Files = slices.Sorted(maps.Keys(contents))
	for _, name := range r.Files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			e := problem.New(problem.Conflict, "%s already exists, and init overwrites nothing", filepath.Join(r.Dir, name))
			e.Suggestion = "pass a new folder: provender init DIR"
			return nil, e
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("init: %w", err)
		}
	}
	for _, name := range r.Files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
		if err := os.WriteFile(path, contents[name], 0o644); err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
	}
	return r, nil
}

var notName = regexp.MustCompile(`[^a-z0-9_]+`)

// projectName turns a folder's name into a project's.
func projectName(folder string) string {
	name := strings.Trim(notName.ReplaceAllString(strings.ToLower(folder), "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "project_" + name
	}
	return strings.TrimRight(name, "_")
}
