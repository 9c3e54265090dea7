package asof

import (
	"cmp"
	"context"
	"slices"

	"github.com/provender-dev/provender/internal/columnar"
)

// want is a row whose features are wanted, and the number that the caller knows it by.
type want struct {
	pos int64
	id  int32
}

// chunkRows bounds the rows of a chunk.
const chunkRows = 1 << 16

// chunk is some wanted rows of one row group and their features, in the order asked for.
type chunk struct {
	wants    []want
	features []*columnar.Vector
}

// gather reads features (indexes into the view's) of the wanted rows, each row group once, and calls fn from several
// goroutines; calls for one worker do not overlap. It reorders wants, whose positions are distinct.
func (k *kernel) gather(ctx context.Context, wants []want, features []int, fn func(ctx context.Context, worker int, c chunk) error) error {
	if len(wants) == 0 {
		return nil
	}
	byFile, files := bucket(wants, len(k.in.Files))
	// Per file, the wants of its row groups; written by the goroutine that opens the file, before its jobs are queued.
	groups := make([][][]want, len(k.in.Files))
	p := k.newPass(files, func(f *openFile) []int {
		wants := byFile[f.index]
		slices.SortFunc(wants, func(a, b want) int { return cmp.Compare(a.pos, b.pos) })
		var todo []int
		groups[f.index], todo = split(wants, f.first)
		return todo
	})
	defer p.abandon()
	rows := make([][]int32, k.workers)
	return p.run(ctx, func() bool { return false }, func(ctx context.Context, worker int, j job) error {
		for part := range slices.Chunk(groups[j.file.index][j.group], chunkRows) {
			rows[worker] = rows[worker][:0]
			for _, w := range part {
				rows[worker] = append(rows[worker], int32(rowOf(w.pos)-j.file.first[j.group]))
			}
			c := chunk{wants: part, features: make([]*columnar.Vector, len(features))}
			for i, f := range features {
				v := columnar.NewVector(k.in.View.Features[f].Type, len(part))
				if err := j.file.reader.Gather(ctx, j.group, k.featureColumn(f), rows[worker], v); err != nil {
					return err
				}
				c.features[i] = v
			}
			if err := fn(ctx, worker, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// bucket groups wants by file, in place, and lists the files that have any.
func bucket(wants []want, files int) (byFile [][]want, present []int) {
	ends := make([]int, files)
	for _, w := range wants {
		ends[fileOf(w.pos)]++
	}
	next := make([]int, files) // where the next want of a file goes
	byFile = make([][]want, files)
	end := 0
	for f, n := range ends {
		if n > 0 {
			present = append(present, f)
		}
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
	return byFile, present
}

// split divides the wants of a file, ordered by position, among its row groups, and lists those that have any.
func split(wants []want, first []int64) (byGroup [][]want, todo []int) {
	byGroup = make([][]want, len(first))
	for g := range first {
		n := len(wants)
		if g+1 < len(first) {
			n, _ = slices.BinarySearchFunc(wants, first[g+1], func(w want, row int64) int { return cmp.Compare(rowOf(w.pos), row) })
		}
		if n > 0 {
			byGroup[g], wants = wants[:n], wants[n:]
			todo = append(todo, g)
		}
	}
	return byGroup, todo
}
