package asof

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/parquet"
)

// want is a row whose features are wanted, and the number that the caller knows it by.
type want struct {
	pos int64
	id  int32
}

// Bounds of a part: its rows, and the bytes of its values of fixed width.
const (
	partRows  = 1 << 16
	partBytes = 16 << 20
)

// part is some wanted rows of one row group, those at [lo, hi) of all.
type part struct {
	lo, hi int
	kernel *kernel
	job    job
	rows   []int32 // in the row group
	flaws  []partFlaw
}

// partFlaw is a row of a part, by its index, that has a value or a created time that can't be represented.
type partFlaw struct {
	index  int
	reason reason
	column string
	err    error
}

// read appends a feature (an index into the view's) of the part's rows to dst.
func (p *part) read(ctx context.Context, feature int, dst *columnar.Vector) error {
	return p.job.file.reader.Gather(ctx, p.job.group, p.kernel.featureColumn(feature), p.rows, dst)
}

// readWithin is read of a feature of no fixed width; parquet.ErrOverLimit where dst takes more than limit bytes.
func (p *part) readWithin(ctx context.Context, feature int, dst *columnar.Vector, limit int64) error {
	return p.job.file.reader.GatherWithin(ctx, p.job.group, p.kernel.featureColumn(feature), p.rows, dst, limit)
}

// all returns all the view's features of the part's rows; parquet.ErrOverLimit where the text and lists of one take more
// than limit bytes.
func (p *part) all(ctx context.Context, limit int64) ([]*columnar.Vector, error) {
	p.flaws = nil
	features := make([]*columnar.Vector, len(p.kernel.in.View.Features))
	for f := range features {
		features[f] = columnar.NewVector(p.kernel.in.View.Features[f].Type, p.hi-p.lo)
		err := p.readWithin(ctx, f, features[f], limit)
		if p.kernel.tolerates(err) {
			err = p.readLenient(ctx, p.kernel.featureColumn(f), badValues, features[f], limit)
		}
		if err != nil {
			return nil, err
		}
	}
	return features, nil
}

// readLenient reads a column again whose values can't all be represented.
func (p *part) readLenient(ctx context.Context, column int, why reason, dst *columnar.Vector, limit int64) error {
	dst.Reset()
	flaws, err := p.job.file.reader.GatherLenient(ctx, p.job.group, column, p.rows, dst, limit)
	for _, f := range flaws {
		index, _ := slices.BinarySearch(p.rows, f.Row)
		if !p.flawed(index) {
			p.flaws = append(p.flaws, partFlaw{index, why, p.kernel.columns[column].Name, f.Err})
		}
	}
	return err
}

// flawed reports whether a row of the part has a value that can't be represented.
func (p *part) flawed(index int) bool {
	return slices.ContainsFunc(p.flaws, func(f partFlaw) bool { return f.index == index })
}

// allWithin calls fn with the view's features of the part's rows, part by part where the text and lists of several rows
// take more than limit bytes.
func (p *part) allWithin(ctx context.Context, limit int64, fn func(p *part, features []*columnar.Vector) error) error {
	if len(p.rows) == 1 {
		limit = math.MaxInt64
	}
	features, err := p.all(ctx, limit)
	if errors.Is(err, parquet.ErrOverLimit) {
		half := len(p.rows) / 2
		a, b := *p, *p
		a.hi, a.rows = p.lo+half, p.rows[:half]
		b.lo, b.rows = p.lo+half, p.rows[half:]
		if err := a.allWithin(ctx, limit, fn); err != nil {
			return err
		}
		return b.allWithin(ctx, limit, fn)
	}
	if err != nil {
		return err
	}
	return fn(p, features)
}

// created appends the created times of the part's rows to dst, row.NoCreated for none.
func (p *part) created(ctx context.Context, dst []int64) ([]int64, error) {
	if !p.kernel.hasCreated() {
		for range p.rows {
			dst = append(dst, row.NoCreated)
		}
		return dst, nil
	}
	v := columnar.NewVector(columnar.Type{Kind: columnar.Timestamp}, len(p.rows))
	err := p.job.file.reader.Gather(ctx, p.job.group, p.kernel.createdColumn(), p.rows, v)
	if p.kernel.tolerates(err) {
		err = p.readLenient(ctx, p.kernel.createdColumn(), badTimes, v, math.MaxInt64)
	}
	if err != nil {
		return nil, err
	}
	return append(dst, createdTimes(v)...), nil
}

// createdTimes returns a vector's values, row.NoCreated in place of nulls.
func createdTimes(v *columnar.Vector) []int64 {
	if v.Valid != nil {
		for i := range v.Int64s {
			if !v.Valid.Get(i) {
				v.Int64s[i] = row.NoCreated
			}
		}
	}
	return v.Int64s
}

// gather calls fn with parts that make up the rows at positions, which ascend without repeats; from several goroutines,
// but calls for one worker do not overlap. Every row group is visited once. reads are the columns that fn reads.
func (k *kernel) gather(ctx context.Context, positions []int64, reads []int, fn func(ctx context.Context, worker int, p *part) error) error {
	if len(positions) == 0 {
		return nil
	}
	var files []int
	starts := make([]int, len(k.in.Files)) // of a file's positions
	for at := 0; at < len(positions); {
		file := fileOf(positions[at])
		starts[file] = at
		files = append(files, file)
		n, _ := slices.BinarySearch(positions[at:], position(file, 1<<rowBits-1))
		at += n
	}
	p := k.newPass(files, reads, func(f *openFile) []int {
		at := starts[f.index]
		var groups []int
		for g := range f.first {
			n, _ := slices.BinarySearch(positions[at:], position(f.index, f.first[g]+int64(f.reader.Rows(g))))
			if n > 0 {
				groups = append(groups, g)
			}
			at += n
		}
		return groups
	})
	defer p.abandon()
	most := max(1, min(partRows, partBytes/k.width(reads)))
	rows := make([][]int32, k.workers)
	return p.run(ctx, func() bool { return false }, func(ctx context.Context, worker int, j job) error {
		first := position(j.file.index, j.file.first[j.group])
		lo, _ := slices.BinarySearch(positions, first)
		end, _ := slices.BinarySearch(positions, first+int64(j.file.reader.Rows(j.group)))
		for lo < end {
			hi := min(lo+most, end)
			rows[worker] = rows[worker][:0]
			for _, pos := range positions[lo:hi] {
				rows[worker] = append(rows[worker], int32(pos-first))
			}
			if err := fn(ctx, worker, &part{lo: lo, hi: hi, kernel: k, job: j, rows: rows[worker]}); err != nil {
				return err
			}
			lo = hi
		}
		return nil
	})
}

// positions returns where wants are.
func positions(wants []want) []int64 {
	positions := make([]int64, len(wants))
	for i, w := range wants {
		positions[i] = w.pos
	}
	return positions
}

// sort orders wants by position.
func (k *kernel) sort(ctx context.Context, wants []want) error {
	if len(wants) == 0 {
		return nil
	}
	each, ctx := errgroup.WithContext(ctx)
	each.SetLimit(k.workers)
	for _, file := range bucket(wants, len(k.in.Files)) {
		if len(file) < 2 {
			continue
		}
		each.Go(func() error {
			slices.SortFunc(file, func(a, b want) int { return cmp.Compare(a.pos, b.pos) })
			return ctx.Err()
		})
	}
	return each.Wait()
}

// bucket groups wants by file, in place.
func bucket(wants []want, files int) [][]want {
	ends := make([]int, files)
	for _, w := range wants {
		ends[fileOf(w.pos)]++
	}
	next := make([]int, files) // where the next want of a file goes
	byFile := make([][]want, files)
	end := 0
	for f, n := range ends {
		next[f] = end
		end += n
		ends[f] = end
		byFile[f] = wants[next[f]:end]
	}
	for f := range files {
		for next[f] < ends[f] {
			// Carry this want home, and whatever lies there home in turn, until one comes that belongs here.
			w := wants[next[f]]
			for home := fileOf(w.pos); home != f; home = fileOf(w.pos) {
				w, wants[next[home]] = wants[next[home]], w
				next[home]++
			}
			wants[next[f]] = w
			next[f]++
		}
	}
	return byFile
}
