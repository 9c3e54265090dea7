package offline

import (
	"bytes"
	"context"
	"unicode"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

const (
	sampleWindow = 64  // rows that are looked at for one with keys that can be shown
	sampleBytes  = 200 // of a string that can be shown
)

// SampleKey returns the join keys of one row of a view, a vector of one value each, in the order of KeyColumns: of the
// last row group of the last file in name order, which of files named by date is the newest. It is nil where
// none can be shown; a source without files is an error.
func SampleKey(ctx context.Context, files *source.Files, limits parquet.Limits, view *registry.View) ([]*columnar.Vector, error) {
	list, err := files.List(ctx, view.Source.Parquet)
	if err != nil || len(list) == 0 || len(view.KeyColumns) == 0 {
		return nil, err
	}
	last := list[len(list)-1]
	handle, err := files.Open(ctx, last)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	file, err := parquet.Open(ctx, handle, last, limits)
	if err != nil {
		return nil, err
	}
	columns := make([]parquet.Column, len(view.KeyColumns))
	for i, k := range view.KeyColumns {
		columns[i] = parquet.Column{Name: k.Column, Type: columnar.Type{Kind: k.Kind}}
	}
	reader, err := file.Bind(columns)
	if err != nil {
		return nil, err
	}
	group := reader.RowGroups() - 1
	for group >= 0 && reader.Rows(group) == 0 {
		group--
	}
	if group < 0 {
		return nil, nil
	}
	rows := make([]int32, min(sampleWindow, reader.Rows(group)))
	for i := range rows {
		rows[i] = int32(i)
	}
	keys := make([]*columnar.Vector, len(columns))
	for i, c := range columns {
		keys[i] = columnar.NewVector(c.Type, len(rows))
		if err := reader.Gather(ctx, group, i, rows, keys[i]); err != nil {
			return nil, err
		}
	}
	for row := range rows {
		if one := valuesAt(keys, row); one != nil {
			return one, nil
		}
	}
	return nil, nil
}

// valuesAt returns one row of some columns, nil where one has a null, or a string that can't be shown.
func valuesAt(columns []*columnar.Vector, row int) []*columnar.Vector {
	out := make([]*columnar.Vector, len(columns))
	for i, c := range columns {
		if c.IsNull(row) || c.Type.Kind == columnar.String && !presentable(c.BytesAt(row)) {
			return nil
		}
		out[i] = columnar.NewVector(c.Type, 1)
		out[i].AppendFrom(c, row)
	}
	return out
}

// presentable reports whether a text can stand in a command to copy.
func presentable(text []byte) bool {
	return len(text) > 0 && len(text) <= sampleBytes && !bytes.ContainsFunc(text, unicode.IsControl)
}
