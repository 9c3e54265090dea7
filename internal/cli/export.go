package cli

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/registry"
)

type exportFlags struct {
	selection
	spine, spineFormat     string
	time                   string
	unit, timezone, timeAt string
	out, outFormat         string
	compression            string
	groupRows              int
	partRows               int64
	memory                 bytesFlag
	workers                int
	manifest               string
	check                  bool
}

// The values of flags that take one of a few.
var (
	spineFormats = []string{string(offline.Parquet), string(offline.CSV), string(offline.Arrow)}
	outFormats   = []string{string(offline.Parquet), string(offline.Arrow), string(offline.ArrowStream)}
	compressions = []string{"zstd", "snappy", "gzip", "lz4", "none"}
	timeUnits    = []string{"s", "ms", "us", "ns"}
	dayEnds      = []string{string(registry.AtStart), string(registry.AtEnd)}
)

func (a *app) exportCommand() *cobra.Command {
	f := &exportFlags{}
	c := &cobra.Command{
		Use:   "export",
		Short: "Write a training set: features joined onto labels, point in time",
		Long: `Join features onto the rows of a file, each as it was known at the row's time. The output has the rows of the input, in
their order, all of its columns first; a manifest beside it says what it was made from. Needs no online store.

With --from-manifest the training set of a manifest is made again, byte for byte, by the definitions and from exactly the
files that it lists; where one of them is not what it was, exit code 3 says which.`,
		Example: `  provender export --service delay_model_v1 --spine data/flights.parquet --time departs --out training.parquet
  provender export --features airport_hourly:mean_delay_1h --spine s.csv --time at --timezone Europe/Berlin --out t.parquet
  provender export --service delay_model_v1 --spine s3://lake/flights.parquet --time departs --out s3://lake/training.parquet
  provender export --service delay_model_v1 --spine data/flights.parquet --time departs --out - | python train.py
  provender export --from-manifest training.parquet.manifest.json --out again.parquet
  provender export --from-manifest training.parquet.manifest.json --check`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.server != "" {
				a.talk().printf("Exported from this project's own files; the server at %s is not asked.\n", a.server)
			}
			if f.manifest != "" {
				return a.withProject(func(p *server.Project) error { return a.reproduce(c.Context(), p, f) })
			}
			req, err := f.request(a.StdoutTerminal)
			if err != nil {
				return err
			}
			return a.withProject(func(p *server.Project) error {
				r, err := a.export(c.Context(), p, f.selection, req)
				if err != nil {
					return err
				}
				if f.out == "-" {
					return a.showOn(a.Stderr, a.StderrTerminal, r) // stdout has the data
				}
				return a.show(r)
			})
		},
	}
	f.define(c)
	a.completions(c)
	return c
}

func (f *exportFlags) define(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.service, "service", "", "feature service")
	flags.StringSliceVar(&f.features, "features", nil, "features, as view:feature,…")
	flags.StringVar(&f.spine, "spine", "", "file of the rows to enrich, a path or URL: Parquet, CSV or Arrow, by its name")
	flags.StringVar(&f.spineFormat, "spine-format", "", "format of a spine whose name does not tell: "+either(spineFormats))
	flags.StringVar(&f.time, "time", "", "time column of the spine")
	flags.StringVar(&f.unit, "time-unit", "", "unit of an integer time column: "+either(timeUnits))
	flags.StringVar(&f.timezone, "timezone", "UTC", "zone of times without one")
	flags.StringVar(&f.timeAt, "time-at", "", "end of the day that a DATE time column means: "+either(dayEnds))
	flags.StringVar(&f.out, "out", "", "file to write, a path or URL; - is stdout, as an Arrow stream")
	flags.StringVar(&f.outFormat, "out-format", "", "format of an output whose name does not tell: "+either(outFormats))
	flags.StringVar(&f.compression, "compression", "", "of Parquet: "+either(compressions)+" (default zstd); of Arrow: zstd, lz4 or none (default)")
	flags.IntVar(&f.groupRows, "row-group-rows", 0, "most rows of a row group, or of an Arrow batch (default 122880)")
	flags.Int64Var(&f.partRows, "part-rows", 0, "make --out a folder of files of so many rows each")
	flags.Var(&f.memory, "memory", "memory for features before they go to a temporary file, as 512MiB or 2GiB (default: limits.export_memory)")
	flags.IntVar(&f.workers, "workers", 0, "how much is done at once (default: the number of processors)")
	flags.StringVar(&f.manifest, "from-manifest", "", "make the training set of this manifest again, byte for byte")
	flags.BoolVar(&f.check, "check", false, "with --from-manifest: tell whether the inputs are what they were, and write nothing")
	c.MarkFlagsOneRequired("service", "features", "from-manifest")
	c.MarkFlagsMutuallyExclusive("service", "features", "from-manifest")
	for _, name := range []string{
		"spine-format", "time", "time-unit", "timezone", "time-at", "out-format", "compression", "row-group-rows", "part-rows",
	} {
		c.MarkFlagsMutuallyExclusive("from-manifest", name)
	}
	c.MarkFlagsMutuallyExclusive("check", "out")
}

// completions completes the flags that take one of a few values, and those that name what was applied.
func (a *app) completions(c *cobra.Command) {
	for name, values := range map[string][]string{
		"spine-format": spineFormats, "out-format": outFormats, "compression": compressions, "time-unit": timeUnits, "time-at": dayEnds,
	} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
	applied := func(names func(*registry.Snapshot) []string) cobra.CompletionFunc {
		return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			var found []string
			err := a.withProject(func(p *server.Project) error {
				snapshot, err := p.Snapshot(c.Context())
				if err == nil {
					found = names(snapshot)
				}
				return err
			})
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		}
	}
	_ = c.RegisterFlagCompletionFunc("service", applied(func(s *registry.Snapshot) []string {
		var names []string
		for _, service := range s.Definitions.Services {
			names = append(names, service.Name)
		}
		return names
	}))
	_ = c.RegisterFlagCompletionFunc("features", applied(func(s *registry.Snapshot) []string {
		var names []string
		for _, view := range s.Definitions.Views {
			for _, feature := range view.Features {
				names = append(names, view.Name+":"+feature.Name)
			}
		}
		return names
	}))
}

// either writes a choice: "s, ms, us or ns".
func either(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// request checks the flags of an export.
func (f *exportFlags) request(terminal bool) (offline.ExportRequest, error) {
	req := offline.ExportRequest{
		Spine: f.spine, SpineFormat: offline.Format(f.spineFormat),
		SpineOptions: offline.SpineOptions{Time: f.time, Unit: f.unit, At: registry.DayEnd(f.timeAt)},
		Out:          f.out, OutFormat: offline.Format(f.outFormat), Compression: f.compression,
		GroupRows: f.groupRows, PartRows: f.partRows, Memory: int64(f.memory), Workers: f.workers,
	}
	if f.check {
		return req, usagef("--check goes with --from-manifest")
	}
	for _, needed := range []struct{ name, value string }{{"spine", f.spine}, {"time", f.time}, {"out", f.out}} {
		if needed.value == "" {
			return req, usagef("--%s is missing; see provender export --help", needed.name)
		}
	}
	for _, choice := range []struct {
		name, value string
		of          []string
	}{
		{"spine-format", f.spineFormat, spineFormats},
		{"time-unit", f.unit, timeUnits},
		{"time-at", f.timeAt, dayEnds},
		{"out-format", f.outFormat, outFormats},
		{"compression", f.compression, compressions},
	} {
		if choice.value != "" && !slices.Contains(choice.of, choice.value) {
			return req, usagef("--%s is %q: want %s", choice.name, choice.value, either(choice.of))
		}
	}
	for _, least := range []struct {
		name  string
		value int64
	}{{"row-group-rows", int64(f.groupRows)}, {"part-rows", f.partRows}, {"workers", int64(f.workers)}} {
		if least.value < 0 {
			return req, usagef("--%s is %d; it can't be negative", least.name, least.value)
		}
	}
	location, err := time.LoadLocation(f.timezone)
	if err != nil || f.timezone == "Local" {
		return req, usagef("--timezone: there is no zone %q; write one as in Europe/Berlin", f.timezone)
	}
	req.Location = location
	if f.out == "-" && terminal {
		err := problem.New(problem.Invalid, "--out - writes an Arrow stream, and stdout is a terminal")
		err.Suggestion = "pipe it into a program, or name a file"
		return req, err
	}
	return req, nil
}

// export makes a training set. Of req it fills in what the project knows.
func (a *app) export(ctx context.Context, p *server.Project, s selection, req offline.ExportRequest) (*exportReport, error) {
	snapshot, err := p.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if req.Service, err = s.of(snapshot); err != nil {
		return nil, err
	}
	bar := a.progress()
	defer bar.close()
	req.Snapshot, req.Source, req.Stdout = snapshot, p.Files, a.Stdout
	req.Limits, req.SpineLimits = p.ParquetLimits(), p.SpineLimits()
	if req.Memory == 0 {
		req.Memory = p.Config.Limits.ExportMemory
	}
	req.Tool, req.Commit, req.Progress = version.String(), gitCommit(ctx, p.Dir), bar.export
	done, err := offline.Export(ctx, req)
	if err != nil {
		return nil, err
	}
	return newExportReport(req.Out, snapshot.Revision, done), nil
}

// showOn prints a report in the form that --output asks for on another stream than stdout.
func (a *app) showOn(w io.Writer, terminal bool, r report) error {
	there := &app{World: a.World, output: a.output}
	there.Stdout, there.StdoutTerminal = w, terminal
	return there.show(r)
}

// bytesFlag is a number of bytes, written as 512MiB, 2GB or digits alone.
type bytesFlag int64

func (f *bytesFlag) String() string {
	if *f == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*f))
}

// Type names the value in help texts.
func (f *bytesFlag) Type() string { return "size" }

// Set reads the value.
func (f *bytesFlag) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 || strings.Contains(s, ",") {
		return errors.New("want a size such as 512MiB or 2GiB")
	}
	*f = bytesFlag(n)
	return nil
}
