package asof

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/parquet"
)

// Place is where a row lies.
type Place struct {
	File  int   // index into Input.Files
	Group int   // row group
	Row   int64 // in the file, from 0
}

// Candidate is a row of the entity. Rows equal in both times and all features are one candidate, which stands where the
// first of them does (by file and row).
type Candidate struct {
	Place
	Event, Created int64              // microseconds; row.NoCreated for none
	Features       []*columnar.Vector // all of the view's, one value each
	Copies         int64              // further rows that equal it in everything
	CopiesAt       []Place            // the first of those
}

// NearMiss is a key that is not the one asked for but may have been meant.
type NearMiss struct {
	Keys []*columnar.Vector // in the view's KeyColumns order, one value each
	Rows int64
}

// Explanation is what the rows of one entity say around an instant.
type Explanation struct {
	// Before has the candidates up to the instant, the greatest first (R4): Before[0] answers, if it is not past 2 × ttl.
	Before []Candidate
	// After has those dated later, the earliest first, and of one event time the greatest first.
	After []Candidate
	// RowsBefore and RowsAfter count the entity's rows, listed above or not; NullEvents those that have no event time, which
	// take no part.
	RowsBefore, RowsAfter, NullEvents int64
	// First and Last bound the event times of the view's rows; First > Last where it has none.
	First, Last int64
	Stats       Stats
	// Matching counts per key column the rows that have the value asked for; NearMisses are a few keys in another form.
	// Both only where the entity has no row.
	Matching   []int64
	NearMisses []NearMiss
}

const (
	maxCopiesAt   = 3
	maxNearMisses = 5
)

// Explain looks at every row of the files, whatever its event time, for the entity of keys: one value per key column, a null
// is an error. It lists up to 1 + n candidates up to an instant and n after it; memory is bounded by n. The result depends on
// the rows alone, as Match's does.
func Explain(ctx context.Context, keys []*columnar.Vector, at int64, n int, in Input, opts Options) (*Explanation, error) {
	opts.Tolerate = false
	k, err := newKernel(in, opts)
	if err != nil {
		return nil, err
	}
	if err := checkSpine(Spine{Times: []int64{at}, Keys: keys}, in.View); err != nil {
		return nil, err
	}
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	e := &explainer{
		kernel: k, keys: keys, at: at, workers: make([]explainWorker, k.workers), first: math.MaxInt64, last: math.MinInt64,
		before: shortlist{kernel: k, keep: 1 + n},
		after:  shortlist{kernel: k, keep: n, later: true},
	}
	for i := range e.workers {
		e.workers[i] = newExplainWorker(len(keys))
	}
	files := make([]int, len(in.Files))
	for i := range files {
		files[i] = i
	}
	entity := newEntities(in.View.KeyColumns)
	entity.number(keys, 1)
	e.filter = newKeyFilter(entity)
	if err := e.pass(ctx, files); err != nil {
		return nil, err
	}
	if !e.found.Load() && e.skipped > 0 {
		// What else there is lies in the row groups that can't have the entity.
		e.rest, e.skipped = true, 0
		if err := e.pass(ctx, files); err != nil {
			return nil, err
		}
	}
	return e.result(ctx)
}

// pass reads the row groups that may have the entity, or the rest of them.
func (e *explainer) pass(ctx context.Context, files []int) error {
	p := e.kernel.newPass(files, e.kernel.keyPass(), e.plan)
	defer p.abandon()
	return p.run(ctx, func() bool { return false }, e.read)
}

// explainer is one call of Explain.
type explainer struct {
	kernel  *kernel
	keys    []*columnar.Vector
	at      int64
	workers []explainWorker
	filter  *keyFilter
	rest    bool        // the pass is over the row groups that filter rules out
	found   atomic.Bool // the entity has a row

	mu            sync.Mutex // guards what follows
	skipped       int64      // rows
	first, last   int64      // event times of those
	before, after shortlist
	near          []nearMiss // ordered by key
}

// explainWorker is one worker's memory and counts.
type explainWorker struct {
	fits, next, mapped []fit
	event, created     *columnar.Vector
	first, last        int64
	matching           []int64
	stats              Stats
	nullEvents         int64
	_                  [64]byte // workers count apart, each in its own cache lines
}

func newExplainWorker(keys int) explainWorker {
	instant := columnar.Type{Kind: columnar.Timestamp}
	return explainWorker{
		event: columnar.NewVector(instant, 0), created: columnar.NewVector(instant, 0),
		first: math.MaxInt64, last: math.MinInt64, matching: make([]int64, keys),
	}
}

// plan takes the row groups of the pass, whatever their event times: any may have a candidate.
func (e *explainer) plan(f *openFile) []int {
	groups := make([]int, 0, len(f.first))
	for g := range f.first {
		rows := int64(f.reader.Rows(g))
		if rows == 0 {
			continue
		}
		least, greatest, bounded := f.reader.Bounds(g, e.kernel.eventColumn())
		admitted := !bounded || e.filter.admits(f.reader, g)
		switch {
		case admitted != e.rest:
			groups = append(groups, g)
		case !admitted:
			e.mu.Lock()
			e.skipped += rows
			e.first, e.last = min(e.first, least), max(e.last, greatest)
			e.mu.Unlock()
		}
	}
	return groups
}

// read looks at one row group.
func (e *explainer) read(ctx context.Context, worker int, j job) error {
	k, w := e.kernel, &e.workers[worker]
	rows := j.file.reader.Rows(j.group)
	w.stats.RowGroups++
	w.stats.RowsRead += int64(rows)
	if err := e.match(ctx, w, j, rows); err != nil {
		return err
	}
	found, near := false, false
	for _, f := range w.fits {
		switch f {
		case equal:
			found = true
		case alike:
			near = true
		case null:
			w.stats.NullKeys++
		}
	}
	if near && !found && !e.found.Load() {
		if err := e.takeNear(ctx, w, j); err != nil {
			return err
		}
	}
	least, greatest, bounded := j.file.reader.Bounds(j.group, k.eventColumn())
	if bounded && !found {
		w.first, w.last = min(w.first, least), max(w.last, greatest)
		return nil
	}
	w.event.Reset()
	if err := j.file.reader.Read(ctx, j.group, k.eventColumn(), w.event); err != nil {
		return err
	}
	for i, t := range w.event.Int64s {
		if !w.event.IsNull(i) {
			w.first, w.last = min(w.first, t), max(w.last, t)
		}
	}
	if !found {
		return nil
	}
	w.created.Reset()
	if k.hasCreated() {
		if err := j.file.reader.Read(ctx, j.group, k.createdColumn(), w.created); err != nil {
			return err
		}
	}
	return e.take(ctx, w, j)
}

// take offers the entity's rows of a row group.
func (e *explainer) take(ctx context.Context, w *explainWorker, j job) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, f := range w.fits {
		if f != equal {
			continue
		}
		if w.event.IsNull(i) {
			w.nullEvents++
			continue
		}
		s := standing{event: w.event.Int64s[i], created: row.NoCreated}
		if s.event > e.kernel.in.Cutoff {
			continue
		}
		if e.kernel.hasCreated() && !w.created.IsNull(i) {
			s.created = w.created.Int64s[i]
		}
		s.spots[0] = spot{position(j.file.index, j.file.first[j.group]+int64(i)), j.group}
		list := &e.before
		if s.event > e.at {
			list = &e.after
		}
		if err := list.offer(ctx, &s); err != nil {
			return err
		}
		e.found.Store(true)
	}
	return nil
}

// takeNear counts the keys of a row group that are like the one asked for.
func (e *explainer) takeNear(ctx context.Context, w *explainWorker, j job) error {
	var rows []int32
	for i, f := range w.fits {
		if f == alike {
			rows = append(rows, int32(i))
		}
	}
	keys := make([]*columnar.Vector, len(e.keys))
	for c := range keys {
		keys[c] = columnar.NewVector(e.keys[c].Type, len(rows))
		if err := j.file.reader.Gather(ctx, j.group, c, rows, keys[c]); err != nil {
			return err
		}
	}
	var key []byte
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range rows {
		key, _ = row.AppendKey(key[:0], keys, i) // a null is like nothing
		at, known := slices.BinarySearchFunc(e.near, key, func(m nearMiss, key []byte) int { return bytes.Compare(m.key, key) })
		switch {
		case known:
			e.near[at].Rows++
		case at < maxNearMisses:
			// The least keys are kept: one that leaves the list never comes back, so that counts are whole.
			m := nearMiss{key: bytes.Clone(key), NearMiss: NearMiss{Keys: oneRow(keys, i), Rows: 1}}
			e.near = slices.Insert(e.near, at, m)
			e.near = e.near[:min(len(e.near), maxNearMisses)]
		}
	}
	return nil
}

type nearMiss struct {
	NearMiss
	key []byte
}

// oneRow copies row i of some vectors.
func oneRow(vectors []*columnar.Vector, i int) []*columnar.Vector {
	out := make([]*columnar.Vector, len(vectors))
	for c, v := range vectors {
		out[c] = columnar.NewVector(v.Type, 1)
		out[c].AppendFrom(v, i)
	}
	return out
}

func (e *explainer) result(ctx context.Context) (*Explanation, error) {
	x := &Explanation{
		RowsBefore: e.before.offered, RowsAfter: e.after.offered, First: e.first, Last: e.last,
		Stats: Stats{Files: int64(len(e.kernel.in.Files)), RowsSkipped: e.skipped},
	}
	var err error
	if x.Before, err = e.before.candidates(ctx); err != nil {
		return nil, err
	}
	if x.After, err = e.after.candidates(ctx); err != nil {
		return nil, err
	}
	matching := make([]int64, len(e.keys))
	for i := range e.workers {
		w := &e.workers[i]
		x.First, x.Last = min(x.First, w.first), max(x.Last, w.last)
		x.Stats.RowGroups += w.stats.RowGroups
		x.Stats.RowsRead += w.stats.RowsRead
		x.Stats.NullKeys += w.stats.NullKeys
		x.NullEvents += w.nullEvents
		for c, n := range w.matching {
			matching[c] += n
		}
	}
	x.Stats.NewestEvent = x.Last
	if !e.found.Load() {
		x.Matching = matching
		for _, m := range e.near {
			x.NearMisses = append(x.NearMisses, m.NearMiss)
		}
	}
	return x, nil
}

// fit is how a row's key compares with the one asked for. Of a composite key's columns the greatest counts.
type fit uint8

const (
	equal fit = iota
	alike     // but for case, surrounding blanks, leading zeros, a trailing ".0"
	different
	null
)

// match leaves the fit of every row in w.fits.
func (e *explainer) match(ctx context.Context, w *explainWorker, j job, rows int) error {
	w.fits = resized(w.fits, rows)
	clear(w.fits)
	for c, key := range e.keys {
		w.next = resized(w.next, rows)
		rest := w.next
		var dictionary *columnar.Vector // whose fits are in w.mapped
		err := j.file.reader.Pages(ctx, j.group, c, func(page parquet.Page) error {
			out := rest[:page.Rows]
			rest = rest[page.Rows:]
			if page.Index == nil {
				fits(key, page.Values, out)
				return nil
			}
			if dictionary != page.Values {
				dictionary = page.Values
				w.mapped = resized(w.mapped, dictionary.Len())
				fits(key, dictionary, w.mapped)
			}
			for i, x := range page.Index {
				if x < 0 {
					out[i] = null
				} else {
					out[i] = w.mapped[x]
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, f := range w.next {
			w.fits[i] = max(w.fits[i], f)
			if f == equal {
				w.matching[c]++
			}
		}
	}
	return nil
}

// fits compares every value with key's.
func fits(key, values *columnar.Vector, out []fit) {
	if key.Type.Kind == columnar.Int64 {
		want := key.Int64s[0]
		for i := range out {
			switch {
			case values.IsNull(i):
				out[i] = null
			case values.Int64s[i] == want:
				out[i] = equal
			default:
				out[i] = different
			}
		}
		return
	}
	want := key.BytesAt(0)
	core := coreOf(want)
	for i := range out {
		switch have := values.BytesAt(i); {
		case values.IsNull(i):
			out[i] = null
		case bytes.Equal(have, want):
			out[i] = equal
		case bytes.EqualFold(coreOf(have), core):
			out[i] = alike
		default:
			out[i] = different
		}
	}
}

// coreOf strips what differs between the forms that one key takes in files of several makers.
func coreOf(s []byte) []byte {
	s = bytes.TrimSuffix(bytes.TrimSpace(s), []byte(".0"))
	if t := bytes.TrimLeft(s, "0"); len(t) > 0 {
		return t
	}
	return s[max(0, len(s)-1):]
}

// checkKeys fails on a null, which is no entity's.
func checkKeys(keys []*columnar.Vector) error {
	for _, v := range keys {
		if v.NullCount() > 0 {
			return problem.New(problem.Invalid, "a null key is no entity's")
		}
	}
	return nil
}
