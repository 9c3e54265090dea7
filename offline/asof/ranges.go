package asof

import (
	"context"

	"github.com/provender-dev/provender/offline/parquet"
)

// Range bounds the event times of some rows.
type Range struct{ Least, Greatest int64 }

// EventRanges returns the range of event times of each row group of in.Files[file] that has rows, by its statistics. Of the
// file no more than the footer is read, and of the view nothing else is looked at. ok is false where a row group has no
// statistics. An error names the file.
func EventRanges(ctx context.Context, in Input, file int, limits parquet.Limits) (ranges []Range, ok bool, err error) {
	k, err := newKernel(in, Options{Workers: 1, Limits: limits})
	if err != nil {
		return nil, false, err
	}
	k.columns = k.columns[k.eventColumn() : k.eventColumn()+1]
	f, err := k.openFile(ctx, file)
	if err != nil {
		return nil, false, err
	}
	for g := range f.first {
		if f.reader.Rows(g) == 0 {
			continue
		}
		least, greatest, known := f.reader.Bounds(g, 0)
		if !known {
			return nil, false, f.close()
		}
		ranges = append(ranges, Range{least, greatest})
	}
	return ranges, true, f.close()
}
