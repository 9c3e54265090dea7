// Package cli is the command line: commands, flags, views in text and JSON, exit codes. It holds no logic of the
// store's own; it calls the packages below and prints what they report.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/registry/definition"
)

// The exit codes of SPEC §4.
const (
	exitDone        = 0
	exitFailure     = 1
	exitChanges     = 2   // plan --detailed-exitcode: there is something to apply
	exitProblems    = 3   // the definitions, or what was checked, have problems
	exitInterrupted = 130 // SIGINT or SIGTERM before the work was done
)

// World is what the commands see of the process they run in.
type World struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // NAME=VALUE
	Now            func() time.Time
	// Terminals: whether questions can be asked, and whether output may move and have colour.
	StdinTerminal, StdoutTerminal, StderrTerminal bool
	// Signals are the interrupts; the second one stops the process at once through Exit.
	Signals <-chan os.Signal
	Exit    func(code int)
}

// Getenv returns the value of a variable, "" where it is not set.
func (w World) Getenv(name string) string { return definition.Outside{Environ: w.Environ}.Getenv(name) }

// Process returns the world of this process.
func Process() World {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return World{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ:        os.Environ(),
		Now:            time.Now,
		StdinTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Signals:        signals,
		Exit:           os.Exit,
	}
}

// app is one run of the binary: its world and the flags that every command has.
type app struct {
	World
	dir, env      string
	set           []string // KEY=VALUE
	server, tlsCA string
	output        string // "table" or "json"

	shown atomic.Pointer[progress] // the last that was begun
}

// outside is what speaks of a project's settings besides its provender.yaml.
func (a *app) outside() definition.Outside {
	return definition.Outside{Env: a.env, Set: a.set, Environ: a.Environ}
}

// errInterrupted is the cause of the context's end after a signal.
var errInterrupted = errors.New("interrupted")

// Main runs one command line and returns its exit code.
func Main(args []string, world World) int {
	a := &app{World: world}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.Signals:
		case <-done:
			return
		}
		a.say("Stopping after the step under way; interrupt again to stop at once.")
		cancel(errInterrupted)
		select {
		case <-a.Signals:
			a.Exit(exitInterrupted)
		case <-done:
		}
	}()
	root := a.root()
	root.SetArgs(args)
	return a.exitCode(ctx, root.ExecuteContext(ctx))
}

// exitCode prints an error and returns the code that goes with it.
func (a *app) exitCode(ctx context.Context, err error) int {
	var code exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		if code.err != nil {
			a.printError(code.err)
		}
		return code.code
	case errors.Is(context.Cause(ctx), errInterrupted):
		a.printInterrupted(err)
		return exitInterrupted
	default:
		a.printError(err)
		return exitFailure
	}
}

// exitError carries an exit code of its own up to Main; err may be nil, where everything was told already.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// Command is the tree of commands, for what describes them; it is not for running.
func Command() *cobra.Command {
	return new(app).root()
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "provender",
		Short: "A feature store: the same values in training and in serving",
		Long: `Provender is a feature store. Features are declared in YAML files; their history is Parquet. Provender joins that
history onto training labels point-in-time, keeps the newest values in an online store, and serves them over gRPC.
The same value comes out of both paths.`,
		Example:                    "  provender demo                    # the whole story on real data, in one command\n  provender init shop && cd shop    # a small project to change",
		Version:                    version.Get().String(),
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetVersionTemplate("provender {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.dir, "dir", "C", ".", "project folder: the one with provender.yaml")
	flags.StringVar(&a.env, "env", a.Getenv(definition.EnvironmentVariable), "environment of provender.yaml (PROVENDER_ENV)")
	flags.StringArrayVar(&a.set, "set", nil, "KEY=VALUE: a setting in place of provender.yaml's, such as server.grpc=127.0.0.1:0; may be repeated")
	flags.StringVar(&a.server, "server", a.Getenv(envServer), "address of a Provender server, host:port, or grpcs://host:port with TLS (PROVENDER_SERVER)")
	flags.StringVar(&a.tlsCA, "tls-ca", a.Getenv(envTLSCA), "file with the authorities that sign the server's certificate; implies TLS (PROVENDER_TLS_CA)")
	flags.StringVarP(&a.output, "output", "o", "table", "table or json")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if a.output != "table" && a.output != "json" {
			return usagef("--output is %q: want table or json", a.output)
		}
		return flagGroups(c)
	}
	root.AddCommand(a.commands()...)
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  provender version -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.show(newVersionReport(version.Get()))
		},
	}
}

type versionReport struct {
	Version   formatVersion `json:"version"`
	Provender string        `json:"provender"`
	Commit    string        `json:"commit,omitempty"`
	Modified  bool          `json:"modified,omitempty"`
	Date      string        `json:"date,omitempty"`
	Go        string        `json:"go"`
	Platform  string        `json:"platform"`
	build     version.Info
}

func newVersionReport(b version.Info) *versionReport {
	return &versionReport{
		Provender: b.Version, Commit: b.Commit, Modified: b.Modified, Date: b.Date, Go: b.Go, Platform: b.Platform, build: b,
	}
}

func (r *versionReport) text(p *printer) { p.printf("provender %s\n", r.build) }
