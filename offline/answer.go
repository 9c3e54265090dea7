package offline

import (
	"context"
	"fmt"
	"runtime"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// answer is a service joined onto rows: one result per read, and how outputs find their cells in them.
type answer struct {
	service *registry.Service
	results []*asof.Result
	inputs  [][]source.File // per read
	columns []int           // per output: its index into the features that its read was asked for
}

// joinOptions are what the callers of join differ in.
type joinOptions struct {
	workers  int
	inputs   [][]source.File  // per read; nil: what the sources have
	progress func(Progress) // may be nil
}

// join answers every read of a service. keys has one vector per Service.RequestKeys.
func join(
	ctx context.Context, service *registry.Service, files *source.Files,
	times []int64, keys []*columnar.Vector, opts joinOptions,
) (*answer, error) {
	a := &answer{service: service, columns: make([]int, len(service.Outputs))}
	features := make([][]int, len(service.Reads))
	for i, output := range service.Outputs {
		asked := features[output.Read]
		at := 0
		for at < len(asked) && asked[at] != output.Feature {
			at++
		}
		if at == len(asked) {
			features[output.Read] = append(asked, output.Feature)
		}
		a.columns[i] = at
	}
	for r, read := range service.Reads {
		var list []source.File
		if opts.inputs != nil {
			list = opts.inputs[r]
		} else {
			var err error
			if list, err = files.List(ctx, read.View.Source.Parquet); err != nil {
				return nil, fmt.Errorf("view %s: %w", read.View.Name, err)
			}
		}
		spine := asof.Spine{Times: times}
		for _, key := range read.Binding {
			spine.Keys = append(spine.Keys, keys[key])
		}
		input := asof.Input{View: read.View, Source: files, Files: list, Cutoff: asof.NoCutoff}
		result, err := asof.Join(ctx, spine, input, features[r], asof.Options{
			Workers: opts.workers, Progress: readProgress(service, r, opts.progress),
		})
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", read.View.Name, err)
		}
		if len(result.Status) != len(times) {
			return nil, fmt.Errorf("view %s: joined %d rows of %d", read.View.Name, len(result.Status), len(times))
		}
		a.results = append(a.results, result)
		a.inputs = append(a.inputs, list)
	}
	return a, nil
}

func readProgress(service *registry.Service, read int, progress func(Progress)) func(done, about int64) {
	if progress == nil {
		return nil
	}
	stage := readName(service, read)
	return func(done, about int64) { progress(Progress{Stage: stage, Done: done, Size: about}) }
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

// cells appends the rows [lo, hi) of an output to dst, defaults filled in (R6), and counts them. scratch is memory of
// the output's type.
func (a *answer) cells(output, lo, hi int, dst, scratch *columnar.Vector, counts *FeatureCounts) *columnar.Vector {
	o := a.service.Outputs[output]
	result := a.results[o.Read]
	byDefault := a.service.Reads[o.Read].View.Defaults[o.Feature]
	status := result.Status[lo:hi]
	values := dst
	if byDefault != nil {
		scratch.Reset()
		values = scratch
	}
	from := values.Len()
	result.Cells(a.columns[output], lo, hi, values)
	for i, s := range status {
		switch {
		case s == columnar.Expired:
			counts.Expired++
		case s != columnar.Present:
			counts.NotFound++
		case values.IsNull(from + i):
			counts.Null++
		default:
			counts.Present++
		}
	}
	if byDefault == nil {
		return dst
	}
	for i, s := range status {
		if s == columnar.Present {
			dst.AppendFrom(values, i)
		} else {
			dst.AppendFrom(byDefault, 0)
		}
	}
	return dst
}

// size returns the bytes that cells would append for a row of an output of no fixed width.
func (a *answer) size(output, row int) int {
	o := a.service.Outputs[output]
	result := a.results[o.Read]
	if byDefault := a.service.Reads[o.Read].View.Defaults[o.Feature]; byDefault != nil && result.Status[row] != columnar.Present {
		return byDefault.Size(0)
	}
	return result.Size(a.columns[output], row)
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
