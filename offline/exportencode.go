package offline

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/parquet"
)

const (
	// cellRows and cellBytes bound the vectors between the join and the encoder.
	cellRows  = 8192
	cellBytes = 8 << 20
	// leastRoom is gathered at a time however little memory there is: a pass over the files for each row takes for ever.
	leastRoom = 8 << 10
)

// block is a run of spine rows: a row group of the output, or several where its rows are wide.
type block struct {
	lo, hi int
	part   int // the file of the output it belongs to
}

// divide divides the spine's rows. It follows from the request and the spine alone.
func (e *export) divide(rows int) []block {
	step := int(min(int64(e.opts.groupRows), max(1024, int64(groupBytes)/max(1, e.spine.size()/max(1, int64(rows))))))
	perPart := rows
	if e.req.PartRows > 0 {
		perPart = int(min(e.req.PartRows, int64(rows)))
	}
	var blocks []block
	for lo := 0; lo < rows; {
		part := lo / perPart
		hi := min(lo+step, (part+1)*perPart, rows)
		blocks = append(blocks, block{lo, hi, part})
		lo = hi
	}
	return blocks
}

// encodeRead answers a read, and encodes its outputs as far as memory allows at a time.
func (e *export) encodeRead(ctx context.Context, r int) error {
	opts := joinOptions{workers: e.req.Workers, limits: e.req.Limits, progress: e.progress.matched}
	if err := e.answer.match(ctx, r, e.req.Source, e.spine.times, e.spine.keys, opts); err != nil {
		return err
	}
	result := e.answer.results[r]
	e.reads[r] = e.readReport(r)
	nulls := make([]atomic.Int64, len(e.counts))
	fixed := e.answer.fixed(r)
	for from := 0; from < fixed; {
		to := e.step(r, from, fixed)
		if err := e.answer.gather(ctx, r, from, to); err != nil {
			return err
		}
		e.progress.gathered(r, to-from)
		if err := e.encodeOutputs(ctx, r, from, to, block{hi: len(e.spine.times)}, nulls); err != nil {
			return err
		}
		from = to
	}
	for feature := fixed; feature < len(e.answer.features[r]); feature++ {
		if err := e.encodeWide(ctx, r, feature, nulls); err != nil {
			return err
		}
	}
	for i, output := range e.req.Service.Outputs {
		if output.Read == r {
			null, read := nulls[i].Load(), e.reads[r]
			e.counts[i] = FeatureCounts{
				Name: output.Name, Present: read.Present - null, Null: null, Expired: read.Expired, NotFound: read.NotFound,
			}
		}
	}
	e.answer.results[r] = result.Summary()
	for _, w := range e.workers {
		w.release()
	}
	return nil
}

// room is how many bytes may be gathered. Another quarter of the memory is for what is encoded, and the collector lets
// garbage take as much again.
func (e *export) room() int64 { return max(e.opts.memory/4, leastRoom) }

// step returns up to which of a read's features of fixed width, from one on, there is room to gather: at least one.
func (e *export) step(r, from, fixed int) int {
	view, rows := e.req.Service.Reads[r].View, int64(e.answer.results[r].Found())
	room := e.room()
	to := from
	for ; to < fixed; to++ {
		if room -= rows*int64(view.Features[e.answer.features[r][to]].Type.Kind.Width()) + rows/8; room < 0 {
			break
		}
	}
	return max(to, from+1)
}

// encodeWide gathers and encodes a feature of no fixed width, for as many rows at a time as there is room for.
func (e *export) encodeWide(ctx context.Context, r, feature int, nulls []atomic.Int64) error {
	rows := len(e.spine.times)
	n := rows
	for lo := 0; lo < rows; {
		hi := min(rows, lo+n)
		ok, err := e.answer.gatherRows(ctx, r, feature, lo, hi, e.room())
		if err != nil {
			return err
		}
		if !ok {
			n = (hi - lo + 3) / 4
			continue
		}
		if hi == rows {
			e.progress.gathered(r, 1)
		}
		if err := e.encodeOutputs(ctx, r, feature, feature+1, block{lo: lo, hi: hi}, nulls); err != nil {
			return err
		}
		lo = hi
	}
	return nil
}

// encodeOutputs encodes some rows of the outputs of a read whose features are gathered: those in [from, to) of its
// features. It adds to nulls, per output of the service.
func (e *export) encodeOutputs(ctx context.Context, r, from, to int, rows block, nulls []atomic.Int64) error {
	var outputs []int
	for i, o := range e.req.Service.Outputs {
		if at := e.answer.columns[i]; o.Read == r && at >= from && at < to {
			outputs = append(outputs, i)
		}
	}
	first, last := e.blocksOf(rows)
	return parallel(ctx, len(e.workers), len(outputs)*(last-first), func(worker, task int) error {
		output, at := outputs[task/(last-first)], first+task%(last-first)
		b := e.blocks[at]
		b.lo, b.hi = max(b.lo, rows.lo), min(b.hi, rows.hi)
		n, err := e.workers[worker].encodeFeature(output, at, b)
		nulls[output].Add(int64(n))
		e.progress.encoded(r, b.hi-b.lo)
		return err
	})
}

// blocksOf returns the blocks that some rows lie in.
func (e *export) blocksOf(rows block) (first, last int) {
	first, _ = slices.BinarySearchFunc(e.blocks, rows.lo+1, func(b block, row int) int { return cmp.Compare(b.hi, row) })
	last, _ = slices.BinarySearchFunc(e.blocks, rows.hi, func(b block, row int) int { return cmp.Compare(b.lo, row) })
	return first, last
}

// parallel calls fn for the tasks [0, n); calls for one worker do not overlap.
func parallel(ctx context.Context, workers, n int, fn func(worker, task int) error) error {
	var next atomic.Int64
	each, ctx := errgroup.WithContext(ctx)
	for worker := range min(workers, n) {
		each.Go(func() error {
			for {
				task := int(next.Add(1)) - 1
				if task >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := fn(worker, task); err != nil {
					return err
				}
			}
		})
	}
	return each.Wait()
}

// worker is the memory of one goroutine that encodes.
type worker struct {
	export         *export
	encoder        *parquet.Encoder
	chunk          *parquet.Chunk // nil for none, as the next ones
	cells, scratch *columnar.Vector
	sizes          []uint32
}

func newWorkers(e *export) []*worker {
	all := make([]*worker, workers(e.req.Workers))
	for i := range all {
		all[i] = &worker{export: e, encoder: parquet.NewEncoder(e.opts.codec)}
	}
	return all
}

// restart empties the chunk for a leaf of about so many rows.
func (w *worker) restart(leaf *parquet.Leaf, rows int) {
	if w.chunk == nil {
		w.chunk = parquet.NewChunk(leaf, rows)
	}
	w.chunk.Restart(leaf)
}

// release gives up the values that were encoded last.
func (w *worker) release() { w.chunk, w.cells, w.scratch, w.sizes = nil, nil, nil, nil }

// encodeFeature encodes rows of a block of an output, in pieces where its cells are wide, and returns how many of them are
// null.
func (w *worker) encodeFeature(output, at int, b block) (nulls int, err error) {
	e := w.export
	t := outputType(e.req.Service, output)
	w.restart(e.schema.Leaves()[e.width+output], b.hi-b.lo)
	if w.cells == nil || w.cells.Type != t {
		w.cells, w.scratch = columnar.NewVector(t, cellRows), columnar.NewVector(t, cellRows)
	}
	if !t.FixedWidth() {
		w.measure(output, b)
	}
	pieces := &e.encoded[e.width+output][at]
	for lo := b.lo; lo < b.hi; {
		end := w.pieceEnd(t, b, lo)
		for lo < end {
			hi := w.cellsEnd(t, b, lo, end)
			nulls += e.answer.cells(output, lo, hi, w.cells, w.scratch)
			w.chunk.Append(w.cells)
			lo = hi
		}
		piece, err := w.encoder.Encode(w.chunk)
		if err != nil {
			return nulls, err
		}
		w.chunk.Reset()
		if err := e.spill.keep(piece); err != nil {
			return nulls, err
		}
		*pieces = append(*pieces, piece)
	}
	return nulls, nil
}

// measure takes the sizes of a block's cells, and adds them to those of the export's rows.
func (w *worker) measure(output int, b block) {
	w.sizes = w.sizes[:0]
	for row := b.lo; row < b.hi; row++ {
		w.sizes = append(w.sizes, uint32(min(w.export.answer.size(output, row), math.MaxUint32)))
	}
	w.export.sizes.add(b.lo, w.sizes)
}

// pieceEnd returns where the piece that begins at lo ends: its cells take at most groupBytes, or it is one row.
func (w *worker) pieceEnd(t columnar.Type, b block, lo int) int {
	if t.FixedWidth() {
		return b.hi
	}
	return lo + runWithin(w.sizes[lo-b.lo:], groupBytes)
}

func (w *worker) cellsEnd(t columnar.Type, b block, lo, end int) int {
	end = min(end, lo+cellRows)
	if t.FixedWidth() {
		return end
	}
	return lo + runWithin(w.sizes[lo-b.lo:end-b.lo], cellBytes)
}

// runWithin returns how many rows from the first on take at most so many bytes, at least one.
func runWithin(sizes []uint32, bytes int) int {
	total := 0
	for i, size := range sizes {
		if total += int(size); total > bytes && i > 0 {
			return i
		}
	}
	return len(sizes)
}

// rowSizes is per spine row the bytes of its cells of no fixed width.
type rowSizes struct {
	mu   sync.Mutex
	rows []uint32
}

// add adds sizes from a row on.
func (s *rowSizes) add(from int, sizes []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, size := range sizes {
		row := &s.rows[from+i]
		*row += min(size, math.MaxUint32-*row)
	}
}

// groups divides a block into row groups, of which each takes at most groupBytes of cells of no fixed width, or is one
// row.
func (e *export) groups(b block) []block {
	if e.sizes.rows == nil {
		return []block{b}
	}
	var groups []block
	for lo := b.lo; lo < b.hi; {
		hi := lo + runWithin(e.sizes.rows[lo:b.hi], groupBytes)
		groups = append(groups, block{lo, hi, b.part})
		lo = hi
	}
	return groups
}

// prepare lays out the output: its schema, its blocks, and room for what is encoded.
func (e *export) prepare() error {
	e.schema = e.spine.columns.Schema()
	e.width = len(e.schema.Leaves())
	service := e.req.Service
	wide := false
	for i, output := range service.Outputs {
		t := outputType(service, i)
		e.schema.Add(output.Name, t)
		wide = wide || !t.FixedWidth()
	}
	rows := len(e.spine.times)
	e.blocks = e.divide(rows)
	perFile := int64(rows)
	if e.req.PartRows > 0 {
		perFile = min(perFile, e.req.PartRows)
	}
	if most := int64(math.MaxInt16 + 1); (perFile-1)/int64(e.opts.groupRows) >= most {
		return e.opts.tooManyGroups(perFile, most)
	}
	e.encoded = make([][][]*parquet.Encoded, len(e.schema.Leaves()))
	for i := e.width; i < len(e.encoded); i++ {
		e.encoded[i] = make([][]*parquet.Encoded, len(e.blocks))
	}
	if wide {
		e.sizes.rows = make([]uint32, rows)
	}
	e.counts = slices.Repeat([]FeatureCounts{{}}, len(service.Outputs))
	for i, output := range service.Outputs {
		e.counts[i].Name = output.Name
	}
	e.reads = make([]ReadReport, len(service.Reads))
	e.workers = newWorkers(e)
	return nil
}
