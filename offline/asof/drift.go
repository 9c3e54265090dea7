package asof

import (
	"context"

	"github.com/provender-dev/provender/offline/parquet"
)

// drift adds to the error of binding a file's columns what the last or the first file of the source has instead.
func (k *kernel) drift(ctx context.Context, index int, file *parquet.File, err error) error {
	for _, other := range []int{len(k.in.Files) - 1, 0} {
		if other == index {
			continue
		}
		if told := k.driftFrom(ctx, other, file, err); told != nil {
			return told
		}
	}
	return err
}

// driftFrom is nil where the other file does not differ, or can't be read.
func (k *kernel) driftFrom(ctx context.Context, other int, file *parquet.File, err error) error {
	handle, openErr := k.in.Source.Open(ctx, k.in.Files[other])
	if openErr != nil {
		return nil // the error at hand is what matters
	}
	defer handle.Close()
	f, openErr := parquet.Open(ctx, handle, handle.File, k.opts.Limits)
	if openErr != nil {
		return nil
	}
	return file.Drift(err, k.columns, f)
}
