package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// The kinds that list and show take, in the plural and in the singular.
var (
	pluralKinds   = []string{"entities", "sources", "views", "services"}
	singularKinds = []string{"entity", "source", "view", "service"}
)

// kindOf returns the plural of a kind.
func kindOf(arg string) (string, error) {
	if i := slices.Index(singularKinds, arg); i >= 0 {
		return pluralKinds[i], nil
	}
	if slices.Contains(pluralKinds, arg) {
		return arg, nil
	}
	err := problem.New(problem.Invalid, "there are no %q; the kinds are %s", arg, list(pluralKinds))
	err.Suggestion = diag.Suggest(arg, slices.Concat(pluralKinds, singularKinds))
	return "", err
}

// applied returns the current revision's definitions. Precondition where nothing was applied yet.
func (a *app) applied(ctx context.Context) (snapshot *registry.Snapshot, err error) {
	err = a.withRegistry(ctx, func(ctx context.Context, c *client.Client) error {
		snapshot, err = snapshotOf(ctx, c)
		return err
	})
	if err == nil && snapshot.Revision == 0 {
		err = nothingApplied()
	}
	return snapshot, err
}

func nothingApplied() error {
	err := problem.New(problem.Precondition, "nothing was applied to the registry yet")
	err.Suggestion = "run provender apply first"
	return err
}

func (a *app) listCommand() *cobra.Command {
	var notUsed bool
	c := &cobra.Command{
		Use:       "list KIND",
		Short:     "List what was applied: entities, sources, views or services",
		Example:   "  provender list views\n  provender list services -o json\n  provender list --unused",
		Args:      takes(0, 1),
		ValidArgs: pluralKinds,
		RunE: func(c *cobra.Command, args []string) error {
			if notUsed {
				return a.listUnused(c, args)
			}
			if err := takes(1, 1)(c, args); err != nil {
				return err
			}
			kind, err := kindOf(args[0])
			if err != nil {
				return err
			}
			snapshot, err := a.applied(c.Context())
			if err != nil {
				return err
			}
			return a.show(newListReport(kind, snapshot))
		},
	}
	c.Flags().BoolVar(&notUsed, "unused", false, "list what no service needs: entities, sources, views, features, or those of KIND")
	return c
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "show KIND NAME",
		Short:     "Show one definition as it was applied, what stands on it, and how to look it up",
		Example:   "  provender show view airport_hourly\n  provender show service delay_model_v1 -o json",
		Args:      takes(2, 2),
		ValidArgs: singularKinds,
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := kindOf(args[0])
			if err != nil {
				return err
			}
			snapshot, err := a.applied(c.Context())
			if err != nil {
				return err
			}
			all := newListReport(kind, snapshot)
			i := slices.Index(all.names, args[1])
			if i < 0 {
				one := singularKinds[slices.Index(pluralKinds, kind)]
				return registry.NotFound(one, args[1], snapshot.Revision, all.names)
			}
			kind = singularKinds[slices.Index(pluralKinds, kind)]
			return a.show(&showReport{
				Kind: kind, Revision: snapshot.Revision, Definition: all.Definitions[i], snapshot: snapshot,
				uses: usesOf(snapshot, kind, args[1]), Lookups: a.lookupsOf(c.Context(), snapshot, kind, args[1]),
			})
		},
	}
}

type listReport struct {
	Version     formatVersion `json:"version"`
	Kind        string        `json:"kind"`
	Revision    int64         `json:"revision"`
	Definitions []any         `json:"definitions"`

	names  []string
	header []string
	rows   [][]string
}

func newListReport(kind string, s *registry.Snapshot) *listReport {
	r := &listReport{Kind: kind, Revision: s.Revision, Definitions: []any{}}
	add := func(name string, definition any, cells ...string) {
		r.names = append(r.names, name)
		r.Definitions = append(r.Definitions, definition)
		r.rows = append(r.rows, append([]string{name}, cells...))
	}
	switch kind {
	case "entities":
		r.header = []string{"ENTITY", "JOIN KEYS", "DESCRIPTION"}
		for _, e := range s.Definitions.Entities {
			add(e.Name, e, list(joinKeys(e)), e.Description)
		}
	case "sources":
		r.header = []string{"SOURCE", "PARQUET", "EVENT TIME", "DESCRIPTION"}
		for _, src := range s.Definitions.Sources {
			add(src.Name, src, strings.Join(src.Parquet, ", "), src.EventTime.Column, src.Description)
		}
	case "views":
		r.header = []string{"VIEW", "ENTITIES", "FEATURES#", "TTL#", "SCHEDULE", "ONLINE", "DESCRIPTION"}
		for _, v := range s.Definitions.Views {
			add(v.Name, v, list(v.Entities), fmt.Sprint(len(v.Features)), ttl(v.TTL), orDash(v.Schedule), yesNo(v.Online), v.Description)
		}
	case "services":
		r.header = []string{"SERVICE", "FEATURES#", "KEYS", "OWNER", "DESCRIPTION"}
		for _, svc := range s.Definitions.Services {
			compiled := s.Services[svc.Name]
			add(svc.Name, svc, fmt.Sprint(len(compiled.Outputs)), list(requestKeys(compiled)), orDash(svc.Owner), svc.Description)
		}
	}
	return r
}

func (r *listReport) text(p *printer) {
	if len(r.rows) == 0 {
		p.printf("No %s in revision %d.\n", r.Kind, r.Revision)
		return
	}
	p.table(r.header, r.rows)
}

func joinKeys(e *registry.Entity) []string {
	keys := make([]string, len(e.JoinKeys))
	for i, k := range e.JoinKeys {
		keys[i] = k.Name + " " + k.Type.String()
	}
	return keys
}

func requestKeys(s *registry.Service) []string {
	keys := make([]string, len(s.RequestKeys))
	for i, k := range s.RequestKeys {
		keys[i] = k.Name + " " + k.Kind.String()
	}
	return keys
}

func ttl(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return registry.FormatDuration(d)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

type showReport struct {
	Version    formatVersion `json:"version"`
	Kind       string        `json:"kind"`
	Revision   int64         `json:"revision"`
	Definition any           `json:"definition"`
	uses
	Lookups *lookups `json:"lookups,omitempty"`

	snapshot *registry.Snapshot
}

func (r *showReport) text(p *printer) {
	r.definition(p)
	r.uses.text(p, r.Kind)
	if r.Lookups != nil {
		r.Lookups.text(p)
	}
}

func (r *showReport) definition(p *printer) {
	line := func(name, value string) {
		if value != "" {
			p.printf("%-14s %s\n", name, value)
		}
	}
	meta := func(name string, m registry.Meta) {
		line(r.Kind, p.bold(name))
		line("description", m.Description)
		line("owner", m.Owner)
		line("tags", tags(m.Tags))
	}
	switch d := r.Definition.(type) {
	case *registry.Entity:
		meta(d.Name, d.Meta)
		line("join keys", list(joinKeys(d)))
	case *registry.Source:
		meta(d.Name, d.Meta)
		line("parquet", strings.Join(d.Parquet, ", "))
		line("event time", strings.TrimSpace(d.EventTime.Column+" "+string(d.EventTime.At)))
		line("created time", d.CreatedTime)
		line("timezone", d.Timezone)
		line("ambiguous", string(d.Ambiguous))
		line("rewrites", string(d.Rewrites))
	case *registry.FeatureView:
		meta(d.Name, d.Meta)
		line("entities", list(d.Entities))
		line("source", d.Source)
		line("ttl", ttl(d.TTL))
		line("schedule", strings.TrimSpace(d.Schedule+" "+d.ScheduleTimezone))
		line("online", yesNo(d.Online))
		p.printf("\n")
		rows := make([][]string, len(d.Features))
		for i, f := range d.Features {
			rows[i] = []string{f.Name, f.Type.String(), r.snapshot.Views[d.Name].FeatureColumn(i), fallback(f.Default), f.Description}
		}
		p.table([]string{"FEATURE", "TYPE", "COLUMN", "DEFAULT", "DESCRIPTION"}, rows)
	case *registry.FeatureService:
		meta(d.Name, d.Meta)
		svc := r.snapshot.Services[d.Name]
		line("keys", list(requestKeys(svc)))
		p.printf("\n")
		rows := make([][]string, len(svc.Outputs))
		for i, out := range svc.Outputs {
			read := svc.Reads[out.Read]
			f := read.View.Features[out.Feature]
			rows[i] = []string{out.Name, f.Type.String(), read.View.Name + ":" + f.Name, list(bindings(svc, read))}
		}
		p.table([]string{"FEATURE", "TYPE", "FROM", "KEYS"}, rows)
	}
}

// bindings writes which request key each join key of a read is: "airport=origin".
func bindings(svc *registry.Service, read registry.Read) []string {
	out := make([]string, len(read.Binding))
	for i, k := range read.Binding {
		out[i] = read.View.KeyColumns[i].Name
		if name := svc.RequestKeys[k].Name; name != out[i] {
			out[i] += "=" + name
		}
	}
	return out
}

func tags(m map[string]string) string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func fallback(raw json.RawMessage) string {
	if raw == nil {
		return "-"
	}
	return string(raw)
}
