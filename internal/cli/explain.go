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
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
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
			var r *explainReport
			err := a.withRegistry(c.Context(), func(ctx context.Context, c *client.Client) (err error) {
				r, err = a.explain(ctx, c, args[0], f)
				return err
			})
			if err != nil {
				return err
			}
			return a.show(r)
		},
	}
	c.Flags().StringArrayVar(&f.entity, "entity", nil, "the entity, as key=value,…; a view without keys needs none")
	c.Flags().Var(&f.at, "at", "the instant to explain (default now)")
	c.Flags().IntVar(&f.candidates, "candidates", 3, "other rows to list, up to the instant and after it")
	return c
}

func (a *app) explain(ctx context.Context, c *client.Client, name string, f *explainFlags) (*explainReport, error) {
	snapshot, err := snapshotOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if snapshot.Revision == 0 {
		return nil, nothingApplied()
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
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = view.KeyColumns[i].Name
	}
	found, err := c.Explain(ctx, client.ExplainRequest{
		View: view.Name, Feature: view.Features[feature].Name, Keys: keysOf(names, keys), At: at, Candidates: f.candidates,
	})
	if err != nil {
		return nil, err
	}
	return newExplainReport(view, feature, keys, found), nil
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

func newExplainReport(view *registry.View, feature int, keys []*columnar.Vector, x *client.Explanation) *explainReport {
	value := vectorOf(x.Value)
	r := &explainReport{
		View: view.Name, Feature: view.Features[feature].Name, Revision: x.Revision, At: x.At,
		Keys: keysJSON(view, keys), Value: columnar.AppendJSON(nil, value, 0), Status: columnar.Status(x.Status).String(),
		Default: x.IsDefault, Before: []explainedRow{}, After: []explainedRow{}, RowsBefore: x.RowsBefore, RowsAfter: x.RowsAfter,
		NullEvents: x.NullEventTimes, Files: x.Files, RowsRead: x.RowsRead, Skipped: x.RowsSkipped, NullKeys: x.NullKeys,
		FirstEvent: timeInJSON(x.FirstEvent), LastEvent: timeInJSON(x.LastEvent),
		entity: entityText(view, keys), answer: cellText(value, 0), hasCreated: x.HasCreatedTimes, nullKey: x.NullKey,
	}
	for _, k := range view.KeyColumns {
		r.keyNames, r.kinds = append(r.keyNames, k.Name), append(r.kinds, k.Kind.String())
	}
	if x.TTL > 0 {
		r.ttl, r.TTLSeconds = registry.FormatDuration(x.TTL), seconds(x.TTL.Microseconds())
	}
	for i := range x.Before {
		e := newExplainedRow(&x.Before[i], x.Before[i].Why)
		if i == 0 {
			r.Row = &e
		} else {
			r.Before = append(r.Before, e)
		}
	}
	for i := range x.After {
		r.After = append(r.After, newExplainedRow(&x.After[i], lostAfter))
	}
	if r.Row != nil {
		event := r.Row.EventTime
		age := x.At.UnixMicro() - event.UnixMicro()
		r.age, r.AgeSeconds = ageText(age), seconds(age)
		if x.TTL > 0 {
			r.AliveUntil, r.FoundUntil = timeInJSON(event.Add(x.TTL)), timeInJSON(event.Add(x.TTL).Add(x.TTL))
		}
	}
	if x.Matching != nil && len(keys) > 1 {
		r.Matching = map[string]int64{}
		for i, n := range x.Matching {
			r.Matching[r.keyNames[i]] = n
		}
	}
	for _, m := range x.NearMisses {
		near := make([]*columnar.Vector, len(m.Keys))
		for i, k := range m.Keys {
			near[i] = keyVector(k)
		}
		r.NearMisses = append(r.NearMisses, nearMiss{Keys: keysJSON(view, near), Rows: m.Rows, entity: entityText(view, near)})
	}
	if o := x.Online; o != nil {
		r.Online = &explainedOnline{State: o.State, Generation: o.Generation, T: timePointer(o.T), Run: o.Run}
	}
	return r
}

func newExplainedRow(c *client.ExplainedRow, why string) explainedRow {
	value := vectorOf(c.Value)
	e := explainedRow{
		Value: columnar.AppendJSON(nil, value, 0), EventTime: c.EventTime, CreatedTime: timeInJSON(c.CreatedTime),
		File: c.Place.File, RowGroup: c.Place.RowGroup, FileRow: c.Place.Row, Copies: c.Copies, Why: why, DecidedBy: c.DecidedBy,
		text: cellText(value, 0),
	}
	for _, p := range c.CopiesAt {
		e.CopiesAt = append(e.CopiesAt, rowPlace{p.File, p.RowGroup, p.Row})
	}
	return e
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

// timeInJSON returns a time for JSON, nil for none and beyond the years that it can have there.
func timeInJSON(t time.Time) *time.Time {
	if t.IsZero() || t.Year() > 9999 {
		return nil
	}
	return &t
}

func seconds(us int64) *float64 {
	s := float64(us) / 1e6
	return &s
}
