package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// selection is the features that get and export ask for.
type selection struct {
	service  string
	features []string
}

func (s *selection) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.service, "service", "", "feature service")
	c.Flags().StringSliceVar(&s.features, "features", nil, "features, as view:feature,…")
	c.MarkFlagsOneRequired("service", "features")
	c.MarkFlagsMutuallyExclusive("service", "features")
}

// of compiles the selection against a snapshot.
func (s *selection) of(snapshot *registry.Snapshot) (*registry.Service, error) {
	if s.service != "" {
		return snapshot.FeatureService(s.service)
	}
	return snapshot.AdHoc(s.features)
}

type getFlags struct {
	selection
	entity   []string
	entities string
	at, now  instantFlag
}

func (a *app) getCommand() *cobra.Command {
	f := &getFlags{at: instantFlag{clock: a.Now}, now: instantFlag{clock: a.Now}}
	c := &cobra.Command{
		Use:   "get",
		Short: "Look features up, as a model does at inference time",
		Long: `Look features up in the online store, one row per entity. With --at: what history says was known at an instant, from
the files, without the online store.

Values are quoted as in CSV: city="Washington, DC". A value that is empty and not quoted is a null.`,
		Example: `  provender get --service delay_model_v1 --entity origin=JFK,destination=SFO
  provender get --features airport_hourly:mean_delay_1h --entity airport=JFK --entity airport=SFO -o json
  provender get --service delay_model_v1 --entities pairs.csv
  provender get --service delay_model_v1 --entity origin=JFK,destination=SFO --at 2001-06-30T12:00:00Z`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.get(c.Context(), f) },
	}
	f.selection.flags(c)
	c.Flags().StringArrayVar(&f.entity, "entity", nil, "one entity, as key=value,…; may be repeated")
	c.Flags().StringVar(&f.entities, "entities", "", "CSV file of entities, its header naming the keys; - for stdin")
	c.Flags().Var(&f.at, "at", "answer from history what was known at this instant")
	c.Flags().Var(&f.now, "now", "fixed read time, for rehearsals on old data")
	c.MarkFlagsMutuallyExclusive("entity", "entities")
	c.MarkFlagsMutuallyExclusive("at", "now")
	return c
}

func (a *app) get(ctx context.Context, f *getFlags) error {
	asked, err := f.read(a)
	if err != nil {
		return err
	}
	var r *getReport
	with, look := a.withClient, lookOnline
	if !f.at.time.IsZero() {
		with, look = a.withRegistry, lookBack
	}
	err = with(ctx, func(ctx context.Context, c *client.Client) error {
		r, err = look(ctx, c, f, asked)
		return err
	})
	if err != nil {
		return err
	}
	return a.show(r)
}

// read returns the entities asked for, nil for none.
func (f *getFlags) read(a *app) (*entities, error) {
	switch {
	case f.entities != "":
		return readEntitiesFile(f.entities, a.Stdin)
	case len(f.entity) > 0:
		return parseEntityFlags(f.entity)
	default:
		return &entities{}, nil
	}
}

// keys types the entities by what a service asks for.
func (e *entities) keys(svc *registry.Service) (names []string, columns []*columnar.Vector, err error) {
	for _, k := range svc.RequestKeys {
		names = append(names, k.Name)
	}
	if len(e.rows) == 0 && len(names) > 0 {
		err := problem.New(problem.Invalid, "no entities: the keys are %s", list(names))
		err.Suggestion = "give them with --entity " + names[0] + "=…, or with --entities FILE"
		return nil, nil, err
	}
	columns, err = e.columns(svc.RequestKeys)
	return names, columns, err
}

// lookOnline answers from the online store.
func lookOnline(ctx context.Context, c *client.Client, f *getFlags, asked *entities) (*getReport, error) {
	return look(ctx, c, f, asked, "online", c.GetFeatures)
}

// lookBack answers from history what was known at an instant.
func lookBack(ctx context.Context, c *client.Client, f *getFlags, asked *entities) (*getReport, error) {
	return look(ctx, c, f, asked, "history", func(ctx context.Context, req client.Request) (*client.Response, error) {
		return c.GetHistoricalFeatures(ctx, req, f.at.time)
	})
}

func look(
	ctx context.Context, c *client.Client, f *getFlags, asked *entities, from string,
	call func(context.Context, client.Request) (*client.Response, error),
) (*getReport, error) {
	snapshot, err := snapshotOf(ctx, c)
	if err != nil {
		return nil, err
	}
	svc, err := f.of(snapshot)
	if err != nil {
		return nil, err
	}
	names, keys, err := asked.keys(svc)
	if err != nil {
		return nil, err
	}
	answer, err := call(ctx, client.Request{
		Service: f.service, Features: f.features, Keys: keysOf(names, keys), EventTimes: true, ReadTime: f.now.time,
	})
	if err != nil {
		return nil, err
	}
	r := &getReport{
		From: from, ReadTime: answer.ReadTime, FixedReadTime: answer.Fixed, Revision: answer.Revision,
		keyNames: names, keys: keys, n: answer.Rows,
	}
	for _, v := range answer.Views {
		read := viewRead{View: v.Name, Generation: v.Generation}
		if v.Generation != 0 {
			read.T = timePointer(v.T)
		}
		r.Views = append(r.Views, read)
	}
	for _, column := range answer.Columns {
		cells := cellColumn{name: column.Name, values: vectorOf(&column.Values)}
		events := answer.Views[column.View].EventTimes
		for i := range answer.Rows {
			cells.status = append(cells.status, columnar.Status(column.Status(i)))
			var event time.Time
			if events != nil {
				event = events[i]
			}
			cells.events = append(cells.events, event)
		}
		r.columns = append(r.columns, cells)
	}
	return r, nil
}

type getReport struct {
	Version       formatVersion     `json:"version"`
	From          string            `json:"from"` // "online" or "history"
	ReadTime      time.Time         `json:"read_time"`
	FixedReadTime bool              `json:"fixed_read_time"`
	Revision      int64             `json:"revision"`
	Views         []viewRead        `json:"views"`
	Rows          []json.RawMessage `json:"rows"` // made by MarshalJSON, keys and features in their order

	n        int
	keyNames []string
	keys     []*columnar.Vector
	columns  []cellColumn
}

type viewRead struct {
	View       string     `json:"view"`
	Generation uint64     `json:"generation,omitempty"`
	T          *time.Time `json:"t,omitempty"`
}

// cellColumn is one feature of every row.
type cellColumn struct {
	name   string
	values *columnar.Vector
	status []columnar.Status
	events []time.Time
}

// MarshalJSON writes the report with a row per entity.
func (r *getReport) MarshalJSON() ([]byte, error) {
	type plain getReport
	out := plain(*r)
	out.Rows = make([]json.RawMessage, r.n)
	for i := range r.n {
		var b bytes.Buffer
		b.WriteString(`{"keys":{`)
		for k, name := range r.keyNames {
			comma(&b, k)
			member(&b, name)
			b.Write(columnar.AppendJSON(nil, r.keys[k], i))
		}
		b.WriteString(`},"features":{`)
		for k, c := range r.columns {
			comma(&b, k)
			member(&b, c.name)
			b.WriteString(`{"value":`)
			b.Write(columnar.AppendJSON(nil, c.values, i))
			b.WriteString(`,"status":"` + c.status[i].String() + `"`)
			if !c.events[i].IsZero() {
				b.WriteString(`,"event_time":"` + instant(c.events[i]) + `"`)
			}
			b.WriteByte('}')
		}
		b.WriteString("}}")
		out.Rows[i] = b.Bytes()
	}
	return json.Marshal(out)
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

func member(b *bytes.Buffer, name string) {
	quoted, _ := json.Marshal(name) // a string always encodes
	b.Write(quoted)
	b.WriteByte(':')
}

func (r *getReport) text(p *printer) {
	header := make([]string, 0, len(r.keyNames)+4)
	header = append(header, r.keyNames...)
	header = append(header, "FEATURE", "VALUE", "STATUS", "EVENT TIME")
	var rows [][]string
	for i := range r.n {
		var keys []string
		for _, k := range r.keys {
			keys = append(keys, cellText(k, i))
		}
		for _, c := range r.columns {
			status := c.status[i].String()
			if c.status[i] != columnar.Present {
				status = p.warn(status)
			}
			rows = append(rows, append(keys[:len(keys):len(keys)], c.name, cellText(c.values, i), status, instant(c.events[i])))
		}
	}
	p.table(header, rows)
	switch {
	case r.From == "history":
		p.printf("What was known at %s, from history, revision %d.\n", instant(r.ReadTime), r.Revision)
	case r.FixedReadTime:
		p.printf("Read online at %s, a fixed read time, revision %d.\n", instant(r.ReadTime), r.Revision)
	default:
		p.printf("Read online at %s, revision %d.\n", instant(r.ReadTime), r.Revision)
	}
}

// cellText writes a value for people.
func cellText(v *columnar.Vector, i int) string {
	if v.IsNull(i) {
		return "null"
	}
	return string(columnar.AppendText(nil, v, i))
}
