package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/control/gitops"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/metrics"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/registry"
)

// statusView is what the page shows: texts, which the template escapes.
type statusView struct {
	now time.Time

	Project, Environment, Version, Build string
	Now, Uptime, ReadTime                string
	Refresh                              int
	Still                                bool // does not refresh itself
	Profiles                             bool // can be linked
	Answers                              bool // there is a node: the rest is known

	Ready      bool
	Unready    string
	Troubles   []trouble
	Parts      []part
	Revision   string
	Applied    moment
	AppliedBy  string
	ViewsLate  string // why Views are not those of now
	ViewsKnown bool
	Views      []viewLine
	RunsLate   string
	RunsKnown  bool
	Running    []runLine
	Ended      []runLine
	Schedules  string
	Source     *sourceLine
	Traffic    *trafficTable
}

// trouble is something that is wrong, and where to read what to do.
type trouble struct {
	Class string // of its colour
	Text  string
	Link  string
}

// part is something that the server needs.
type part struct {
	Name, At, Class, State, Error string
	Since, Answered               moment
	Link                          string
}

// moment is an instant, and how far from now.
type moment struct{ At, Far string }

type viewLine struct {
	Name, Description, State, Class, Link string
	T, Newest                             moment
	Lag, Behind                           string
	Schedule                              string
	Next                                  moment
	Paused                                string
	Last                                  *runLine
	Failures                              int64
	Error                                 string
}

type runLine struct {
	ID                                  int64
	View, State, Class, Took, Rows, How string
	Began                               moment
	Error                               string
}

type sourceLine struct {
	From, State, Class, Message, Seen, Applied, Link string
	Details                                          []string
	Checked                                          moment
}

type trafficTable struct {
	Window, Rate, Median, Tail, Now string
	Errors, Shed, Cells             []tally
}

type tally struct{ Name, Count string }

// runbook is where alerts send people, too.
const runbook = "https://github.com/provender-dev/provender/blob/main/docs/how-to/operate.md#"

// Colours of states.
const (
	classGood = "good"
	classWarn = "warn"
	classBad  = "bad"
	classCalm = "calm"
)

// viewStates has the colours of the states of views, and what the page says of those that are not well, with the section of the
// runbook.
var viewStates = map[string]struct{ class, section, text string }{
	materialize.ViewOK:       {class: classGood},
	materialize.ViewRunning:  {class: classCalm},
	materialize.ViewQueued:   {class: classCalm},
	materialize.ViewOffline:  {class: classCalm},
	materialize.ViewNever:    {classWarn, "states", "View %s was never materialized: its lookups fail."},
	materialize.ViewStale:    {classWarn, "states", "View %s: the definition has changed since the last run, the old generation serves."},
	materialize.ViewDiverged: {classWarn, "provenderviewdiverged", "View %s: rows of files that changed or went may be online."},
	materialize.ViewFailed:   {classBad, "provenderviewfailed", "View %s: the last run failed, what the one before brought serves."},
	materialize.ViewLost:     {classBad, "provenderviewlost", "View %s: the online store has lost its values, lookups are UNAVAILABLE."},
	materialize.ViewUnknown:  {classBad, "provenderonlinestoredown", "View %s: lookups are UNAVAILABLE, the online store does not answer."},
}

// failing are the codes of lookups that alerts count.
var failing = []string{"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}

// overdue is how late the alerts let a scheduled run begin.
const overdue = 15 * time.Minute

// about tells what is known without asking anybody.
func (p *statusPage) about(causes bool) *statusView {
	now := time.Now()
	build := version.Get()
	v := &statusView{
		now: now, Project: p.project.Config.Project, Environment: p.project.Config.Environment, Version: build.Version, Build: build.String(),
		Now: at(now), Uptime: span(now.Sub(p.vitals.began)), Refresh: refreshEvery, Answers: p.vitals.node.Load() != nil,
	}
	if !p.readTime.IsZero() {
		v.ReadTime = at(p.readTime)
	}
	why := p.vitals.ready()
	v.Ready = why == nil
	if why != nil {
		v.Unready = why.text
		if causes && why.cause != nil {
			v.Unready = told(why.text + ": " + why.cause.Error())
		}
	}
	if !v.Answers && p.vitals.failure.Load() != nil {
		v.trouble(classBad, "provenderregistrydown", "The server can't start: it waits for its registry, and begins by itself once that answers.")
	}
	return v
}

func (v *statusView) trouble(class, section, format string, args ...any) {
	v.Troubles = append(v.Troubles, trouble{Class: class, Text: told(fmt.Sprintf(format, args...)), Link: link(section)})
}

// tellStores tells whether store and registry answer.
func (v *statusView) tellStores(ctx context.Context, n *node) {
	registryAt := ""
	if reg, err := n.project.Registry(ctx); err == nil { // it is open
		registryAt = reg.DB().Name()
	}
	for _, c := range []struct {
		*condition
		at, section, then string
	}{
		{&n.follow.storeState, n.project.storeName(), "provenderonlinestoredown", "lookups are UNAVAILABLE"},
		{&n.follow.registryState, registryAt, "provenderregistrydown", "lookups are answered by what was known; nothing can be applied or run"},
	} {
		since, answered := c.times()
		p := part{Name: c.name, At: told(c.at), Class: classGood, State: "answers", Since: v.moment(since), Answered: v.moment(answered)}
		if err := c.err(); err != nil {
			p.Class, p.State, p.Error, p.Link = classBad, "does not answer", told(err.Error()), link(c.section)
			v.trouble(classBad, c.section, "The %s does not answer: %s.", c.name, c.then)
		}
		v.Parts = append(v.Parts, p)
	}
	if damaged := n.serving.Damaged(); damaged > 0 {
		v.trouble(classBad, "provenderdamagedrows", "Lookups met %s damaged rows since the server started.", humanize.Comma(damaged))
	}
}

func (v *statusView) tellRevision(n *node, found reply[[]registry.Revision]) {
	number := n.follow.snapshot.Load().Revision
	v.Revision = fmt.Sprint(number)
	if i := slices.IndexFunc(found.value, func(r registry.Revision) bool { return r.Number == number }); i >= 0 {
		rev := &found.value[i]
		v.Applied, v.AppliedBy = v.moment(rev.Applied), told(rev.By)
		if rev.Commit != "" {
			v.AppliedBy += ", commit " + rev.Commit[:min(12, len(rev.Commit))]
		}
	}
}

// late tells why something is not as it is now, "" where it is.
func late[T any](v *statusView, what string, r reply[T]) string {
	switch {
	case r.err == nil && !r.at.IsZero():
		return ""
	case r.err == nil:
		return what + " are not known: the server is stopping."
	case r.at.IsZero():
		return told(what + " are not known: " + r.err.Error())
	}
	return told(fmt.Sprintf("%s are as they were %s ago: %s", what, span(v.now.Sub(r.at)), r.err))
}

func (v *statusView) tellViews(n *node, found reply[[]materialize.ViewStatus]) {
	v.ViewsLate, v.ViewsKnown = late(v, "Views", found), !found.at.IsZero()
	if v.ViewsLate != "" {
		v.trouble(classBad, "provendermetricsstale", "%s", v.ViewsLate)
	}
	snapshot := n.follow.snapshot.Load()
	for i := range found.value {
		s := &found.value[i]
		state := viewStates[s.State]
		line := viewLine{
			Name: s.View, State: s.State, Class: state.class, T: v.moment(s.T), Newest: v.moment(s.NewestEvent), Next: v.moment(s.NextRun),
			Failures: s.Failures, Error: told(s.Error),
		}
		if state.section != "" {
			line.Link = link(state.section)
			v.trouble(state.class, state.section, state.text, s.View)
		}
		if def := snapshot.Views[s.View]; def != nil {
			line.Description, line.Schedule = def.Description, strings.TrimSpace(def.Schedule+" "+def.ScheduleTimezone)
		}
		if !s.NewestEvent.IsZero() {
			line.Lag = span(v.now.Sub(s.NewestEvent))
			if !s.NewestInSource.IsZero() {
				line.Behind = span(max(0, s.NewestInSource.Sub(s.NewestEvent)))
			}
		}
		if s.LastRun != nil {
			line.Last = new(v.run(s.LastRun))
		}
		if s.Error != "" && state.section == "" {
			v.trouble(classWarn, "provendersourceunreadable", "View %s: its source can't be read.", s.View)
		}
		if !s.Paused.IsZero() {
			line.Paused = told(fmt.Sprintf("paused by %s, %s ago", s.PausedBy, span(v.now.Sub(s.Paused))))
			v.trouble(classWarn, "provenderschedulepaused", "View %s: its schedule rests, %s.", s.View, line.Paused)
		} else if !s.NextRun.IsZero() && v.now.Sub(s.NextRun) > overdue {
			v.trouble(classWarn, "provenderschedulelate", "View %s: the run that was due %s ago did not begin.", s.View, span(v.now.Sub(s.NextRun)))
		}
		v.Views = append(v.Views, line)
	}
}

// tellRuns shows the runs under way, of which a long one may not be among the newest, and the newest others.
func (v *statusView) tellRuns(found reply[[]materialize.Run], views []materialize.ViewStatus) {
	v.RunsLate, v.RunsKnown = late(v, "Runs", found), !found.at.IsZero()
	shown := map[int64]bool{}
	for i := range found.value {
		r := &found.value[i]
		shown[r.ID] = true
		switch {
		case r.State == materialize.RunRunning, r.State == materialize.RunQueued:
			v.Running = append(v.Running, v.run(r))
		case len(v.Ended) < pageEnded:
			v.Ended = append(v.Ended, v.run(r))
		}
	}
	for i := range views {
		if r := views[i].LastRun; r != nil && r.State == materialize.RunRunning && !shown[r.ID] {
			v.Running = append(v.Running, v.run(r))
		}
	}
}

func (v *statusView) run(r *materialize.Run) runLine {
	class := classCalm
	switch r.State {
	case materialize.RunSucceeded:
		class = classGood
	case materialize.RunFailed:
		class = classBad
	case materialize.RunCancelled:
		class = classWarn
	}
	first, _, _ := strings.Cut(r.Error, "\n")
	line := runLine{
		ID: r.ID, View: r.View, State: string(r.State), Class: class, Rows: humanize.Comma(r.Written), How: told(r.Trigger + ", " + r.By),
		Began: v.moment(cmp.Or(r.Started, r.Queued)), Error: told(first),
	}
	if !r.Started.IsZero() {
		line.Took = span(cmp.Or(r.Finished, v.now).Sub(r.Started))
	}
	return line
}

func (v *statusView) tellSchedules(n *node) {
	s, ok := n.schedulerStats()
	switch {
	case v.ReadTime != "":
		v.Schedules = "rest while the read time is fixed"
	case !ok:
		v.Schedules = "are not run by this server"
	default:
		v.Schedules = fmt.Sprintf("%d running, %d waiting, %d paused", s.Running, s.Waiting, s.Paused)
		if !s.Last.IsZero() {
			v.Schedules += "; the last tick was " + span(v.now.Sub(s.Last)) + " ago"
		}
	}
}

func (v *statusView) tellDefinitions(n *node) {
	s, ok := n.definitionsStatus()
	if !ok {
		return
	}
	line := &sourceLine{From: told(s.Source), State: string(s.State), Class: classGood, Message: told(s.Message), Checked: v.moment(s.Checked)}
	for _, d := range s.Details {
		line.Details = append(line.Details, told(d))
	}
	short := func(id string) string { return id[:min(12, len(id))] }
	line.Seen, line.Applied = short(s.Seen), short(s.Applied)
	switch s.State {
	case gitops.Starting:
		line.Class = classCalm
	case gitops.Kept:
		line.Class = classWarn
	case gitops.Refused, gitops.Invalid, gitops.Failed:
		line.Class, line.Link = classBad, link("provenderdefinitionsnotapplied")
		v.trouble(classBad, "provenderdefinitionsnotapplied", "Definitions from %s are not applied: %s.", s.Source, s.State)
	}
	v.Source = line
}

func (v *statusView) tellTraffic(n *node, ring *trafficRing) {
	now, err := n.metrics.Traffic()
	if err != nil {
		return
	}
	d, from, first := ring.since(now)
	t := &trafficTable{Window: "in the last " + span(now.At.Sub(from))}
	if first {
		t.Window = "since it began to answer, " + span(now.At.Sub(from)) + " ago"
	}
	all, failed := 0.0, 0.0
	for code, count := range d.Lookups {
		all += count
		if slices.Contains(failing, code) {
			failed += count
		}
	}
	t.Rate = fmt.Sprintf("%.1f", all/max(now.At.Sub(from).Seconds(), 1e-3))
	t.Median, t.Tail = quantile(d, .5), quantile(d, .99)
	t.Now = fmt.Sprintf("%.0f worked on, %.0f waiting", now.Now["working"], now.Now["waiting"])
	failures := maps.Clone(d.Lookups)
	delete(failures, "OK")
	t.Errors, t.Shed, t.Cells = tallies(failures, false), tallies(d.Shed, false), tallies(d.Cells, true)
	if failed > .01*all {
		v.trouble(classWarn, "provenderlookupsfail", "%.0f of %.0f lookups failed %s.", failed, all, t.Window)
	}
	shed := 0.0
	for _, count := range d.Shed {
		shed += count
	}
	if shed > 0 {
		v.trouble(classWarn, "provendershedding", "%.0f lookups were shed %s.", shed, t.Window)
	}
	v.Traffic = t
}

// tallies are counts by name; those that are 0 only where all are asked for.
func tallies(counts map[string]float64, all bool) (list []tally) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; all || n > 0 {
			list = append(list, tally{name, humanize.Comma(int64(n))})
		}
	}
	return list
}

func quantile(t metrics.Traffic, share float64) string {
	took, longer, some := t.Quantile(share)
	switch {
	case !some:
		return "–"
	case longer:
		return "> " + fine(took)
	}
	return fine(took)
}

// told is text from elsewhere as it may be shown: without passwords in URLs.
func told(text string) string { return diag.Mask(text) }

func link(section string) string { return runbook + section }

func (v *statusView) moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{At: at(t)}
	switch d := v.now.Sub(t); {
	case d.Abs() < time.Second:
		m.Far = "just now"
	case d > 0:
		m.Far = span(d) + " ago"
	default:
		m.Far = "in " + span(-d)
	}
	return m
}

func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// span is a duration in its two greatest units.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d == 0:
		return "0 s"
	case d < time.Second:
		return fine(d)
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// fine is a short duration.
func fine(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d/time.Microsecond)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
