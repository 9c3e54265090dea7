package asof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// Rejected is source rows that were left out for one reason.
type Rejected struct {
	// Reason is "null key", "null event time", or where Options.Tolerate allows it "key out of range", "time out of range" (of
	// the event or the creation), "value" (of the newest row of its entity).
	Reason  string
	Rows    int64
	Samples []string // the first five: "file.parquet, row group 0, row 17: what is wrong"
}

// reason is why a row is left out.
type reason uint8

const (
	nullKeys reason = iota
	badKeys
	nullEvents
	badTimes
	badValues
	reasons
)

var reasonNames = [reasons]string{"null key", "key out of range", "null event time", "time out of range", "value"}

const maxSamples = 5

// tally counts the rows that are left out for one reason.
type tally struct {
	rows    int64
	samples []sample // those with the least positions, ascending
}

// sample is where a row lies and, if err is not nil, what is wrong in a column.
type sample struct {
	pos    int64
	group  int
	row    int // in the group
	column string
	err    error
}

// add counts a row.
func (t *tally) add(s sample) {
	t.rows++
	t.keep(s)
}

func (t *tally) keep(s sample) {
	if len(t.samples) == maxSamples {
		if s.pos >= t.samples[maxSamples-1].pos {
			return
		}
		t.samples = t.samples[:maxSamples-1]
	}
	at, _ := slices.BinarySearchFunc(t.samples, s, func(a, b sample) int { return cmp.Compare(a.pos, b.pos) })
	t.samples = slices.Insert(t.samples, at, s)
}

// join adds what another tally of the same reason has.
func (t *tally) join(other *tally) {
	t.rows += other.rows
	for _, s := range other.samples {
		t.keep(s)
	}
}

// rejected lists the reasons that rows were left out for.
func (k *kernel) rejected(tallies *[reasons]tally) []Rejected {
	var list []Rejected
	for r := range tallies {
		t := &tallies[r]
		if t.rows == 0 {
			continue
		}
		rejected := Rejected{Reason: reasonNames[r], Rows: t.rows}
		for _, s := range t.samples {
			rejected.Samples = append(rejected.Samples, k.sampleText(reasonNames[r], &s))
		}
		list = append(list, rejected)
		if k.opts.Rejected != nil {
			k.opts.Rejected(rejected.Reason, rejected.Rows)
		}
	}
	return list
}

func (k *kernel) sampleText(reason string, s *sample) string {
	what := reason
	if s.err != nil {
		what = fmt.Sprintf("column %q: %v", s.column, s.err)
	}
	return fmt.Sprintf("%s, row group %d, row %d: %s", k.in.Files[fileOf(s.pos)].Path, s.group, s.row, what)
}

// sample returns a row of the job's row group as a sample.
func (j *job) sample(row int, column string, err error) sample {
	return sample{pos: position(j.file.index, j.file.first[j.group]+int64(row)), group: j.group, row: row, column: column, err: err}
}

// tolerates reports whether an error is about single values, whose rows the caller wants left out.
func (k *kernel) tolerates(err error) bool {
	var value *parquet.ValueError
	return k.opts.Tolerate && errors.As(err, &value)
}

// readTimes appends the times of rows of a job's row group, nil meaning all. Where that is tolerated, rows whose time can't
// be represented have none, and take no part.
func (s *scan) readTimes(ctx context.Context, w *scanWorker, j *job, column int, rows []int32, dst *columnar.Vector) (err error) {
	r := j.file.reader
	if rows == nil {
		err = r.Read(ctx, j.group, column, dst)
	} else {
		err = r.Gather(ctx, j.group, column, rows, dst)
	}
	if !s.kernel.tolerates(err) {
		return err
	}
	dst.Reset()
	flaws, err := r.GatherLenient(ctx, j.group, column, rows, dst, math.MaxInt64)
	for _, f := range flaws {
		i := int(f.Row)
		if rows != nil {
			i, _ = slices.BinarySearch(rows, f.Row)
		}
		if w.ids[i] >= 0 {
			w.ids[i] = badTime
			w.rejected[badTimes].add(j.sample(int(f.Row), s.kernel.columns[column].Name, f.Err))
		}
	}
	return err
}

// readKeyLenient is readKey where keys that can't be represented are badKey.
func (s *scan) readKeyLenient(ctx context.Context, w *scanWorker, j *job, column int, t table, ids []int32) error {
	var rows []int32
	if !j.whole() {
		for row := j.from; row < j.to; row++ {
			rows = append(rows, int32(row))
		}
	}
	keys := columnar.NewVector(s.kernel.columns[column].Type, j.to-j.from)
	flaws, err := j.file.reader.GatherLenient(ctx, j.group, column, rows, keys, math.MaxInt64)
	if err != nil {
		return err
	}
	exclude(ids)
	out := ids[j.from:j.to]
	clear(out)
	markNulls(keys, out)
	if s.add {
		t.number(keys, out)
	} else {
		t.find(keys, out)
	}
	for _, f := range flaws {
		ids[f.Row] = badKey
	}
	w.keyFlaws[column] = flaws
	return nil
}

// rejectKey counts a row whose key can't be represented.
func (w *scanWorker) rejectKey(j *job, row int) {
	for c, flaws := range w.keyFlaws {
		at, found := slices.BinarySearchFunc(flaws, row, func(f parquet.Flaw, row int) int { return int(f.Row) - row })
		if found {
			w.rejected[badKeys].add(j.sample(row, j.file.reader.Name(c), flaws[at].Err))
			return
		}
	}
}

// rowAt is the row of index i among rows; nil: all.
func rowAt(rows []int32, i int) int {
	if rows == nil {
		return i
	}
	return int(rows[i])
}

// maxRefused is how many newest rows may be refused for their values, since each costs another look at the files.
const maxRefused = 1000

// refusals is the newest rows that were left out because a value of them can't be represented. The zero value is empty.
type refusals struct {
	mu      sync.Mutex
	rows    map[int64]struct{} // positions
	tallies [reasons]tally
}

// refuse leaves out a row of a part.
func (k *kernel) refuse(r *refusals, p *part, f *partFlaw) error {
	s := p.job.sample(int(p.rows[f.index]), f.column, f.err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil {
		r.rows = make(map[int64]struct{})
	}
	if len(r.rows) == maxRefused {
		return &problem.Error{
			Code: problem.Precondition,
			Message: fmt.Sprintf("view %s: more than %d newest rows have values that can't be represented, such as %s",
				k.in.View.Name, maxRefused, k.sampleText("", &s)),
			Suggestion: "declare the feature as the type that the files have, or rewrite them",
		}
	}
	r.rows[s.pos] = struct{}{}
	r.tallies[f.reason].add(s)
	return nil
}

// refuses reports whether the row at a position is left out.
func (r *refusals) refuses(pos int64) bool {
	_, ok := r.rows[pos]
	return ok
}
