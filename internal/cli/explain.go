package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	r := newExplainReport(view, feature, keys, at, snapshot.Revision, found)
	if len(found.Before) > 0 {
		newest := &found.Before[0]
		online, err := p.Consumed(ctx, view, found.Files[newest.File], newest.Event)
		if err != nil {
			return nil, err
		}
		r.Online = &explainedOnline{State: online.State, Generation: online.Generation, T: timePointer(online.T), Run: online.Run}
	}
	return r, nil
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
	Online     *explainedOnline `json:"online,omitempty"` // how far runs have come with it, at the time of the command
	Before     []explainedRow   `json:"before"`
	After      []explainedRow   `json:"after"`
	RowsBefore int64            `json:"rows_before"`
	RowsAfter  int64            `json:"rows_after"`
	NullEvents int64            `json:"null_event_times"`
	Files      int64            `json:"files"`
	RowsRead   int64            `json:"rows_read"`
	Skipped    int64            `json:"rows_skipped"` // by statistics of keys
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

// explainedOnline is what runs have made of the row.
type explainedOnline struct {
	State      string     `json:"state"`
	Generation uint64     `json:"generation,omitempty"`
	T          *time.Time `json:"t,omitempty"`
	Run        int64      `json:"run,omitempty"`
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
		Files: x.Stats.Files, RowsRead: x.Stats.RowsRead, Skipped: x.Stats.RowsSkipped, NullKeys: x.Stats.NullKeys,
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

func seconds(us int64) *float64 {
	s := float64(us) / 1e6
	return &s
}
