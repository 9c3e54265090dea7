package offline

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// answer is a service joined onto rows, read by read, and how outputs find their cells in the results.
type answer struct {
	service  *registry.Service
	results  []*asof.Result  // per read, nil before match
	inputs   [][]source.File // per read
	features [][]int         // per read: those that outputs need, as indexes into the view's
	columns  []int           // per output: its index into the features of its read
	first    []int           // per read: the first of its features that is gathered now
	// Per read the timeline of its binding, from the first read that has it to the last.
	timelines []*asof.Timeline
}

// joinOptions are what the callers of join differ in.
type joinOptions struct {
	workers  int
	limits   parquet.Limits
	inputs   [][]source.File                  // per read; nil: what the sources have
	progress func(read int, done, size int64) // may be nil
}

// newAnswer lists the files of every read. A view that is read twice has the same files for both.
func newAnswer(ctx context.Context, service *registry.Service, files *source.Files, inputs [][]source.File) (*answer, error) {
	a := &answer{
		service: service, results: make([]*asof.Result, len(service.Reads)), inputs: inputs,
		features: make([][]int, len(service.Reads)), columns: make([]int, len(service.Outputs)), first: make([]int, len(service.Reads)),
		timelines: make([]*asof.Timeline, len(service.Reads)),
	}
	// Those of a fixed width come first: they are gathered together, as many as there is room for.
	for _, fixed := range []bool{true, false} {
		for i, output := range service.Outputs {
			asked := a.features[output.Read]
			if outputType(service, i).FixedWidth() == fixed && !slices.Contains(asked, output.Feature) {
				a.features[output.Read] = append(asked, output.Feature)
			}
		}
	}
	for i, output := range service.Outputs {
		a.columns[i] = slices.Index(a.features[output.Read], output.Feature)
	}
	if inputs != nil {
		return a, nil
	}
	listed := map[*registry.View][]source.File{}
	for _, read := range service.Reads {
		list, ok := listed[read.View]
		if !ok {
			var err error
			if list, err = files.List(ctx, read.View.Source.Parquet); err != nil {
				return nil, fmt.Errorf("view %s: %w", read.View.Name, err)
			}
			listed[read.View] = list
		}
		a.inputs = append(a.inputs, list)
	}
	return a, nil
}

// fixed returns how many of a read's features, the first ones, have a fixed width.
func (a *answer) fixed(r int) int {
	view, n := a.service.Reads[r].View, 0
	for n < len(a.features[r]) && view.Features[a.features[r][n]].Type.FixedWidth() {
		n++
	}
	return n
}

// join answers every read of a service, all features gathered. keys has one vector per Service.RequestKeys.
func join(
	ctx context.Context, service *registry.Service, files *source.Files,
	times []int64, keys []*columnar.Vector, opts joinOptions,
) (*answer, error) {
	a, err := newAnswer(ctx, service, files, opts.inputs)
	if err != nil {
		return nil, err
	}
	for r := range service.Reads {
		if err := a.match(ctx, r, files, times, keys, opts); err != nil {
			return nil, err
		}
		if err := a.gather(ctx, r, 0, len(a.features[r])); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// match finds the rows that answer a read.
func (a *answer) match(
	ctx context.Context, r int, files *source.Files, times []int64, keys []*columnar.Vector, opts joinOptions,
) error {
	read := a.service.Reads[r]
	timeline, err := a.timeline(ctx, r, times, keys, opts.workers)
	if err != nil {
		return fmt.Errorf("view %s: %w", read.View.Name, err)
	}
	input := asof.Input{View: read.View, Source: files, Files: a.inputs[r], Cutoff: asof.NoCutoff}
	options := asof.Options{Workers: opts.workers, Limits: opts.limits}
	if opts.progress != nil {
		options.Progress = func(done, about int64) { opts.progress(r, done, about) }
	}
	result, err := timeline.Match(ctx, input, options)
	if err != nil {
		return fmt.Errorf("view %s: %w", read.View.Name, err)
	}
	if len(result.Status) != len(times) {
		return fmt.Errorf("view %s: joined %d rows of %d", read.View.Name, len(result.Status), len(times))
	}
	a.results[r] = result
	return nil
}

// sharedRows is the rows of the greatest spine whose timeline is kept from read to read: a greater one's memory is worth
// more than the time to make it again.
const sharedRows = 4 << 20

// timeline returns the timeline of a read, and keeps it for the later reads that bind the same request keys.
func (a *answer) timeline(ctx context.Context, r int, times []int64, keys []*columnar.Vector, workers int) (*asof.Timeline, error) {
	read, timeline := a.service.Reads[r], a.timelines[r]
	a.timelines[r] = nil
	if timeline == nil {
		spine := asof.Spine{Times: times}
		for _, key := range read.Binding {
			spine.Keys = append(spine.Keys, keys[key])
		}
		var err error
		if timeline, err = asof.NewTimeline(ctx, spine, read.View, workers); err != nil {
			return nil, err
		}
	}
	for next := r + 1; next < len(a.timelines) && len(times) <= sharedRows; next++ {
		if slices.Equal(a.service.Reads[next].Binding, read.Binding) {
			a.timelines[next] = timeline
			break
		}
	}
	return timeline, nil
}

// gather reads the features [from, to) of those that outputs need of a read, in place of what was gathered of it before.
func (a *answer) gather(ctx context.Context, r, from, to int) error {
	a.first[r] = from
	if err := a.results[r].Gather(ctx, a.features[r][from:to]); err != nil {
		return fmt.Errorf("view %s: %w", a.service.Reads[r].View.Name, err)
	}
	return nil
}

// gatherRows reads one such feature of no fixed width for the rows [lo, hi), and reports whether it took at most limit
// bytes; nothing is gathered where it took more.
func (a *answer) gatherRows(ctx context.Context, r, feature, lo, hi int, limit int64) (bool, error) {
	a.first[r] = feature
	ok, err := a.results[r].GatherRows(ctx, a.features[r][feature], lo, hi, limit)
	if err != nil {
		return false, fmt.Errorf("view %s: %w", a.service.Reads[r].View.Name, err)
	}
	return ok, nil
}

// readName is a view's name, with its binding where the service reads the view more than once.
func readName(service *registry.Service, read int) string {
	r := service.Reads[read]
	for i, other := range service.Reads {
		if i == read || other.View != r.View {
			continue
		}
		name := r.View.Name + " as "
		for k, key := range r.Binding {
			if k > 0 {
				name += ", "
			}
			name += service.RequestKeys[key].Name
		}
		return name
	}
	return r.View.Name
}

// cells replaces dst by the rows [lo, hi) of an output whose feature is gathered, defaults filled in (R6), and returns how
// many cells are null because their row says so. scratch is memory of the output's type.
func (a *answer) cells(output, lo, hi int, dst, scratch *columnar.Vector) (nulls int) {
	o := a.service.Outputs[output]
	result := a.results[o.Read]
	byDefault := a.service.Reads[o.Read].View.Defaults[o.Feature]
	dst.Reset()
	values := dst
	if byDefault != nil {
		scratch.Reset()
		values = scratch
	}
	result.Cells(a.columns[output]-a.first[o.Read], lo, hi, values)
	status := result.Status[lo:hi]
	nulls = values.NullCount()
	for _, s := range status {
		if s != columnar.Present {
			nulls--
		}
	}
	if byDefault == nil {
		return nulls
	}
	for i, s := range status {
		if s == columnar.Present {
			dst.AppendFrom(values, i)
		} else {
			dst.AppendFrom(byDefault, 0)
		}
	}
	return nulls
}

// size returns the bytes of a row of an output of no fixed width whose feature is gathered.
func (a *answer) size(output, row int) int {
	o := a.service.Outputs[output]
	result := a.results[o.Read]
	if byDefault := a.service.Reads[o.Read].View.Defaults[o.Feature]; byDefault != nil && result.Status[row] != columnar.Present {
		return byDefault.Size(0)
	}
	return result.Size(a.columns[output]-a.first[o.Read], row)
}

// outputType is the type of an output's column.
func outputType(service *registry.Service, output int) columnar.Type {
	o := service.Outputs[output]
	return service.Reads[o.Read].View.Features[o.Feature].Type
}

func workers(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}
