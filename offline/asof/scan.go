package asof

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// block is keys and times of rows of one row group. An id is the row's entity, negative where the row takes no part.
type block struct {
	pos     int64   // of the row group's first row
	rows    []int32 // in the row group, ascending; nil: all
	ids     []int32
	event   []int64
	created []int64 // row.NoCreated for none; nil where the board is not strict
}

// position is where the row at i lies.
func (b *block) position(i int) int64 {
	if b.rows != nil {
		return b.pos + int64(b.rows[i])
	}
	return b.pos + int64(i)
}

// offer offers what is at i to a slot.
func (b *block) offer(out *sink, i int, slot int32) {
	h := hit{b.event[i], b.position(i), slot}
	if b.created == nil {
		out.add(h)
	} else {
		out.addStrict(h, b.created[i])
	}
}

// scan is the keys pass: it decodes keys and times of every row group whose events may lie in [least, greatest],
// numbers the entities, and lets place put the rows on the board.
type scan struct {
	kernel          *kernel
	entities        *entities
	add             bool       // number entities that are not known yet
	least, greatest int64      // events outside take no part
	filter          *keyFilter // which keys rows may have; nil: any
	board           *board
	slots           func() int // how many there are so far
	// place offers a block's rows to the sink; calls for one worker do not overlap.
	place func(worker int, b block, out *sink)

	pass    *pass
	ties    int64 // of candidates that stand
	refused *refusals
	workers []scanWorker
	done    atomic.Int64 // rows read and skipped
	skipped atomic.Int64
	future  atomic.Int64 // in skipped row groups

	footers []uint64 // per file, each written once
	events  eventRange

	bytes       int64        // of all files
	openedRows  atomic.Int64 // of the files opened so far
	openedBytes atomic.Int64
}

// eventRange is the range of event times that row groups have by their statistics.
type eventRange struct {
	mu              sync.Mutex
	least, greatest int64
	unknown         bool // a row group has no statistics
}

func (r *eventRange) add(least, greatest int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		r.least, r.greatest = min(r.least, least), max(r.greatest, greatest)
	}
	r.unknown = r.unknown || !ok
}

// bounds returns the range, least > greatest where it is not known.
func (r *eventRange) bounds() (least, greatest int64) {
	if r.unknown {
		return math.MaxInt64, math.MinInt64
	}
	return r.least, r.greatest
}

// scanWorker is one worker's memory.
type scanWorker struct {
	ids, next, mapped []int32
	rows              []int32
	pairs             []int64
	event, created    *columnar.Vector
	sink              sink
	stats             Stats
	rejected          [reasons]tally
	keyFlaws          [][]parquet.Flaw // of the job, per key column
	leastFuture       int64            // event time of the rows of a row group after the cutoff
	_                 [64]byte         // workers count apart, each in its own cache lines
}

// run reads every file, and returns what it saw.
func (s *scan) run(ctx context.Context) (Stats, error) {
	files := make([]int, len(s.kernel.in.Files))
	for i := range files {
		files[i] = len(files) - 1 - i // the newest most often: see search.each
	}
	s.begin(files)
	defer s.pass.abandon()
	if err := s.read(ctx); err != nil {
		return Stats{}, err
	}
	s.ties = s.board.tied()
	return s.stats(), nil
}

// begin makes ready to read files.
func (s *scan) begin(files []int) {
	k := s.kernel
	s.workers = make([]scanWorker, k.workers)
	for i := range s.workers {
		s.workers[i].sink.board = s.board
		s.workers[i].stats.NewestEvent = math.MinInt64
		s.workers[i].keyFlaws = make([][]parquet.Flaw, len(s.entities.columns))
		s.workers[i].event = columnar.NewVector(columnar.Type{Kind: columnar.Timestamp}, 0)
		s.workers[i].created = columnar.NewVector(columnar.Type{Kind: columnar.Timestamp}, 0)
	}
	s.footers = make([]uint64, len(k.in.Files))
	s.events.least, s.events.greatest = math.MaxInt64, math.MinInt64
	for i := range k.in.Files {
		s.bytes += k.in.Files[i].Size
	}
	s.pass = k.newPass(files, k.keyPass(), s.plan)
}

// read reads what is left of the files, or of a round, settling ties whenever they crowd the board and at the end.
func (s *scan) read(ctx context.Context) error {
	for {
		if err := s.pass.run(ctx, s.board.crowded, s.readJob); err != nil {
			return err
		}
		for i := range s.workers {
			s.workers[i].sink.flush()
		}
		if err := s.kernel.settle(ctx, s.board); err != nil {
			return err
		}
		if s.pass.ended() {
			return nil
		}
		// Ties are no exception here.
		if err := s.kernel.makeStrict(ctx, s.board); err != nil {
			return err
		}
	}
}

// plan leaves out the row groups that statistics rule out.
func (s *scan) plan(f *openFile) []int {
	s.openedRows.Add(f.rows)
	s.openedBytes.Add(f.handle.File.Size)
	s.footers[f.index] = f.footer
	groups := make([]int, 0, len(f.first))
	for g := len(f.first) - 1; g >= 0; g-- {
		rows := int64(f.reader.Rows(g))
		if rows == 0 {
			continue
		}
		least, greatest, ok := f.reader.Bounds(g, s.kernel.eventColumn())
		s.events.add(least, greatest, ok)
		if (!ok || least <= s.greatest && greatest >= s.least) && s.filter.admits(f.reader, g) {
			groups = append(groups, g)
			continue
		}
		future := ok && least > s.kernel.in.Cutoff
		s.skip(rows, future)
		if future {
			s.held(f.index, rows, least)
		}
	}
	if s.pass.rounds != nil {
		slices.Reverse(groups)
	}
	return groups
}

// skip counts rows that are not read.
func (s *scan) skip(rows int64, future bool) {
	s.skipped.Add(rows)
	if future {
		s.future.Add(rows)
	}
	s.progress(rows)
}

// held tells of rows after the cutoff.
func (s *scan) held(file int, rows, least int64) {
	if fn := s.kernel.opts.Held; fn != nil && rows > 0 {
		fn(file, rows, least)
	}
}

func (s *scan) progress(rows int64) {
	done := s.done.Add(rows)
	if fn := s.kernel.opts.Progress; fn != nil {
		fn(done, max(done, s.about()))
	}
}

// about guesses the rows of all files from those of the files opened so far, by size.
func (s *scan) about() int64 {
	bytes := s.openedBytes.Load()
	if bytes == 0 {
		return 0
	}
	return int64(math.Round(float64(s.openedRows.Load()) / float64(bytes) * float64(s.bytes)))
}

// readJob decodes the rows of one job and places them.
func (s *scan) readJob(ctx context.Context, worker int, j job) error {
	w := &s.workers[worker]
	rows := j.to - j.from
	spans := s.spans(ctx, j)
	if spans != nil && j.whole() {
		some := 0
		for _, span := range spans {
			some += span.To - span.From
		}
		s.skip(int64(rows-some), false)
		rows = some
	}
	if rows > 0 {
		future := w.stats.Future
		w.leastFuture = math.MaxInt64
		if err := s.readRows(ctx, worker, j, spans); err != nil {
			return err
		}
		s.held(j.file.index, w.stats.Future-future, w.leastFuture)
		if j.last() {
			w.stats.RowGroups++
		}
		w.stats.RowsRead += int64(rows)
	}
	s.progress(int64(rows))
	return nil
}

// sparseRows is of how many rows one has a key of the spine at most for the event times of those alone to be read.
const sparseRows = 16

// readRows reads spans of a row group; nil means all of it.
func (s *scan) readRows(ctx context.Context, worker int, j job, spans []parquet.Span) error {
	k, w := s.kernel, &s.workers[worker]
	if err := s.readKeys(ctx, w, j, spans); err != nil {
		return err
	}
	s.pass.numbered(&j)
	w.event.Reset()
	b := block{pos: position(j.file.index, j.file.first[j.group])}
	_, newest, known := j.file.reader.Bounds(j.group, k.eventColumn())
	if few := w.few(len(w.ids) / sparseRows); spans != nil || few && !s.add && known && newest <= k.in.Cutoff {
		if !j.whole() {
			newest = math.MinInt64 // all rows are read that count
		}
		// What is counted of all rows the statistics tell.
		w.compact(&j, newest)
		if b.rows = w.rows; len(b.rows) == 0 {
			return nil
		}
	}
	if err := s.readTimes(ctx, w, &j, k.eventColumn(), b.rows, w.event); err != nil {
		return err
	}
	if !w.sift(&j, b.rows, s.least, s.greatest, k.in.Cutoff) {
		return nil
	}
	var err error
	if b.created, err = s.readCreated(ctx, w, &j, b.rows); err != nil {
		return err
	}
	b.ids, b.event = w.ids, w.event.Int64s
	w.sink.reserve(s.slots())
	s.place(worker, b, &w.sink)
	return nil
}

// spans returns the rows of a row group that its page index does not rule out, nil for all.
func (s *scan) spans(ctx context.Context, j job) []parquet.Span {
	k, r := s.kernel, j.file.reader
	switch {
	case !j.whole():
		return []parquet.Span{{From: j.from, To: j.to}}
	case s.add:
		return nil // whoever takes every entity counts every row
	}
	var all []parquet.Span
	least, greatest, ok := r.Bounds(j.group, k.eventColumn())
	if !ok || greatest > k.in.Cutoff {
		return nil
	}
	if least < s.least || greatest > s.greatest {
		all, _ = r.Spans(ctx, j.group, k.eventColumn(), func(least, greatest parquet.Bound) bool {
			return least.Int <= s.greatest && greatest.Int >= s.least
		})
	}
	for c := range s.filter.selective() {
		some, ok := r.Spans(ctx, j.group, c, s.filter.columns[c].admits)
		switch {
		case !ok:
		case all == nil:
			all = some
		default:
			all = parquet.Intersect(all, some)
		}
	}
	if len(all) == 1 && all[0] == (parquet.Span{To: r.Rows(j.group)}) {
		return nil
	}
	return all
}

// readKeys leaves the entity of every row in w.ids, outside for rows that are in no page of spans, and for those of other
// jobs.
func (s *scan) readKeys(ctx context.Context, w *scanWorker, j job, spans []parquet.Span) error {
	rows := j.file.reader.Rows(j.group)
	w.ids = resized(w.ids, rows)
	clear(w.ids)
	clear(w.keyFlaws)
	for c, t := range s.entities.columns {
		ids := w.ids
		if c > 0 {
			w.next, w.pairs = resized(w.next, rows), resized(w.pairs, rows)
			clear(w.next)
			ids = w.next
		}
		if spans != nil {
			exclude(ids)
		}
		err := s.readKey(ctx, w, j, c, t, spans, ids)
		if s.kernel.tolerates(err) {
			err = s.readKeyLenient(ctx, w, &j, c, t, ids)
		}
		if err != nil {
			return err
		}
		if c > 0 {
			s.entities.fold(c-1, w.ids, w.next, w.pairs, s.add)
		}
	}
	if len(s.entities.columns) == 0 && spans != nil {
		exclude(w.ids)
		for _, span := range spans {
			clear(w.ids[span.From:span.To])
		}
	}
	if s.add && s.entities.full() {
		return problem.New(problem.Exhausted, "view %s has more than %d entities", s.kernel.in.View.Name, maxKeys)
	}
	return nil
}

// readKey leaves the numbers of one key column in ids.
func (s *scan) readKey(ctx context.Context, w *scanWorker, j job, column int, t table, spans []parquet.Span, ids []int32) error {
	resolve := t.find
	if s.add {
		resolve = t.number
	}
	var dictionary *columnar.Vector // whose numbers are in w.mapped
	var used bool                   // only those of keys that rows have
	return j.file.reader.PagesOf(ctx, j.group, column, spans, func(page parquet.Page) error {
		out := ids[page.First : page.First+page.Rows]
		if spans != nil {
			clear(out)
		}
		if page.Index == nil {
			markNulls(page.Values, out)
			j.clip(out, page.First)
			resolve(page.Values, out)
			return nil
		}
		if dictionary != page.Values {
			dictionary = page.Values
			w.mapped = resized(w.mapped, dictionary.Len())
			// Where few of its keys may be used, the others must not be numbered.
			if used = s.add && dictionary.Len() > j.to-j.from; used {
				exclude(w.mapped)
			} else {
				clear(w.mapped)
				markNulls(dictionary, w.mapped)
				resolve(dictionary, w.mapped)
			}
		}
		if used {
			for i, x := range page.Index {
				if row := page.First + i; x >= 0 && row >= j.from && row < j.to && w.mapped[x] == outside {
					w.mapped[x] = 0
				}
			}
			resolve(dictionary, w.mapped)
		}
		for i, x := range page.Index {
			if x < 0 {
				out[i] = nullKey
			} else {
				out[i] = w.mapped[x]
			}
		}
		j.clip(out, page.First)
		return nil
	})
}

// clip takes rows of other jobs out of the ids of a page that begins at row first.
func (j *job) clip(ids []int32, first int) {
	exclude(ids[:max(0, min(j.from-first, len(ids)))])
	exclude(ids[max(0, min(j.to-first, len(ids))):])
}

// exclude takes rows out.
func exclude(ids []int32) {
	for i := range ids {
		ids[i] = outside
	}
}

// few reports whether at most so many rows have an entity.
func (w *scanWorker) few(most int) bool {
	n := 0
	for _, id := range w.ids {
		if id >= 0 {
			n++
		}
	}
	return n <= most
}

// compact leaves in w.ids the entities of rows that have one, and in w.rows those rows. Of the others the newest event time
// is known.
func (w *scanWorker) compact(j *job, newest int64) {
	w.rows = w.rows[:0]
	for i, id := range w.ids {
		switch {
		case id >= 0:
			w.ids[len(w.rows)] = id
			w.rows = append(w.rows, int32(i))
		case id == nullKey:
			w.rejected[nullKeys].add(j.sample(i, "", nil))
		case id == badKey:
			w.rejectKey(j, i)
		}
	}
	w.ids = w.ids[:len(w.rows)]
	w.stats.NewestEvent = max(w.stats.NewestEvent, newest)
}

// sift counts rows of the job, nil meaning all, takes out those that take no part, and reports whether any is left.
func (w *scanWorker) sift(j *job, rows []int32, least, greatest, cutoff int64) bool {
	left := false
	newest := w.stats.NewestEvent
	for i, t := range w.event.Int64s {
		switch {
		case w.ids[i] == nullKey:
			w.rejected[nullKeys].add(j.sample(rowAt(rows, i), "", nil))
			continue
		case w.ids[i] == badKey:
			w.rejectKey(j, rowAt(rows, i))
			continue
		case w.event.IsNull(i):
			if w.ids[i] != badTime {
				w.rejected[nullEvents].add(j.sample(rowAt(rows, i), "", nil))
			}
			w.ids[i] = unknown
			continue
		case t > cutoff:
			w.stats.Future++
			w.leastFuture = min(w.leastFuture, t)
			w.ids[i] = unknown
			continue
		}
		newest = max(newest, t)
		if t < least || t > greatest {
			w.ids[i] = unknown
		}
		left = left || w.ids[i] >= 0
	}
	w.stats.NewestEvent = newest
	return left
}

// readCreated returns the created times of rows, nil meaning all, for a strict board, else nil.
func (s *scan) readCreated(ctx context.Context, w *scanWorker, j *job, rows []int32) (created []int64, err error) {
	column := s.kernel.createdColumn()
	// Of the others, too, a row without a created time that can be represented takes no part.
	doubtful := s.kernel.opts.Tolerate && s.kernel.hasCreated() && !j.file.reader.Sound(j.group, column)
	if !s.board.strict && !doubtful {
		return nil, nil
	}
	w.created.Reset()
	if err := s.readTimes(ctx, w, j, column, rows, w.created); err != nil || !s.board.strict {
		return nil, err
	}
	return createdTimes(w.created), nil
}

// stats adds up what the workers counted and tells of rejected rows.
func (s *scan) stats() Stats {
	total := Stats{
		Files: int64(len(s.kernel.in.Files)), RowsSkipped: s.skipped.Load(), Future: s.future.Load(),
		Ties: s.ties, NewestEvent: math.MinInt64,
	}
	rejected := s.refused.tallies
	for i := range s.workers {
		w := &s.workers[i]
		total.RowGroups += w.stats.RowGroups
		total.RowsRead += w.stats.RowsRead
		total.Future += w.stats.Future
		total.NewestEvent = max(total.NewestEvent, w.stats.NewestEvent)
		for r := range rejected {
			rejected[r].join(&w.rejected[r])
		}
	}
	total.NullKeys = rejected[nullKeys].rows
	total.Rejected = s.kernel.rejected(&rejected)
	return total
}

// resized returns a slice of length n, in s's memory where it suffices.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
