package asof

import (
	"fmt"
	"runtime"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// kernel is what Join and Latest share: the input, and the columns that every file of it is bound to. All of the
// view's columns are bound, whatever is read, so that a file that lacks one fails whichever rows win.
type kernel struct {
	in      Input
	opts    Options
	workers int
	columns []parquet.Column // keys, event time, features, created time if there is one
}

func newKernel(in Input, opts Options) (*kernel, error) {
	if len(in.Files) > maxFiles {
		return nil, problem.New(problem.Exhausted, "view %s: %d files; a source can have at most %d", in.View.Name, len(in.Files), maxFiles)
	}
	k := &kernel{in: in, opts: opts, workers: opts.Workers}
	if k.workers <= 0 {
		k.workers = runtime.GOMAXPROCS(0)
	}
	v := in.View
	instant := columnar.Type{Kind: columnar.Timestamp}
	for _, key := range v.KeyColumns {
		k.columns = append(k.columns, parquet.Column{Name: key.Column, Type: columnar.Type{Kind: key.Kind}})
	}
	k.columns = append(k.columns, parquet.Column{
		Name: v.Source.EventTime.Column, Type: instant,
		Location: v.Location, Ambiguous: v.Source.Ambiguous, At: v.Source.EventTime.At, Round: parquet.RoundUp,
	})
	for i, f := range v.Features {
		k.columns = append(k.columns, parquet.Column{
			Name: v.FeatureColumn(i), Type: f.Type, Location: v.Location, Ambiguous: v.Source.Ambiguous,
		})
	}
	if v.Source.CreatedTime != "" {
		k.columns = append(k.columns, parquet.Column{
			Name: v.Source.CreatedTime, Type: instant,
			Location: v.Location, Ambiguous: v.Source.Ambiguous, Round: parquet.RoundUp,
		})
	}
	return k, nil
}

// The places of columns in kernel.columns; key columns come first.
func (k *kernel) eventColumn() int        { return len(k.in.View.KeyColumns) }
func (k *kernel) featureColumn(f int) int { return k.eventColumn() + 1 + f }
func (k *kernel) hasCreated() bool        { return k.in.View.Source.CreatedTime != "" }
func (k *kernel) createdColumn() int      { return len(k.columns) - 1 }

// keyPass returns the columns that are read of every row: keys and event time.
func (k *kernel) keyPass() []int {
	columns := make([]int, k.eventColumn()+1)
	for c := range columns {
		columns[c] = c
	}
	return columns
}

// featureColumns returns the places of features.
func (k *kernel) featureColumns(features []int) []int {
	columns := make([]int, len(features))
	for i, f := range features {
		columns[i] = k.featureColumn(f)
	}
	return columns
}

// valueColumns returns the places of all features.
func (k *kernel) valueColumns() []int {
	columns := make([]int, len(k.in.View.Features))
	for i := range columns {
		columns[i] = k.featureColumn(i)
	}
	return columns
}

// encodedSize estimates the bytes of a row's canonical encoding.
func (k *kernel) encodedSize() int {
	size := 16
	for _, f := range k.in.View.Features {
		if w := f.Type.Kind.Width(); w > 0 && !f.Type.List {
			size += w
		} else {
			size += 64
		}
	}
	return size
}

// width returns the bytes of a row of some columns, without text and lists.
func (k *kernel) width(columns []int) int {
	width := 1
	for _, c := range columns {
		width += 4
		if t := k.columns[c].Type; t.FixedWidth() {
			width += t.Kind.Width()
		}
	}
	return width
}

// checkFeatures fails on an index that is none of the view's features.
func (k *kernel) checkFeatures(features []int) error {
	for _, f := range features {
		if f < 0 || f >= len(k.in.View.Features) {
			return fmt.Errorf("view %s: feature %d of %d", k.in.View.Name, f, len(k.in.View.Features))
		}
	}
	return nil
}
