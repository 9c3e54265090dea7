package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
)

// usagef is an error about the command line itself.
func usagef(format string, args ...any) error { return problem.New(problem.Invalid, format, args...) }

// flagError adds the nearest flag to the error of an unknown one.
func flagError(c *cobra.Command, err error) error {
	e := problem.New(problem.Invalid, "%w", err)
	e.Suggestion = fmt.Sprintf("see %s --help", c.CommandPath())
	var missing *pflag.NotExistError
	if errors.As(err, &missing) {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := diag.Closest(missing.GetSpecifiedName(), names); near != "" {
			e.Suggestion = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return e
}

var (
	flagsTogether = regexp.MustCompile(`\[([^\]]*)\] were all set$`)
	flagsRequired = regexp.MustCompile(`^at least one of the flags in the group \[([^\]]*)\] is required$`)
)

// flagGroups checks which flags go together and which are needed, in words of our own.
func flagGroups(c *cobra.Command) error {
	err := c.ValidateFlagGroups()
	if err == nil {
		return nil
	}
	names := func(group string) []string { return strings.Fields("--" + strings.ReplaceAll(group, " ", " --")) }
	if m := flagsTogether.FindStringSubmatch(err.Error()); m != nil {
		return usagef("%s can't be given together; see %s --help", strings.Join(names(m[1]), " and "), c.CommandPath())
	}
	if m := flagsRequired.FindStringSubmatch(err.Error()); m != nil {
		return usagef("give %s; see %s --help", either(names(m[1])), c.CommandPath())
	}
	return err
}

// unknownCommand rejects what no command took, with the nearest command's name.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := problem.New(problem.Invalid, "%s has no command %q", c.CommandPath(), args[0])
	e.Suggestion = fmt.Sprintf("see %s --help", c.CommandPath())
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := diag.Suggest(args[0], names); near != "" {
		e.Suggestion = near
	}
	return e
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument %q; see %s --help", c.CommandPath(), args[0], c.CommandPath())
	}
	return nil
}

// takes accepts between least and most arguments, named in errors as usage says.
func takes(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s needs %s; see %s --help", c.CommandPath(), strings.TrimPrefix(c.Use, c.Name()+" "), c.CommandPath())
		case most >= 0 && len(args) > most:
			return usagef("%s takes no argument %q; see %s --help", c.CommandPath(), args[most], c.CommandPath())
		}
		return nil
	}
}
