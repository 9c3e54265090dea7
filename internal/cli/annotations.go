package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/diag"
)

// annotations is the flag of commands whose problems can also be shown in a pull request.
type annotations string

// String, Set and Type make it a flag.
func (f *annotations) String() string { return string(*f) }

// Set accepts the one form that there is.
func (f *annotations) Set(s string) error {
	if s != "github" {
		return errors.New("want github")
	}
	*f = annotations(s)
	return nil
}

// Type is the placeholder in the help text.
func (f *annotations) Type() string { return "form" }

func (f *annotations) add(c *cobra.Command) {
	c.Flags().Var(f, "annotations", "github: write problems to stderr as workflow commands, too, which shows them in the pull request")
}

// annotate writes problems as annotations, where that was asked for. They go to stderr: stdout is for data.
func (a *app) annotate(f annotations, level diag.Level, set diag.Set) error {
	if f == "" {
		return nil
	}
	root := a.Getenv("GITHUB_WORKSPACE")
	if root == "" {
		var err error
		if root, err = os.Getwd(); err != nil {
			return err
		}
	}
	return diag.Annotate(a.Stderr, level, set, root)
}
