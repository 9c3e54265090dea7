package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/feast"
)

func (a *app) importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "import",
		Short:   "Make definitions from what another feature store has",
		Example: "  provender import feast ../feature_repo",
		Args:    unknownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.importFeastCommand())
	return c
}

type importFlags struct {
	out, project string
	strict       bool
}

func (a *app) importFeastCommand() *cobra.Command {
	var flags importFlags
	c := &cobra.Command{
		Use:   "feast DIR_OR_REGISTRY",
		Short: "Make definitions from a Feast registry",
		Long: `Write definitions from the registry of a Feast repository: the folder with feature_store.yaml, or the registry's file.
Python is not run. Where there is no provender.yaml, one is written; no file is overwritten. What can't be carried over, and
what is not as it was, is told by name.`,
		Example: "  provender import feast ../feature_repo --out rides\n  provender import feast registry.db --out rides --strict -o json",
		Args:    takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if flags.out == "" {
				flags.out = a.dir
			}
			r, err := a.importFeast(args[0], flags)
			if err != nil {
				return problems(err)
			}
			if a.output != "json" {
				r.notes(a.talk())
			}
			if err := a.show(r); err != nil {
				return err
			}
			if r.refused() {
				return exitError{code: exitProblems}
			}
			return nil
		},
	}
	c.Flags().StringVar(&flags.out, "out", "", "folder of the project that definitions are written to (default: that of -C)")
	c.Flags().StringVar(&flags.project, "project", "", "Feast project, of a registry with several")
	c.Flags().BoolVar(&flags.strict, "strict", false, "write nothing and exit 3 where something can't be carried over")
	return c
}

// gitignore keeps a new project's stores out of Git, where nothing was said about it yet.
const gitignore = ".gitignore"

type importReport struct {
	Version     formatVersion     `json:"version"`
	Registry    string            `json:"registry"`
	Project     string            `json:"project"`
	Dir         string            `json:"dir"`
	Written     bool              `json:"written"`
	Files       []string          `json:"files"`
	Definitions *definitionCounts `json:"definitions"`
	Roots       map[string]string `json:"roots_to_add,omitempty"`
	Skipped     []importNote      `json:"skipped"`
	Changed     []importNote      `json:"changed"`
}

type importNote struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func importNotes(notes []feast.Note) []importNote {
	out := make([]importNote, len(notes))
	for i, n := range notes {
		out[i] = importNote(n)
	}
	return out
}

// refused reports whether --strict kept the files from being written.
func (r *importReport) refused() bool { return !r.Written }

// notes tells what is not as it was.
func (r *importReport) notes(p *printer) {
	tell := func(title string, notes []importNote) {
		if len(notes) == 0 {
			return
		}
		p.printf("%s\n", p.warn(title))
		for _, n := range notes {
			p.printf("  %s %s: %s\n", n.Kind, printable(n.Name), n.Reason)
		}
	}
	tell("Not carried over:", r.Skipped)
	tell("Carried over, not as it was:", r.Changed)
}

// printable quotes a name that a terminal would not show as it is.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); name == "" || quoted[1:len(quoted)-1] != name {
		return quoted
	}
	return name
}

func (r *importReport) text(p *printer) {
	if r.refused() {
		p.printf("Nothing was written: %s can't be carried over, and --strict is given.\n", plural(len(r.Skipped), "thing", "things"))
		return
	}
	p.printf("Wrote %s of the Feast project %s into %s:\n", r.Definitions, printable(r.Project), r.Dir)
	for _, f := range r.Files {
		p.printf("  %s\n", f)
	}
	if len(r.Roots) > 0 {
		p.printf("\nAdd to %s:\n", definition.ConfigName)
		p.command("%s", feast.RootsLine(r.Roots))
	}
	p.printf("\nNext:\n")
	if r.Dir != "." {
		p.command("cd %s", shellQuoted(r.Dir))
	}
	p.command("provender plan")
	p.command("provender apply --yes")
	p.command("provender materialize")
}

func (a *app) importFeast(path string, flags importFlags) (*importReport, error) {
	repo, err := feast.Open(path, flags.project, a.Getenv)
	if err != nil {
		return nil, err
	}
	out, err := filepath.Abs(flags.out)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if rel, err := filepath.Rel(out, repo.Store); repo.Store != "" && err == nil && filepath.IsLocal(rel) {
		e := problem.New(problem.Invalid, "%s is in %s, and every YAML file of a project is read as definitions", rel, filepath.Clean(flags.out))
		e.Suggestion = "give definitions a folder of their own: --out DIR"
		return nil, e
	}
	config, err := a.configOf(flags.out)
	if err != nil {
		return nil, err
	}
	var have map[string]string
	if config != nil {
		have = config.Roots
	}
	imported, err := repo.Convert(out, have)
	if err != nil {
		return nil, err
	}
	r := &importReport{
		Registry: repo.Registry, Project: repo.Project, Dir: filepath.Clean(flags.out), Files: []string{},
		Definitions: counted(imported.Definitions), Skipped: importNotes(imported.Skipped), Changed: importNotes(imported.Changed),
	}
	if flags.strict && len(r.Skipped) > 0 {
		return r, nil
	}
	contents := map[string][]byte{}
	for _, f := range imported.Files() {
		contents["definitions/"+f.Name] = f.Content
	}
	if config == nil {
		contents[definition.ConfigName] = imported.Config()
		if _, err := os.Lstat(filepath.Join(flags.out, gitignore)); err != nil {
			contents[gitignore] = []byte(".provender/\n")
		}
	} else {
		for name, value := range imported.Roots {
			if _, ok := have[name]; !ok {
				if r.Roots == nil {
					r.Roots = map[string]string{}
				}
				r.Roots[name] = value
			}
		}
		if err := besides(flags.out, imported); err != nil {
			return nil, err
		}
	}
	if r.Files, err = writeNew(flags.out, contents); err != nil {
		return nil, err
	}
	r.Written = true
	return r, nil
}

// configOf returns the provender.yaml of a folder, nil where there is none.
func (a *app) configOf(dir string) (*definition.Config, error) {
	config, err := definition.LoadConfig(dir, a.outside())
	if problem.CodeOf(err) == problem.NotFound {
		return nil, nil
	}
	return config, err
}

// besides checks that a project's definitions and those imported can be together.
func besides(dir string, imported *feast.Import) error {
	files, err := definition.Read(dir)
	if err != nil {
		return err
	}
	for _, f := range imported.Files() {
		files = append(files, definition.File{Name: filepath.Join(dir, "definitions", filepath.FromSlash(f.Name)), Content: f.Content})
	}
	_, _, err = definition.Parse(files)
	return err
}

// writeNew writes files that are not there yet, or none, and returns their names, sorted.
func writeNew(dir string, contents map[string][]byte) ([]string, error) {
	var names []string
	for name := range contents {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			e := problem.New(problem.Conflict, "%s already exists, and import overwrites nothing", filepath.Join(dir, name))
			e.Suggestion = "pass a new folder: --out DIR"
			return nil, e
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("import: %w", err)
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			_, err = f.Write(contents[name])
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
	}
	return names, nil
}

// shellQuoted writes a word for a shell to copy.
func shellQuoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@+", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
