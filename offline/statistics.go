package offline

import (
	"context"
	"errors"
	"math"
	"math/bits"

	"github.com/zeebo/xxh3"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// Statistics is what the files of a view hold: what filling the view anew reads and stores. Where fewer files were looked
// at than there are, or fewer row groups read, it is about so much.
type Statistics struct {
	Files  int64
	Looked int64 // files whose footers were read; the figures of the others are in proportion to their sizes
	Rows   int64
	Keys   int64 // entities; 0: not known
	Read   int64 // bytes of the view's columns, as the files store them
	Stored int64 // bytes of the newest rows with their keys, what a store adds left out; 0: not known
}

// What is read of data, beside footers: key columns of some row groups, and the first rows of a few.
const (
	keyGroups    = 16       // at most 16, the bits of distinct
	keyBytes     = 32 << 20 // of key columns, as the files store them
	keyGroupRows = 2 << 20  // of a row group
	textBytes    = 64 << 20 // of one column, decoded
	sizeGroups   = 8
	sizeRows     = 128 // of each
)

// Statistics estimates a view from its survey. An error tells why it can't.
func (s *Survey) Statistics(ctx context.Context, v *registry.View) (Statistics, error) {
	e := &estimate{survey: s, view: v, columns: ViewColumns(v)}
	if err := e.measure(); err != nil {
		return Statistics{}, err
	}
	// What is too large to be looked into stays unknown.
	if err := e.countKeys(ctx); err != nil && !errors.Is(err, parquet.ErrOverLimit) {
		return Statistics{}, err
	}
	if err := e.measureRows(ctx); err != nil && !errors.Is(err, parquet.ErrOverLimit) {
		return Statistics{}, err
	}
	return e.Statistics, nil
}

// estimate is a Statistics in the making.
type estimate struct {
	Statistics
	survey  *Survey
	view    *registry.View
	columns []parquet.Column
	groups  []groupOf // of all files that were looked at
	whole   bool      // they are all files
}

// groupOf is a row group of a file.
type groupOf struct {
	*parquet.Reader
	group int
}

// measure adds up what the footers say, and what that means for all files.
func (e *estimate) measure() error {
	var looked, all float64 // bytes of files
	for _, f := range e.survey.Files {
		all += float64(f.Size)
	}
	for _, l := range e.survey.Looked {
		if l.Err != nil {
			return l.Err
		}
		reader, err := l.Footer.Bind(e.columns)
		if err != nil {
			return err
		}
		looked += float64(l.Size)
		for g := range reader.RowGroups() {
			e.groups = append(e.groups, groupOf{reader, g})
			e.Rows += int64(reader.Rows(g))
			for c := range e.columns {
				e.Read += reader.Stored(g, c)
			}
		}
	}
	e.Files, e.Looked = int64(len(e.survey.Files)), int64(len(e.survey.Looked))
	if e.whole = e.Files == e.Looked; !e.whole {
		e.Rows, e.Read = scaled(e.Rows, all/looked), scaled(e.Read, all/looked)
	}
	return nil
}

func scaled(n int64, by float64) int64 { return int64(math.Round(float64(n) * by)) }

// countKeys counts the entities of some row groups, and infers those of all.
func (e *estimate) countKeys(ctx context.Context) error {
	keys := len(e.view.KeyColumns)
	if keys == 0 {
		e.Keys = min(e.Rows, 1)
		return nil
	}
	chosen := e.chooseGroups(keys)
	found := distinct{seen: make(map[uint64]uint16)}
	vectors := e.vectors(keys)
	var key []byte
	read := 0
	for i, g := range chosen {
		rows, err := g.first(ctx, keyGroupRows, vectors)
		if err != nil {
			return err
		}
		for at := range rows {
			var ok bool
			if key, ok = row.AppendKey(key[:0], vectors, at); ok {
				found.add(xxh3.Hash(key), i)
			}
		}
		read += rows
	}
	if read > 0 {
		e.Keys = min(e.Rows, found.estimate(float64(e.Rows-int64(read))/float64(read)))
	}
	if most, ok := e.keyRange(keys); ok && (e.Keys == 0 || e.Keys > most) && most < e.Rows {
		e.Keys = most
	}
	return nil
}

// vectors returns an empty vector for each of the first n columns.
func (e *estimate) vectors(n int) []*columnar.Vector {
	vectors := make([]*columnar.Vector, n)
	for c := range vectors {
		vectors[c] = columnar.NewVector(e.columns[c].Type, 0)
	}
	return vectors
}

// first reads the first rows of the first columns, at most limit, in place of what vectors hold.
func (g groupOf) first(ctx context.Context, limit int, vectors []*columnar.Vector) (int, error) {
	rows := make([]int32, min(g.Rows(g.group), limit))
	for i := range rows {
		rows[i] = int32(i)
	}
	for c, v := range vectors {
		v.Reset()
		if err := g.GatherWithin(ctx, g.group, c, rows, v, textBytes); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// chooseGroups returns row groups whose keys are worth reading, spread evenly; none where one of them is too large.
func (e *estimate) chooseGroups(keys int) []groupOf {
	for n := min(len(e.groups), keyGroups); n > 0; n /= 2 {
		var chosen []groupOf
		bytes, small := int64(0), true
		for _, at := range spread(len(e.groups), n) {
			g := e.groups[at]
			chosen = append(chosen, g)
			for c := range keys {
				bytes += g.Stored(g.group, c)
			}
			small = small && g.Rows(g.group) <= keyGroupRows
		}
		if small && bytes <= keyBytes {
			return chosen
		}
	}
	return nil
}

// keyRange returns how many keys the bounds of integers leave room for, where all files state them.
func (e *estimate) keyRange(keys int) (int64, bool) {
	if !e.whole || len(e.groups) == 0 {
		return 0, false
	}
	room := 1.0
	for c := range keys {
		if e.columns[c].Type.Kind != columnar.Int64 {
			return 0, false
		}
		least, greatest := int64(math.MaxInt64), int64(math.MinInt64)
		for _, g := range e.groups {
			from, to, ok := g.Bounds(g.group, c)
			if !ok {
				return 0, false
			}
			least, greatest = min(least, from), max(greatest, to)
		}
		room *= float64(greatest) - float64(least) + 1
	}
	return int64(min(room, math.MaxInt64/2)), true
}

// measureRows encodes the first rows of a few row groups, as they would be stored.
func (e *estimate) measureRows(ctx context.Context) error {
	if e.Keys == 0 {
		return nil
	}
	vectors := e.vectors(len(e.columns))
	event := len(e.view.KeyColumns)
	features := vectors[event+1 : event+1+len(e.view.Features)]
	var encoded []byte
	rows := 0
	for _, at := range spread(len(e.groups), min(len(e.groups), sizeGroups)) {
		g := e.groups[at]
		n, err := g.first(ctx, sizeRows, vectors)
		if err != nil {
			return err
		}
		for i := range n {
			key, ok := row.AppendKey(encoded, vectors[:event], i)
			if !ok || vectors[event].IsNull(i) || !row.ValidTime(vectors[event].Int64s[i]) {
				continue
			}
			created := int64(row.NoCreated)
			if last := vectors[len(vectors)-1]; e.view.Source.CreatedTime != "" && !last.IsNull(i) && row.ValidTime(last.Int64s[i]) {
				created = last.Int64s[i]
			}
			encoded = e.view.Layout.AppendRow(key, vectors[event].Int64s[i], created, features, i)
			rows++
		}
	}
	if rows > 0 {
		e.Stored = scaled(e.Keys, float64(len(encoded))/float64(rows))
	}
	return nil
}

// distinct counts different hashes, and in how many samples each one was. It keeps those that are small, fewer as they
// come, so that it stays small itself.
type distinct struct {
	seen  map[uint64]uint16 // by hash, a bit for each sample
	shift int               // leading bits that are zero in what is kept
}

// distinctKept is how many hashes are kept: the error is less than a hundredth.
const distinctKept = 1 << 16

func (d *distinct) add(hash uint64, sample int) {
	if bits.LeadingZeros64(hash) < d.shift {
		return
	}
	d.seen[hash] |= 1 << sample
	for len(d.seen) > distinctKept {
		d.shift++
		for h := range d.seen {
			if bits.LeadingZeros64(h) < d.shift {
				delete(d.seen, h)
			}
		}
	}
}

// estimate infers how many there are in all, given how much was not sampled for each part that was. What was met in one
// sample alone tells of what was not met: by Chao's estimate, and at most in proportion.
func (d *distinct) estimate(rest float64) int64 {
	var all, once, twice float64
	each := float64(uint64(1) << d.shift)
	for _, samples := range d.seen {
		all += each
		switch bits.OnesCount16(samples) {
		case 1:
			once += each
		case 2:
			twice += each
		}
	}
	return int64(all + min(once*once/(2*(twice+1)), once*rest))
}
