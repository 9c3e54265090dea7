package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// unusedKinds are the kinds that list --unused takes, in the plural; what is unused is told in the singular.
var unusedKinds = map[string]string{"entities": "entity", "sources": "source", "views": "view", "features": "feature"}

type unusedReport struct {
	Version  formatVersion `json:"version"`
	Revision int64         `json:"revision"`
	Unused   []unused      `json:"unused"`
}

type unused struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	UsedBy string `json:"used_by"`
}

// listUnused shows what no service needs: of all kinds, or of the one given.
func (a *app) listUnused(c *cobra.Command, args []string) error {
	only := ""
	if len(args) > 0 && args[0] != "features" && args[0] != "feature" {
		kind, err := kindOf(args[0])
		if err != nil {
			return err
		}
		if kind == "services" {
			e := problem.New(problem.Invalid, "whether anybody asks for a service is not in the definitions")
			e.Suggestion = "lookups by service are counted at /metrics"
			return e
		}
		only = unusedKinds[kind]
	} else if len(args) > 0 {
		only = "feature"
	}
	snapshot, err := a.applied(c.Context())
	if err != nil {
		return err
	}
	r := &unusedReport{Revision: snapshot.Revision, Unused: []unused{}}
	for _, u := range snapshot.Unused() {
		if only == "" || u.Kind == only {
			r.Unused = append(r.Unused, unused{u.Kind, u.Name, u.Reason})
		}
	}
	return a.show(r)
}

func (r *unusedReport) text(p *printer) {
	if len(r.Unused) == 0 {
		p.printf("Services need everything in revision %d.\n", r.Revision)
		return
	}
	rows := make([][]string, len(r.Unused))
	for i, u := range r.Unused {
		rows[i] = []string{u.Kind, u.Name, u.UsedBy}
	}
	p.table([]string{"KIND", "NAME", "USED BY"}, rows)
}

// uses is what show tells of a definition's place among the others.
type uses struct {
	Consumers consumers `json:"consumers"`
	Lineage   []lineage `json:"lineage"`
}

type consumers struct {
	Views    []string `json:"views"`
	Services []string `json:"services"`
}

type lineage struct {
	Source  string   `json:"source"`
	Column  string   `json:"column"`
	View    string   `json:"view"`
	Feature string   `json:"feature"`
	Outputs []output `json:"outputs"`
}

type output struct {
	Service string `json:"service"`
	Name    string `json:"name"`
}

// usesOf returns the consumers of a definition, and the paths of features that pass it.
func usesOf(s *registry.Snapshot, kind, name string) uses {
	c := s.Consumers(kind, name)
	u := uses{Consumers: consumers{Views: orEmpty(c.Views), Services: orEmpty(c.Services)}, Lineage: []lineage{}}
	for _, path := range s.Lineage() {
		l := lineage{Source: path.Source, Column: path.Column, View: path.View, Feature: path.Feature, Outputs: []output{}}
		for _, o := range path.Outputs {
			if kind != "service" || o.Service == name {
				l.Outputs = append(l.Outputs, output(o))
			}
		}
		if passes(s, kind, name, l) {
			u.Lineage = append(u.Lineage, l)
		}
	}
	return u
}

func passes(s *registry.Snapshot, kind, name string, l lineage) bool {
	switch kind {
	case "source":
		return l.Source == name
	case "view":
		return l.View == name
	case "entity":
		return slices.Contains(s.Views[l.View].Entities, name)
	default:
		return len(l.Outputs) > 0
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (u *uses) text(p *printer, kind string) {
	if kind == "entity" || kind == "source" {
		p.printf("\n%-14s %s\n", "views", orDash(list(u.Consumers.Views)))
	}
	if kind != "service" {
		if kind == "view" {
			p.printf("\n")
		}
		p.printf("%-14s %s\n", "services", orDash(list(u.Consumers.Services)))
	}
	if len(u.Lineage) == 0 {
		return
	}
	rows := make([][]string, len(u.Lineage))
	for i, l := range u.Lineage {
		outputs := make([]string, len(l.Outputs))
		for j, o := range l.Outputs {
			outputs[j] = o.Service + ":" + o.Name
		}
		rows[i] = []string{l.Source + "." + l.Column, l.View + ":" + l.Feature, orDash(list(outputs))}
	}
	p.printf("\n")
	p.table([]string{"COLUMN", "FEATURE", "IN SERVICES"}, rows)
}
