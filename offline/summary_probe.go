package offline

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// probe asks a read's source for a sample of the spine's rows again.
type probe struct {
	export *export
	read   registry.Read
	result *asof.Result
	files  []source.File
	asked  []source.File      // all of a small source, else some from all over it
	nulls  int                // rows of the spine without a key
	times  []int64            // of the sample
	keys   []*columnar.Vector // of the sample, in the view's order
}

func (e *export) newProbe(r int) *probe {
	read := e.req.Service.Reads[r]
	p := &probe{export: e, read: read, result: e.answer.results[r], files: e.answer.inputs[r]}
	var bytes int64
	for _, f := range p.files {
		bytes += f.Size
	}
	for i, step := 0, int(bytes/probeBytes)+1; i < len(p.files); i += step {
		p.asked = append(p.asked, p.files[i])
	}
	for _, key := range read.Binding {
		p.keys = append(p.keys, columnar.NewVector(e.spine.keys[key].Type, sampleRows))
	}
	null := func(row int) bool {
		return slices.ContainsFunc(read.Binding, func(key int) bool { return e.spine.keys[key].IsNull(row) })
	}
	rows := len(e.spine.times)
	for i := range rows {
		if null(i) {
			p.nulls++
		}
	}
	// Of every stretch of rows the first that has a key.
	step := (rows + sampleRows - 1) / sampleRows
	for from := 0; from < rows; from += step {
		for i := from; i < min(from+step, rows); i++ {
			if null(i) {
				continue
			}
			p.times = append(p.times, e.spine.times[i])
			for c, key := range read.Binding {
				p.keys[c].AppendFrom(e.spine.keys[key], i)
			}
			break
		}
	}
	return p
}

// keyNames names the key columns in the spine.
func (p *probe) keyNames() string {
	names := make([]string, len(p.read.Binding))
	for i, key := range p.read.Binding {
		names[i] = p.export.req.Service.RequestKeys[key].Name
	}
	return strings.Join(names, ", ")
}

// furthestShift is the greatest distance of a time zone from UTC; zones are half hours apart, but for a few.
const furthestShift, shiftStep = 14 * usHour, usHour / 2

// run asks the source. It reads keys and event times only.
func (p *probe) run(ctx context.Context) (*evidence, error) {
	v := &evidence{
		read: p.read, keys: p.keyNames(), unit: p.export.req.Unit,
		times: p.times, least: p.result.Least, greatest: p.result.Greatest,
	}
	var err error
	if v.sourceKeys, err = p.sourceKeys(ctx); err != nil {
		return nil, err
	}
	asked := newQuestions(p.read.View)
	known := asked.add(p.keys, p.atEnd())
	var moved []int
	for by := -furthestShift; by <= furthestShift; by += shiftStep {
		v.shifts = append(v.shifts, shift{by: by})
		times := slices.Clone(p.times)
		for i, t := range times {
			times[i] = min(max(t+by, row.MinTime), row.MaxTime)
		}
		moved = append(moved, asked.add(p.keys, times))
	}
	spellings := p.spellings(v.sourceKeys)
	var spelled []int
	for _, s := range spellings {
		spelled = append(spelled, asked.add(s.keys, p.atEnd()))
	}
	events, err := p.ask(ctx, asked)
	if err != nil {
		return nil, err
	}
	v.known = found(p.part(events, known))
	for i := range v.shifts {
		s := &v.shifts[i]
		for j, event := range p.part(events, moved[i]) {
			s.alive = append(s.alive, event != none &&
				columnar.Judge(event, v.times[j]+s.by, p.read.View.TTLMicros) == columnar.Present)
		}
		if s.by == 0 {
			v.events = p.part(events, moved[i])
		}
	}
	for i, s := range spellings {
		s.known = found(p.part(events, spelled[i]))
		for j := range p.times {
			if s.known[j] && !v.known[j] {
				s.from, s.to = keyText(p.keys, j), keyText(s.keys, j)
				break
			}
		}
		v.respelled = append(v.respelled, s.respelled)
	}
	v.spineKeys = someKeys(p.keys)
	return v, nil
}

// gaps finds out how long before a row's event its entity had another.
func (p *probe) gaps(ctx context.Context, v *evidence) ([]int64, error) {
	times := slices.Clone(v.events)
	for i, event := range times {
		times[i] = max(event, row.MinTime+1) - 1
	}
	asked := newQuestions(p.read.View)
	asked.add(p.keys, times)
	before, err := p.ask(ctx, asked)
	if err != nil {
		return nil, err
	}
	var gaps []int64
	for i, event := range before {
		if v.events[i] != none && event != none {
			gaps = append(gaps, v.events[i]-event)
		}
	}
	return gaps, nil
}

// atEnd are times after all others.
func (p *probe) atEnd() []int64 { return slices.Repeat([]int64{row.MaxTime}, len(p.times)) }

// questions are rows to ask a source for, sample after sample.
type questions struct {
	spine asof.Spine
}

func newQuestions(view *registry.View) *questions {
	q := &questions{}
	for _, key := range view.KeyColumns {
		q.spine.Keys = append(q.spine.Keys, columnar.NewVector(columnar.Type{Kind: key.Kind}, 0))
	}
	return q
}

// add appends questions and returns where they begin.
func (q *questions) add(keys []*columnar.Vector, times []int64) int {
	from := len(q.spine.Times)
	q.spine.Times = append(q.spine.Times, times...)
	for c, key := range keys {
		for i := range times {
			q.spine.Keys[c].AppendFrom(key, i)
		}
	}
	return from
}

// ask returns per question the newest event at or before its time, however old; none where there is none.
func (p *probe) ask(ctx context.Context, q *questions) ([]int64, error) {
	ageless := *p.read.View
	ageless.TTLMicros = 0
	in := asof.Input{View: &ageless, Source: p.export.req.Source, Files: p.asked, Cutoff: asof.NoCutoff}
	result, err := asof.Match(ctx, q.spine, in, asof.Options{Workers: p.export.req.Workers, Limits: p.export.req.Limits})
	if err != nil {
		return nil, err
	}
	return result.Event, nil
}

func (p *probe) part(events []int64, from int) []int64 { return events[from : from+len(p.times)] }

func found(events []int64) []bool {
	known := make([]bool, len(events))
	for i, event := range events {
		known[i] = event != none
	}
	return known
}

// keyText writes a row's key for a message, texts quoted, so that blanks and digits show.
func keyText(keys []*columnar.Vector, row int) string {
	parts := make([]string, len(keys))
	for i, key := range keys {
		if key.Type.Kind == columnar.Int64 {
			parts[i] = strconv.FormatInt(key.Int64s[row], 10)
			continue
		}
		text := string(key.BytesAt(row))
		parts[i] = strconv.Quote(text[:min(len(text), 40)])
		if len(text) > 40 {
			parts[i] += "…"
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + list(parts) + ")"
}

// examples is how many keys a message shows.
const examples = 3

// someKeys writes a few keys that differ.
func someKeys(keys []*columnar.Vector) []string {
	if len(keys) == 0 {
		return nil
	}
	var texts []string
	for i := 0; i < keys[0].Len() && len(texts) < examples; i++ {
		if text := keyText(keys, i); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// sourceKeys returns a few keys of the source's first row group.
func (p *probe) sourceKeys(ctx context.Context) ([]string, error) {
	if len(p.keys) == 0 || len(p.files) == 0 {
		return nil, nil
	}
	handle, err := p.export.req.Source.Open(ctx, p.files[0])
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	file, err := parquet.Open(ctx, handle, handle.File, p.export.req.Limits)
	if err != nil || file.NumRows() == 0 {
		return nil, err
	}
	var columns []parquet.Column
	var keys []*columnar.Vector
	for _, key := range p.read.View.KeyColumns {
		t := columnar.Type{Kind: key.Kind}
		columns = append(columns, parquet.Column{Name: key.Column, Type: t})
		keys = append(keys, columnar.NewVector(t, 0))
	}
	reader, err := file.Bind(columns)
	if err != nil {
		return nil, err
	}
	for c, key := range keys {
		if err := reader.Read(ctx, 0, c, key); err != nil {
			return nil, err
		}
	}
	return someKeys(keys), nil
}

// spelling is one other way to write the keys.
type spelling struct {
	respelled
	keys []*columnar.Vector // like probe.keys
}

// spellings are the ways in which keys of text differ where two programs wrote them.
var spellings = []struct {
	what, fix string
	to        func(string) string
}{
	{"without blanks around them", "trim the spine's column", strings.TrimSpace},
	{"in upper case", "write the spine's column in upper case", strings.ToUpper},
	{"in lower case", "write the spine's column in lower case", strings.ToLower},
	{"without leading zeros", "strip the zeros of the spine's column", func(s string) string {
		if trimmed := strings.TrimLeft(s, "0"); trimmed != "" {
			return trimmed
		}
		return s
	}},
	{"without \".0\"", "the spine's column was once a float; write it as an integer before it becomes text", func(s string) string {
		return strings.TrimSuffix(s, ".0")
	}},
}

func (p *probe) spellings(sourceKeys []string) []spelling {
	var all []spelling
	add := func(what, fix string, keys []*columnar.Vector) {
		all = append(all, spelling{respelled: respelled{what: what, fix: fix}, keys: keys})
	}
	texts := false
	for _, key := range p.keys {
		texts = texts || key.Type.Kind == columnar.String
	}
	if texts {
		for _, s := range spellings {
			add(s.what, s.fix, p.rewrite(s.to))
		}
		if width := digits(sourceKeys); width > 0 && len(p.keys) == 1 {
			add("with leading zeros", "fill the spine's column with zeros up to "+strconv.Itoa(width)+" digits", p.rewrite(func(s string) string {
				return strings.Repeat("0", max(0, width-len(s))) + s
			}))
		}
	}
	if len(p.keys) == 2 && p.keys[0].Type == p.keys[1].Type {
		add("the other way round", "exchange the two columns in the service's `join`, or in the spine", []*columnar.Vector{p.keys[1], p.keys[0]})
	}
	return all
}

// rewrite returns the keys with every text rewritten.
func (p *probe) rewrite(to func(string) string) []*columnar.Vector {
	keys := slices.Clone(p.keys)
	for c, key := range keys {
		if key.Type.Kind != columnar.String {
			continue
		}
		keys[c] = columnar.NewVector(key.Type, key.Len())
		for i := range key.Len() {
			keys[c].AppendString(to(string(key.BytesAt(i))))
		}
	}
	return keys
}

// digits returns the common length of quoted texts of digits alone, 0 where they are something else.
func digits(quoted []string) int {
	width := 0
	for _, q := range quoted {
		s, err := strconv.Unquote(q)
		if err != nil || s == "" || strings.Trim(s, "0123456789") != "" || width != 0 && len(s) != width {
			return 0
		}
		width = len(s)
	}
	return width
}

func median(times []int64) int64 { return quantile(times, 0.5) }

// quantile returns one of the times, 0 for none.
func quantile(times []int64, q float64) int64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[int(math.Round(q*float64(len(sorted)-1)))]
}

func count(set []bool) int {
	n := 0
	for _, b := range set {
		if b {
			n++
		}
	}
	return n
}

func abs(x int64) int64 { return max(x, -x) }

func sign(x int64) int64 {
	if x < 0 {
		return -1
	}
	return 1
}

func list(names []string) string { return strings.Join(names, ", ") }

// span writes a duration in microseconds as definitions write a ttl, rounded to what matters: 6h, 2d4h, 1m30s.
func span(us int64) string {
	d := time.Duration(min(us, math.MaxInt64/1000)) * time.Microsecond
	switch {
	case d >= 48*time.Hour:
		d = d.Round(time.Hour)
	case d >= 2*time.Hour:
		d = d.Round(time.Minute)
	case d >= time.Minute:
		d = d.Round(time.Second)
	}
	return registry.FormatDuration(d)
}

func date(us int64) string { return time.UnixMicro(us).UTC().Format(time.DateOnly) }

func instantText(us int64) string { return string(columnar.AppendTimestamp(nil, us)) }
