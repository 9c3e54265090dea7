package cli

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry/plan"
)

type planReport struct {
	Version      formatVersion           `json:"version"`
	BaseRevision int64                   `json:"base_revision"`
	Against      string                  `json:"against,omitempty"` // a commit or a folder, in place of a revision
	Summary      string                  `json:"summary"`
	Breaking     bool                    `json:"breaking"`
	Changes      []plan.DefinitionChange `json:"changes"`
	Services     []string                `json:"services"`
	Generations  []string                `json:"generations"`
	Estimates    []plan.Estimate         `json:"estimates,omitempty"`
	Warnings     []diag.Diagnostic       `json:"warnings"`

	plan *plan.Plan
}

func newPlanReport(p *plan.Plan, warnings diag.Set) *planReport {
	if warnings == nil {
		warnings = diag.Set{}
	}
	return &planReport{
		BaseRevision: p.BaseRevision, Summary: p.Summary(), Breaking: p.Breaking(), Changes: p.Changes,
		Services: p.Services, Generations: p.Generations, Estimates: p.Estimates, Warnings: warnings, plan: p,
	}
}

// base is what the definitions were compared with.
func (r *planReport) base() string {
	if r.Against != "" {
		return r.Against
	}
	return fmt.Sprintf("revision %d", r.BaseRevision)
}

func (r *planReport) text(p *printer) {
	for _, w := range r.Warnings {
		p.printf("%s %s\n", p.warn("Warning:"), w)
	}
	if r.plan.Empty() {
		p.printf("No changes: the definitions are those of %s.\n", r.base())
		return
	}
	p.printf("Changes to %s:\n\n", r.base())
	for _, c := range r.Changes {
		p.change(c)
	}
	p.printf("\n%s.\n", r.Summary)
	if len(r.Services) > 0 {
		p.wrapped("Services touched: ", list(r.Services)+".")
	}
	if len(r.Generations) > 0 {
		p.wrapped("Views filled anew by their next run: ", list(r.Generations)+". What is online serves until then.")
	}
	if len(r.Estimates) > 0 {
		p.printf("\n")
		p.table(estimateHeader, estimateRows(r.Estimates))
	}
	switch r.verdict() {
	case planRefused:
		p.printf("\n%s\n", p.bad("A locked service would change shape: this plan can't be applied."))
	case planBreaking:
		p.printf("\n%s\n", p.bad("Some of this breaks what is in use; see the lines marked breaking."))
	}
}

// verdict is what a plan's hazards come to.
type verdict int

const (
	planFine verdict = iota
	planBreaking
	planRefused
)

func (r *planReport) verdict() verdict {
	const allowed = true
	switch {
	case r.plan.Allowed(allowed) != nil:
		return planRefused
	case r.Breaking:
		return planBreaking
	}
	return planFine
}

var estimateHeader = []string{"VIEW", "FILES#", "ROWS#", "KEYS#", "READS#", "STORES#"}

func estimateRows(estimates []plan.Estimate) [][]string {
	known := func(n int64, text string) string {
		if n == 0 {
			return "-"
		}
		return text
	}
	rows := make([][]string, len(estimates))
	for i, e := range estimates {
		scaled := "" // rows and bytes are counted, where every file was looked at
		if e.Sampled < e.Files {
			scaled = "≈ "
		}
		rows[i] = []string{
			e.View, count(e.Files), scaled + count(e.Rows), known(e.Keys, "≈ "+count(e.Keys)),
			scaled + humanize.IBytes(uint64(e.ReadBytes)), known(e.StoredBytes, "≈ "+humanize.IBytes(uint64(e.StoredBytes))),
		}
	}
	return rows
}

func (p *printer) change(c plan.DefinitionChange) {
	switch c.Action {
	case plan.Add:
		p.printf("  %s %s %s\n", p.good("+"), c.Kind, c.Name)
	case plan.Delete:
		p.printf("  %s %s %s\n", p.bad("-"), c.Kind, c.Name)
	case plan.Change:
		p.printf("  %s %s %s\n", p.warn("~"), c.Kind, c.Name)
	case plan.Rename:
		p.printf("  %s %s %s, was %s\n", p.warn("~"), c.Kind, c.Name, c.Was)
	}
	width := 0
	for _, f := range c.Fields {
		width = max(width, lipgloss.Width(f.Path))
	}
	for _, f := range c.Fields {
		path := f.Path + ":" + strings.Repeat(" ", width-lipgloss.Width(f.Path))
		switch {
		case f.Old == "":
			p.printf("      %s %s\n", path, p.good(oneLine(f.New)))
		case f.New == "":
			p.printf("      %s %s, removed\n", path, p.bad(oneLine(f.Old)))
		default:
			p.printf("      %s %s -> %s\n", path, oneLine(f.Old), oneLine(f.New))
		}
	}
	for _, h := range c.Hazards {
		title := p.warn("hazard:")
		if h.Breaking {
			title = p.bad("breaking:")
		}
		p.wrapped("      "+title+" ", h.Code+": "+oneLine(h.Message))
	}
}
