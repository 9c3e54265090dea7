package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/registry"
)

type explainFlags struct {
	entity     []string
	at         instantFlag
	candidates int
}

func (a *app) explainCommand() *cobra.Command {
	f := &explainFlags{at: instantFlag{clock: a.Now}}
	c := &cobra.Command{
		Use:   "explain VIEW:FEATURE",
		Short: "Tell why a feature has the value that it has",
		Long: `Tell which row of history answers for an entity at an instant, where it lies, how long it is alive, and why the rows
beside it do not answer. Reads all files of the view's source; needs no online store.

Values are quoted as in CSV: city="Washington, DC". A value that is empty and not quoted is a null.`,
		Example: `  provender explain airport_hourly:mean_delay_1h --entity airport=JFK
  provender explain airport_hourly:mean_delay_1h --entity airport=JFK --at 2001-06-30T12:00:00Z --candidates 10
  provender explain route_daily:flights --entity origin=JFK,destination=SFO --at 2001-06-30 -o json`,
		Args: takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.candidates < 0 {
				return usagef("--candidates is %d: want 0 or more", f.candidates)
			}
			return a.withProject(func(p *server.Project) error {
				r, err := a.explain(c.Context(), p, args[0], f)
				if err != nil {
					return err
				}
				return a.show(r)
			})
		},
	}
	c.Flags().StringArrayVar(&f.entity, "entity", nil, "the entity, as key=value,…; a view without keys needs none")
	c.Flags().Var(&f.at, "at", "the instant to explain (default now)")
	c.Flags().IntVar(&f.candidates, "candidates", 3, "other rows to list, up to the instant and after it")
	return c
}

func (a *app) explain(ctx context.Context, p *server.Project, name string, f *explainFlags) (*explainReport, error) {
	snapshot, err := p.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	view, feature, err := featureNamed(snapshot, name)
	if err != nil {
		return nil, err
	}
	keys, err := f.keys(view)
	if err != nil {
		return nil, err
	}
	at := f.at.time
	if at.IsZero() {
		at = a.Now().UTC().Truncate(time.Microsecond)
	}
	found, err := offline.Explain(ctx, offline.ExplainRequest{
		View: view, Feature: feature, Source: p.Files, Keys: keys, At: at.UnixMicro(), Candidates: f.candidates,
		Limits: p.ParquetLimits(),
	})
	if err != nil {
		return nil, err
	}
	return newExplainReport(view, feature, keys, at, snapshot.Revision, found), nil
}

// featureNamed finds "view:feature".
func featureNamed(snapshot *registry.Snapshot, name string) (*registry.View, int, error) {
	viewName, featureName, ok := strings.Cut(name, ":")
	if !ok || viewName == "" || featureName == "" {
		err := usagef("%q names no feature", name)
		return nil, 0, &problem.Error{Code: problem.Invalid, Message: err.Error(), Suggestion: "write view:feature"}
	}
	view, err := snapshot.FeatureView(viewName)
	if err != nil {
		return nil, 0, err
	}
	feature := view.FeatureIndex(featureName)
	if feature < 0 {
		var names []string
		for _, f := range view.Features {
			names = append(names, f.Name)
		}
		return nil, 0, &problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("feature view %q has no feature %q", viewName, featureName),
			Suggestion: diag.Suggest(featureName, names),
		}
	}
	return view, feature, nil
}

// keys types the entity by the view's join keys.
func (f *explainFlags) keys(view *registry.View) ([]*columnar.Vector, error) {
	if len(f.entity) > 1 {
		return nil, usagef("--entity is given %d times; explain takes one entity", len(f.entity))
	}
	wanted := make([]registry.RequestKey, len(view.KeyColumns))
	for i, k := range view.KeyColumns {
		wanted[i] = registry.RequestKey{Name: k.Name, Kind: k.Kind}
	}
	if len(f.entity) == 0 {
		if len(wanted) == 0 {
			return nil, nil
		}
		var names []string
		for _, k := range wanted {
			names = append(names, k.Name+"=…")
		}
		return nil, &problem.Error{
			Code: problem.Invalid, Message: "view " + view.Name + " needs an entity",
			Suggestion: "give it with --entity " + strings.Join(names, ","),
		}
	}
	asked, err := parseEntityFlags(f.entity)
	if err != nil {
		return nil, err
	}
	return asked.columns(wanted)
}

type explainReport struct {
	Version    formatVersion   `json:"version"`
	View       string          `json:"view"`
	Feature    string          `json:"feature"`
	Revision   int64           `json:"revision"`
	Keys       json.RawMessage `json:"keys"`
	At         time.Time       `json:"at"`
	Value      json.RawMessage `json:"value"`
	Status     string          `json:"status"`
	Default    bool            `json:"default"` // the value is the feature's default
	TTLSeconds *float64        `json:"ttl_seconds,omitempty"`
	AgeSeconds *float64        `json:"age_seconds,omitempty"`
	AliveUntil *time.Time      `json:"alive_until,omitempty"`
	FoundUntil *time.Time      `json:"found_until,omitempty"`
	// Row is the one that answers, or would if it were not too old.
	Row        *explainedRow    `json:"row,omitempty"`
	Before     []explainedRow   `json:"before"`
	After      []explainedRow   `json:"after"`
	RowsBefore int64            `json:"rows_before"`
	RowsAfter  int64            `json:"rows_after"`
	NullEvents int64            `json:"null_event_times"`
	Files      int64            `json:"files"`
	RowsRead   int64            `json:"rows_read"`
	NullKeys   int64            `json:"null_keys"`
	FirstEvent *time.Time       `json:"first_event,omitempty"`
	LastEvent  *time.Time       `json:"last_event,omitempty"`
	Matching   map[string]int64 `json:"matching,omitempty"`
	NearMisses []nearMiss       `json:"near_misses,omitempty"`

	ttl, age   string
	entity     string // airport=JFK
	answer     string
	hasCreated bool
	nullKey    bool
	keyNames   []string
	kinds      []string
}

type explainedRow struct {
	Value       json.RawMessage `json:"value"`
	EventTime   time.Time       `json:"event_time"`
	CreatedTime *time.Time      `json:"created_time,omitempty"`
	File        string          `json:"file"`
	RowGroup    int             `json:"row_group"`
	FileRow     int64           `json:"file_row"`
	Copies      int64           `json:"copies"`
	CopiesAt    []rowPlace      `json:"copies_at,omitempty"`
	Why         string          `json:"why,omitempty"`
	DecidedBy   string          `json:"decided_by,omitempty"`

	text string
}

type rowPlace struct {
	File     string `json:"file"`
	RowGroup int    `json:"row_group"`
	FileRow  int64  `json:"file_row"`
}

type nearMiss struct {
	Keys json.RawMessage `json:"keys"`
	Rows int64           `json:"rows"`

	entity string
}

// lostAfter is why a row dated after the instant does not answer (R2).
const lostAfter = "after"

func newExplainReport(
	view *registry.View, feature int, keys []*columnar.Vector, at time.Time, revision int64, x *offline.Explanation,
) *explainReport {
	r := &explainReport{
		View: view.Name, Feature: view.Features[feature].Name, Revision: revision, At: at,
		Keys: keysJSON(view, keys), Value: columnar.AppendJSON(nil, x.Value, 0), Status: x.Status.String(),
		Default: view.Defaults[feature] != nil && x.Status != columnar.Present && x.Status != columnar.Null,
		Before:  []explainedRow{}, After: []explainedRow{}, RowsBefore: x.RowsBefore, RowsAfter: x.RowsAfter, NullEvents: x.NullEvents,
		Files: x.Stats.Files, RowsRead: x.Stats.RowsRead, NullKeys: x.Stats.NullKeys,
		entity: entityText(view, keys), answer: cellText(x.Value, 0), hasCreated: view.Source.CreatedTime != "", nullKey: x.NullKey,
	}
	for _, k := range view.KeyColumns {
		r.keyNames, r.kinds = append(r.keyNames, k.Name), append(r.kinds, k.Kind.String())
	}
	if view.TTLMicros > 0 {
		r.ttl, r.TTLSeconds = registry.FormatDuration(view.TTL), seconds(view.TTLMicros)
	}
	if x.First <= x.Last {
		r.FirstEvent, r.LastEvent = micros(x.First), micros(x.Last)
	}
	explained := func(c *asof.Candidate, why string) explainedRow {
		e := explainedRow{
			Value: columnar.AppendJSON(nil, c.Features[feature], 0), EventTime: time.UnixMicro(c.Event).UTC(),
			File: x.Files[c.File].Path, RowGroup: c.Group, FileRow: c.Row, Copies: c.Copies, Why: why,
			text: cellText(c.Features[feature], 0),
		}
		if c.Created != row.NoCreated {
			e.CreatedTime = micros(c.Created)
		}
		for _, p := range c.CopiesAt {
			e.CopiesAt = append(e.CopiesAt, rowPlace{x.Files[p.File].Path, p.Group, p.Row})
		}
		return e
	}
	for i := range x.Before {
		e := explained(&x.Before[i], x.Lost[i].Why)
		if e.Why == offline.LostEncoding {
			e.DecidedBy = view.Features[x.Lost[i].Feature].Name
		}
		if i == 0 {
			r.Row = &e
		} else {
			r.Before = append(r.Before, e)
		}
	}
	for i := range x.After {
		r.After = append(r.After, explained(&x.After[i], lostAfter))
	}
	if len(x.Before) > 0 {
		event := x.Before[0].Event
		age := at.UnixMicro() - event
		r.age, r.AgeSeconds = ageText(age), seconds(age)
		if view.TTLMicros > 0 {
			r.AliveUntil, r.FoundUntil = micros(event+view.TTLMicros), micros(event+2*view.TTLMicros)
		}
	}
	if x.Matching != nil && len(keys) > 1 {
		r.Matching = map[string]int64{}
		for i, n := range x.Matching {
			r.Matching[r.keyNames[i]] = n
		}
	}
	for _, m := range x.NearMisses {
		r.NearMisses = append(r.NearMisses, nearMiss{Keys: keysJSON(view, m.Keys), Rows: m.Rows, entity: entityText(view, m.Keys)})
	}
	return r
}

// keysJSON writes one entity as an object, keys in the view's order.
func keysJSON(view *registry.View, keys []*columnar.Vector) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, v := range keys {
		comma(&b, i)
		member(&b, view.KeyColumns[i].Name)
		b.Write(columnar.AppendJSON(nil, v, 0))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// entityText writes one entity as --entity takes it.
func entityText(view *registry.View, keys []*columnar.Vector) string {
	parts := make([]string, len(keys))
	for i, v := range keys {
		parts[i] = view.KeyColumns[i].Name + "="
		if v.IsNull(0) {
			continue
		}
		value := string(columnar.AppendText(nil, v, 0))
		if value == "" || value != strings.TrimSpace(value) || strings.ContainsAny(value, ",\"\n") {
			value = `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
		}
		parts[i] += value
	}
	return strings.Join(parts, ",")
}

// micros returns a time for JSON, nil beyond the years that it can have there.
func micros(us int64) *time.Time {
	t := time.UnixMicro(us).UTC()
	if t.Year() > 9999 {
		return nil
	}
	return &t
}

const microsPerDay = int64(24 * time.Hour / time.Microsecond)

// ageText writes microseconds, which may be more than a time.Duration holds, exactly.
func ageText(us int64) string {
	rest := (time.Duration(us%microsPerDay) * time.Microsecond).String()
	if days := us / microsPerDay; days > 0 {
		return fmt.Sprintf("%dd%s", days, rest)
	}
	return rest
}

func seconds(us int64) *float64 {
	s := float64(us) / 1e6
	return &s
}

func (r *explainReport) text(p *printer) {
	of := ""
	if r.entity != "" {
		of = " of " + r.entity
	}
	p.printf("%s%s at %s, revision %d\n\n", p.bold(r.View+":"+r.Feature), of, instant(r.At), r.Revision)
	status := p.warn(r.Status)
	if r.Status == columnar.Present.String() {
		status = p.good(r.Status)
	}
	byDefault := ""
	if r.Default {
		byDefault = ", the feature's default"
	}
	p.printf("  %s  %s%s\n\n", clipped(r.answer, 2000), status, byDefault)
	if r.Row != nil {
		r.textRow(p)
	} else {
		r.textNothing(p)
	}
	r.textCandidates(p)
	if !r.nullKey {
		p.printf("\nRead %s of %s.%s\n", plural(r.RowsRead, "row", "rows"), plural(r.Files, "file", "files"), r.dropped())
	}
}

func (r *explainReport) textRow(p *printer) {
	line := func(name, format string, args ...any) { p.printf("  %-13s %s\n", name, fmt.Sprintf(format, args...)) }
	line("event time", "%s", instant(r.Row.EventTime))
	if r.hasCreated {
		line("created time", "%s", pointed(r.Row.CreatedTime))
	}
	line("age", "%s", r.life())
	line("file", "%s", r.Row.File)
	line("", "row group %d, row %s of the file (both from 0)", r.Row.RowGroup, count(r.Row.FileRow))
	line("chosen", "%s", r.chosen())
	if r.Row.Copies > 0 {
		line("copies", "%s in everything; the first by file and row stands", plural(r.Row.Copies, "row equals it", "rows equal it"))
		for _, c := range r.Row.CopiesAt {
			line("", "%s, row group %d, row %s", c.File, c.RowGroup, count(c.FileRow))
		}
	}
}

// life is the arithmetic of ttl (R3, R6).
func (r *explainReport) life() string {
	until := func(t *time.Time) string {
		if t == nil {
			return "beyond year 9999"
		}
		return instant(*t)
	}
	switch r.Status {
	case columnar.Expired.String():
		return fmt.Sprintf("%s > ttl %s: expired since %s, NOT_FOUND after %s", r.age, r.ttl, until(r.AliveUntil), until(r.FoundUntil))
	case columnar.NotFound.String():
		return fmt.Sprintf("%s, past 2 × ttl %s since %s: NOT_FOUND", r.age, r.ttl, until(r.FoundUntil))
	}
	if r.ttl == "" {
		return r.age + "; no ttl, it never expires"
	}
	return fmt.Sprintf("%s ≤ ttl %s: alive until %s", r.age, r.ttl, until(r.AliveUntil))
}

// chosen tells by which rule the row came first.
func (r *explainReport) chosen() string {
	among := "the only row up to then"
	if n := r.RowsBefore; n > 1 {
		among = fmt.Sprintf("the newest of %s rows up to then", count(n))
	}
	if len(r.Before) == 0 {
		return among
	}
	switch next := r.Before[0]; next.Why {
	case offline.LostCreated:
		return among + ": of its event time the one created last"
	case offline.LostEncoding:
		return fmt.Sprintf("%s: of its event and created time the one of the greatest encoding, by %s", among, next.DecidedBy)
	}
	return among
}

// textNothing says what was looked for where no row up to the instant is there.
func (r *explainReport) textNothing(p *printer) {
	switch {
	case r.nullKey:
		p.printf("  A null key is no entity's. (A value that is empty and not quoted is a null.)\n")
		return
	case r.RowsAfter > 0:
		p.printf("  It has %s, dated after T.\n", plural(r.RowsAfter, "row", "rows"))
		r.textRange(p)
		return
	case r.entity == "":
		p.printf("  The source has no row.\n")
		return
	}
	var looked []string
	for i, name := range r.keyNames {
		looked = append(looked, fmt.Sprintf("%s (%s)", name, r.kinds[i]))
	}
	p.printf("  No row has %s. Looked for: %s.\n", r.entity, strings.Join(looked, ", "))
	if r.Matching != nil {
		var parts []string
		for _, name := range r.keyNames {
			parts = append(parts, fmt.Sprintf("%s in %s", name, plural(r.Matching[name], "row", "rows")))
		}
		p.printf("  Each key by itself: %s.\n", strings.Join(parts, ", "))
	}
	for i, m := range r.NearMisses {
		if i == 0 {
			p.printf("  There are keys that differ in case, blanks or zeros alone:\n")
		}
		p.printf("    %s (%s)\n", m.entity, plural(m.Rows, "row", "rows"))
	}
	r.textRange(p)
}

// textRange tells where T lies outside of the view's events.
func (r *explainReport) textRange(p *printer) {
	switch {
	case r.FirstEvent == nil:
	case r.At.Before(*r.FirstEvent):
		p.printf("  T is before the view's first event, %s.\n", instant(*r.FirstEvent))
	case r.At.After(*r.LastEvent):
		p.printf("  T is %s after the view's last event, %s.\n", ageText(r.At.UnixMicro()-r.LastEvent.UnixMicro()), instant(*r.LastEvent))
	}
}

func (r *explainReport) dropped() string {
	s := ""
	if r.NullKeys > 0 {
		s += fmt.Sprintf(" %s dropped for a null key.", plural(r.NullKeys, "row was", "rows were"))
	}
	if r.NullEvents > 0 {
		s += fmt.Sprintf(" %s of the entity dropped for a null event time.", plural(r.NullEvents, "row was", "rows were"))
	}
	return s
}

const maxCell = 24 // characters of a value in the table

// textCandidates lists the rows around the instant, the latest first.
func (r *explainReport) textCandidates(p *printer) {
	if len(r.Before)+len(r.After) == 0 {
		return
	}
	var files []string
	var rows [][]string
	header := []string{"EVENT TIME", "CREATED", "VALUE", "FILE#", "GROUP#", "ROW#", ""}
	add := func(e *explainedRow, why string) {
		at := slices.Index(files, e.File)
		if at < 0 {
			at = len(files)
			files = append(files, e.File)
		}
		if e.Copies > 0 {
			why += fmt.Sprintf(" (and %s)", plural(e.Copies, "copy", "copies"))
		}
		rows = append(rows, []string{
			instant(e.EventTime), pointed(e.CreatedTime), clipped(e.text, maxCell), fmt.Sprint(at + 1), fmt.Sprint(e.RowGroup),
			count(e.FileRow), why,
		})
	}
	for i := len(r.After) - 1; i >= 0; i-- {
		add(&r.After[i], "after T, takes no part")
	}
	if r.Row != nil {
		why := "answers"
		switch r.Status {
		case columnar.Expired.String():
			why = "newest, but expired"
		case columnar.NotFound.String():
			why = "newest, but past 2 × ttl"
		}
		add(r.Row, p.bold(why))
	}
	for i := range r.Before {
		e := &r.Before[i]
		why := "older event time"
		switch e.Why {
		case offline.LostCreated:
			why = "same event time, created earlier"
		case offline.LostEncoding:
			why = "tied, smaller in " + e.DecidedBy
		}
		add(e, why)
	}
	if !r.hasCreated {
		header = slices.Delete(header, 1, 2)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	p.printf("\n")
	p.table(header, rows)
	later, older := r.RowsAfter, r.RowsBefore
	for _, e := range r.After {
		later -= 1 + e.Copies
	}
	for _, e := range r.Before {
		older -= 1 + e.Copies
	}
	if r.Row != nil {
		older -= 1 + r.Row.Copies
	}
	for i, f := range files {
		p.printf("file %d  %s\n", i+1, f)
	}
	var left []string
	if later > 0 {
		left = append(left, plural(later, "later row", "later rows"))
	}
	if older > 0 {
		left = append(left, plural(older, "older row", "older rows"))
	}
	if len(left) > 0 {
		p.printf("Not listed: %s; --candidates N lists more.\n", strings.Join(left, ", "))
	}
}

// clipped is a text of at most n characters.
func clipped(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}
