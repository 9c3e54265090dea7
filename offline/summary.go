package offline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// Warning says that most rows of a read find no living row, and why that looks so.
type Warning struct {
	Code string // one of the Warn constants
	Read string // ReadReport.Name
	Text string // what was seen
	Fix  string // what to do about it, "" where there may be nothing to do
}

// The causes of a Warning. Never renamed.
const (
	WarnNullKeys     = "null-keys"          // most rows of the spine have no key
	WarnTimeUnit     = "time-unit"          // times would lie among the events if they were read in another unit
	WarnKeyFormat    = "key-format"         // keys would be found if they were written otherwise
	WarnUnknownKeys  = "unknown-keys"       // no key is in the source
	WarnTimeZone     = "time-zone"          // most rows would find one some hours earlier or later
	WarnBeforeFirst  = "before-first-event" // the events begin later
	WarnAfterNewest  = "after-newest-event" // the events end more than a ttl earlier
	WarnShortTTL     = "short-ttl"          // rows of an entity are further apart than the ttl
	WarnMostlyAbsent = "mostly-missing"     // none of these: sparse data looks so
)

// A read of which more than half the rows have no value is looked into: some rows are sampled and asked for again, at
// other times and with keys written otherwise.
const (
	sampleRows = 120
	probeTime  = 10 * time.Second // for all reads together; afterwards the cause stays open
	probeBytes = 1 << 30          // of the source's files; of a larger source only some files are asked
)

// Shares of the sample that decide.
const (
	few, most = 0.3, 0.8
	resolved  = 0.6 // of the rows that are not found as they are
)

// readReport tells how a read answered the spine.
func (e *export) readReport(r int) ReadReport {
	result := e.answer.results[r]
	report := ReadReport{Name: readName(e.req.Service, r), Newest: math.MaxInt64, Stats: result.Stats}
	for i, status := range result.Status {
		switch status {
		case columnar.Present:
			report.Present++
			age := e.spine.times[i] - result.Event[i]
			report.Newest, report.Oldest = min(report.Newest, age), max(report.Oldest, age)
		case columnar.Expired:
			report.Expired++
		default:
			report.NotFound++
		}
	}
	if report.Present == 0 {
		report.Newest = 0
	}
	return report
}

// warnings looks into every read of which most rows have no value. What it can't find out, because a file can't be
// read any more or time is up, it leaves out: the export itself goes on.
func (e *export) warnings(ctx context.Context) []Warning {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var found []Warning
	for r, read := range e.reads {
		missing, all := read.Expired+read.NotFound, read.Present+read.Expired+read.NotFound
		if 2*missing <= all {
			continue
		}
		w := e.cause(ctx, r, int(missing), int(all))
		w.Read = read.Name
		found = append(found, w)
	}
	return found
}

// cause looks into one read.
func (e *export) cause(ctx context.Context, r, missing, all int) Warning {
	p := e.newProbe(r)
	share := percent(missing, all)
	if 2*p.nulls > all {
		return Warning{
			Code: WarnNullKeys,
			Text: fmt.Sprintf("%s of the spine's rows have no %s", percent(p.nulls, all), p.keyNames()),
			Fix:  "fill the column, or leave those rows out",
		}
	}
	share += " of the rows are EXPIRED or NOT_FOUND"
	w, err := p.judge(ctx)
	if err != nil {
		return Warning{Code: WarnMostlyAbsent, Text: share}
	}
	w.Text = share + ": " + w.Text
	if asked := len(p.asked); asked < len(p.files) {
		w.Text += fmt.Sprintf(" (in %d of the source's %d files)", asked, len(p.files))
	}
	return w
}

// judge says what it looks like. The order matters: keys that are not known have no times, and times in another unit
// look like a source that ended long ago. How far events are apart takes another pass over the source, and is asked
// for where most rows find only events that are too old.
func (p *probe) judge(ctx context.Context) (Warning, error) {
	v, err := p.run(ctx)
	if err != nil {
		return Warning{}, err
	}
	for _, rule := range []func() (Warning, bool){v.timeUnit, v.keyFormat, v.noHistory, v.outside} {
		if w, ok := rule(); ok {
			return w, nil
		}
	}
	if m := v.missing(); 2*m.old >= m.all {
		if v.gaps, err = p.gaps(ctx, v); err != nil {
			return Warning{}, err
		}
	}
	for _, rule := range []func() (Warning, bool){v.rhythm, v.timeZone, v.shortTTL} {
		if w, ok := rule(); ok {
			return w, nil
		}
	}
	return v.sparse(), nil
}

// percent writes a share of which neither none nor all is claimed where that is not so.
func percent(part, all int) string {
	switch x := 100 * float64(part) / float64(all); {
	case part == 0 || part == all || x >= 1 && x <= 99:
		return fmt.Sprintf("%.0f%%", x)
	case x < 1:
		return "under 1%"
	default:
		return "over 99%"
	}
}

// evidence is what a probe found out about a sample of rows with keys. Slices are per sampled row.
type evidence struct {
	read  registry.Read
	keys  string // names of the key columns in the spine
	unit  string // that the spine's time was read in, "" where it is no integer
	times []int64
	// least and greatest bound the source's events; least is greater where they are not known.
	least, greatest int64
	known           []bool  // the entity has a row at some time
	events          []int64 // the newest event at or before the row's time, however old; none
	gaps            []int64 // between that event and the entity's one before, of the rows that have both
	shifts          []shift // ascending, 0 among them
	respelled       []respelled
	spineKeys       []string // a few, as examples
	sourceKeys      []string
}

// none is the time of what does not exist.
const none = math.MinInt64

// shift is an answer at times moved by some microseconds.
type shift struct {
	by    int64
	alive []bool
}

// respelled is an answer for keys written otherwise.
type respelled struct {
	what  string // "in upper case"
	fix   string
	known []bool
	from  string // an example, "" for none
	to    string
}

const (
	usHour = int64(time.Hour / time.Microsecond)
	usYear = 365 * 24 * usHour
)

// timeUnits are those of integer times, each with its size in nanoseconds.
var timeUnits = []struct {
	name string
	size float64
}{{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}}

func (v *evidence) timeUnit() (Warning, bool) {
	middle := median(v.times)
	if v.least > v.greatest || v.near(float64(middle)) {
		return Warning{}, false
	}
	for _, factor := range []float64{1e3, 1e6, 1e9, 1e-3, 1e-6, 1e-9} {
		if !v.near(float64(middle) * factor) {
			continue
		}
		w := Warning{
			Code: WarnTimeUnit,
			Text: fmt.Sprintf("the spine's times lie about %s, the source's events from %s to %s; looks like the unit of time",
				date(middle), date(v.least), date(v.greatest)),
			Fix: fmt.Sprintf("the numbers behind the spine's times were read in a unit %g times too small; write the column again", factor),
		}
		if factor < 1 {
			w.Fix = fmt.Sprintf("the numbers behind the spine's times were read in a unit %g times too large; write the column again", 1/factor)
		}
		for _, from := range timeUnits {
			for _, to := range timeUnits {
				if from.name == v.unit && to.size == from.size*factor {
					w.Fix = "say --time-unit " + to.name
				}
			}
		}
		return w, true
	}
	return Warning{}, false
}

// near reports whether a time lies within a year of the source's events.
func (v *evidence) near(t float64) bool {
	return t >= float64(v.least)-float64(usYear) && t <= float64(v.greatest)+float64(usYear)
}

func (v *evidence) keyFormat() (Warning, bool) {
	unknown := len(v.known) - count(v.known)
	if float64(unknown) < few*float64(len(v.known)) {
		return Warning{}, false
	}
	best, helped := -1, 0
	for i, r := range v.respelled {
		n := 0
		for j, known := range r.known {
			if known && !v.known[j] {
				n++
			}
		}
		if n > helped {
			best, helped = i, n
		}
	}
	if best < 0 || float64(helped) < resolved*float64(unknown) {
		return Warning{}, false
	}
	r := v.respelled[best]
	w := Warning{Code: WarnKeyFormat, Fix: r.fix}
	w.Text = fmt.Sprintf("%s of the keys sampled are not in the source, but most of those are %s", percent(unknown, len(v.known)), r.what)
	if r.from != "" {
		w.Text += fmt.Sprintf(": the spine has %s, the source %s", r.from, r.to)
	}
	return w, true
}

func (v *evidence) noHistory() (Warning, bool) {
	known := count(v.known)
	switch {
	case known == 0:
		w := Warning{
			Code: WarnUnknownKeys,
			Text: fmt.Sprintf("none of the %d keys sampled is in the source", len(v.known)),
			Fix:  fmt.Sprintf("check that %s means what the view's keys mean, and that `join` binds the right columns", v.keys),
		}
		if len(v.spineKeys) > 0 && len(v.sourceKeys) > 0 {
			w.Text += fmt.Sprintf(": the spine has %s, the source %s", list(v.spineKeys), list(v.sourceKeys))
		}
		return w, true
	case 2*known < len(v.known):
		return v.sparse(), true
	default:
		return Warning{}, false
	}
}

// missing are the rows of a sample that have no living row, by why.
type missing struct {
	all     int
	unknown int // their key has no row at any time
	early   int // before the source's first event
	late    int // after its newest event by more than the ttl
	before  int // none of these, and before the first event of their key
	old     int // the newest event of their key is older than the ttl
}

func (v *evidence) missing() missing {
	var m missing
	for i, known := range v.known {
		if known && v.alive(i) {
			continue
		}
		m.all++
		switch {
		case !known:
			m.unknown++
		case v.early(i):
			m.early++
		case v.late(i):
			m.late++
		case v.events[i] == none:
			m.before++
		default:
			m.old++
		}
	}
	return m
}

// sparse tells what is missing where nothing looks wrong.
func (v *evidence) sparse() Warning {
	m := v.missing()
	var parts []string
	for _, part := range []struct {
		n    int
		text string
	}{
		{m.unknown, "have a key that is nowhere in the source"},
		{m.early + m.before, "lie before the first event of their key"},
		{m.late + m.old, "are later than the newest event of their key by more than the ttl"},
	} {
		if part.n > 0 {
			parts = append(parts, percent(part.n, m.all)+" "+part.text)
		}
	}
	return Warning{Code: WarnMostlyAbsent, Text: "no single cause; of those sampled, " + list(parts)}
}

// outside tells of times before the first event or after the newest, where most rows without an answer lie there. That
// some hours later, or earlier, there are events says little then: a time zone is the other thing it can be.
func (v *evidence) outside() (Warning, bool) {
	m := v.missing()
	var w Warning
	switch known := m.all - m.unknown; {
	case known == 0:
		return w, false
	case 2*m.early > known:
		w = Warning{
			Code: WarnBeforeFirst, Text: "most of those lie before the first event, " + instantText(v.least),
			Fix: "add older files to the source, or leave those rows out",
		}
		if newest := slices.Max(v.times); newest < v.least {
			w.Text = fmt.Sprintf("the spine's times end %s before the first event, %s", span(v.least-newest), instantText(v.least))
		}
	case 2*m.late > known:
		w = Warning{
			Code: WarnAfterNewest,
			Text: fmt.Sprintf("most of those lie after the newest event, %s, by %s on the median, and the ttl is %s",
				instantText(v.greatest), span(v.lateness()), span(v.read.View.TTLMicros)),
			Fix: "add the source's newer files",
		}
	case float64(m.early+m.before) >= most*float64(known):
		if zone, ok := v.timeZone(); ok {
			return zone, true
		}
		return Warning{
			Code: WarnBeforeFirst, Text: "most of those lie before the first event of their entity",
			Fix: "add older files to the source, or leave those rows out",
		}, true
	default:
		return w, false
	}
	if zone, ok := v.zone(v.known); ok {
		w.Fix += "; or else, " + zone.Fix
	}
	return w, true
}

// lateness is how far the rows after the source's newest event are after it, by the median.
func (v *evidence) lateness() int64 {
	var late []int64
	for i, t := range v.times {
		if v.late(i) {
			late = append(late, t-v.greatest)
		}
	}
	return median(late)
}

// alive reports whether a row has an answer as it is.
func (v *evidence) alive(i int) bool { return v.shiftBy(0).alive[i] }

// early and late report whether a row lies before the source's events, or after them by more than the ttl.
func (v *evidence) early(i int) bool { return v.least <= v.greatest && v.times[i] < v.least }

func (v *evidence) late(i int) bool {
	ttl := v.read.View.TTLMicros
	return v.least <= v.greatest && ttl > 0 && v.times[i]-ttl > v.greatest
}

// rhythm tells of events that come regularly, further apart than the ttl: no time of day helps against that.
func (v *evidence) rhythm() (Warning, bool) {
	if len(v.gaps) < 10 || quantile(v.gaps, 0.75) > quantile(v.gaps, 0.25)*5/4 {
		return Warning{}, false
	}
	return v.shortTTL()
}

// timeZone tells of a shift by half and whole hours that lets most rows among the source's events find a living one.
func (v *evidence) timeZone() (Warning, bool) {
	among := make([]bool, len(v.known))
	for i, known := range v.known {
		among[i] = known && !v.early(i) && !v.late(i)
	}
	if 2*count(among) < count(v.known) {
		return Warning{}, false
	}
	return v.zone(among)
}

// zone looks for a shift that helps most of some rows; over a change of summer time, for two that are an hour apart.
func (v *evidence) zone(rows []bool) (Warning, bool) {
	all := count(rows)
	living := func(shifts ...*shift) int {
		n := 0
		for i, counts := range rows {
			if counts && slices.ContainsFunc(shifts, func(s *shift) bool { return s.alive[i] }) {
				n++
			}
		}
		return n
	}
	if all == 0 || 2*living(v.shiftBy(0)) > all {
		return Warning{}, false
	}
	helps := make([]bool, len(v.shifts))
	summer := make([]bool, len(v.shifts))
	for i := range v.shifts {
		s := &v.shifts[i]
		if s.by == 0 {
			continue
		}
		helps[i] = float64(living(s)) >= most*float64(all)
		if further := v.shiftBy(s.by + usHour*sign(s.by)); further != nil {
			summer[i] = float64(living(s, further)) >= most*float64(all)
		}
	}
	if from, to, ok := v.nearest(helps); ok {
		return zoneWarning(from, to), true
	}
	from, to, ok := v.nearest(summer)
	if !ok {
		return Warning{}, false
	}
	if to < 0 {
		return zoneWarning(from-usHour, to), true
	}
	return zoneWarning(from, to+usHour), true
}

// nearest returns the range of shifts that help and follow one another, of those the nearest to 0.
func (v *evidence) nearest(helps []bool) (from, to int64, ok bool) {
	best := -1
	for i, h := range helps {
		if h && (best < 0 || abs(v.shifts[i].by) < abs(v.shifts[best].by)) {
			best = i
		}
	}
	if best < 0 {
		return 0, 0, false
	}
	lo, hi := best, best
	for lo > 0 && helps[lo-1] {
		lo--
	}
	for hi+1 < len(helps) && helps[hi+1] {
		hi++
	}
	return v.shifts[lo].by, v.shifts[hi].by, true
}

// shiftBy returns the answer at times moved by so much, nil for none.
func (v *evidence) shiftBy(by int64) *shift {
	for i := range v.shifts {
		if v.shifts[i].by == by {
			return &v.shifts[i]
		}
	}
	return nil
}

func zoneWarning(from, to int64) Warning {
	direction, ahead := "later", "behind"
	near, far := from, to
	if to < 0 {
		direction, ahead = "earlier", "ahead of"
		near, far = -to, -from
	}
	hours := span(near)
	if far != near {
		hours += " to " + span(far)
	}
	return Warning{
		Code: WarnTimeZone,
		Text: fmt.Sprintf("most would find one at times %s %s; looks like the time zone", hours, direction),
		Fix: fmt.Sprintf("if the spine's times are local ones, of a zone %s UTC, say it with --timezone; if the source's are, with its `timezone`",
			ahead),
	}
}

// shortTTL tells of events further apart than the ttl.
func (v *evidence) shortTTL() (Warning, bool) {
	ttl := v.read.View.TTLMicros
	if ttl == 0 || len(v.gaps) == 0 || median(v.gaps) <= ttl {
		return Warning{}, false
	}
	var ages []int64
	for i, event := range v.events {
		if event != none {
			ages = append(ages, v.times[i]-event)
		}
	}
	return Warning{
		Code: WarnShortTTL,
		Text: fmt.Sprintf("rows of an entity are %s apart and the newest is %s old, both by the median, and the ttl is %s",
			span(median(v.gaps)), span(median(ages)), span(ttl)),
		Fix: "give the view a longer ttl, unless only so fresh rows are meant to count",
	}, true
}
