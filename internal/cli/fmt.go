package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

type fmtFlags struct{ check, diff bool }

func (a *app) fmtCommand() *cobra.Command {
	var f fmtFlags
	c := &cobra.Command{
		Use:   "fmt [FILE…]",
		Short: "Write the definition files in their canonical form",
		Long: `Write provender.yaml and the definition files in their canonical form: keys in the order of the reference, two spaces of
indentation, quotes where they are needed. Comments and the meaning stay. FILE is a file, a folder, or - for stdin, which
goes to stdout. Where a file has problems, none is written.`,
		Example: "  provender fmt\n  provender fmt --check\n  provender fmt - < definitions/airports.yaml",
		Args:    takes(0, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := a.fmtFiles(args)
			if err != nil {
				return problems(err)
			}
			r, err := newFmtReport(files, f)
			if err != nil {
				return problems(err)
			}
			if slices.Equal(args, []string{"-"}) {
				if !f.check && !f.diff {
					_, err := a.Stdout.Write(r.formatted[0])
					return err
				}
			} else if !f.check && !f.diff {
				if err := r.write(); err != nil {
					return err
				}
			}
			if err := a.show(r); err != nil || !f.check || len(r.Changed) == 0 {
				return err
			}
			return exitError{code: exitProblems}
		},
	}
	c.Flags().BoolVar(&f.check, "check", false, "write nothing, list the files that are not formatted, and exit 3 where there are any")
	c.Flags().BoolVar(&f.diff, "diff", false, "write nothing, and print what would change")
	return c
}

// fmtFiles reads the files named, or those of the project.
func (a *app) fmtFiles(args []string) ([]definition.File, error) {
	switch {
	case slices.Equal(args, []string{"-"}):
		content, err := io.ReadAll(io.LimitReader(a.Stdin, definition.MaxFileBytes+1))
		return []definition.File{{Name: definition.Stdin, Content: content}}, err
	case slices.Contains(args, "-"):
		return nil, usagef("- stands alone: the others are files")
	case len(args) > 0:
		return definition.ReadAll(args)
	}
	_, err := definition.LoadConfig(a.dir, a.outside())
	var missing *problem.Error
	if errors.As(err, &missing) {
		return nil, err
	}
	return definition.ReadAll([]string{a.dir})
}

type fmtReport struct {
	Version formatVersion `json:"version"`
	Files   int           `json:"files"`
	Changed []string      `json:"changed"`
	Diff    string        `json:"diff,omitempty"`

	flags     fmtFlags
	formatted [][]byte // of every file
	written   map[string][]byte
}

// newFmtReport formats files. The error is a diag.Set of the problems of all of them.
func newFmtReport(files []definition.File, flags fmtFlags) (*fmtReport, error) {
	r := &fmtReport{Files: len(files), Changed: []string{}, flags: flags, written: map[string][]byte{}}
	var set diag.Set
	for _, f := range files {
		out, err := definition.Format(f)
		var found diag.Set
		if errors.As(err, &found) {
			set = append(set, found...)
			continue
		}
		if err != nil {
			return nil, err
		}
		r.formatted = append(r.formatted, out)
		if bytes.Equal(out, f.Content) {
			continue
		}
		r.Changed = append(r.Changed, f.Name)
		r.written[f.Name] = out
		if flags.diff {
			r.Diff += diag.Mask(string(diff.Diff(f.Name, f.Content, f.Name+" (formatted)", out)))
		}
	}
	return r, set.Err()
}

// write replaces the files that changed, each at once and with its mode.
func (r *fmtReport) write() error {
	for _, name := range r.Changed {
		if err := replaceFile(name, r.written[name]); err != nil {
			return fmt.Errorf("fmt: %w", err)
		}
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return writeWhole(path, info.Mode().Perm(), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func (r *fmtReport) text(p *printer) {
	switch {
	case r.flags.diff:
		p.printf("%s", r.Diff)
		return
	case len(r.Changed) == 0:
		p.printf("%s %s.\n", p.good("Formatted already:"), plural(r.Files, "file", "files"))
		return
	}
	for _, name := range r.Changed {
		p.printf("%s\n", name)
	}
	what := "formatted."
	if r.flags.check {
		what = "not formatted; provender fmt does it."
	}
	p.printf("%s %s\n", plural(len(r.Changed), "file", "files"), what)
}
