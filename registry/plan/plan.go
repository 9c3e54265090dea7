// Package plan compares two states of a project's definitions: what apply would change, what of that breaks somebody,
// and which services and generations it touches. It is pure: it reads no file and no database.
package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// formatVersion is the version of a plan's JSON.
const formatVersion = 2

// Action is what happens to a definition.
type Action string

// The actions.
const (
	Add    Action = "add"
	Change Action = "change"
	Rename Action = "rename" // and whatever changes besides
	Delete Action = "delete"
)

// The kinds, as definition files name them.
const (
	kindEntity  = "Entity"
	kindSource  = "Source"
	kindView    = "FeatureView"
	kindService = "FeatureService"
)

// Plan is everything that one apply would do, the target included, so that apply does exactly what was shown. Its JSON
// round-trips.
type Plan struct {
	Version      int                `json:"version"`
	BaseRevision int64              `json:"base_revision"`
	BaseDigest   string             `json:"base_digest"`
	TargetDigest string             `json:"target_digest"`
	Changes      []DefinitionChange `json:"changes"`
	Services     []string           `json:"services"`            // that answer otherwise, or are new or gone; in name order
	Generations  []string           `json:"generations"`         // views whose rows are filled anew; in name order
	Estimates    []Estimate         `json:"estimates,omitempty"` // of Generations whose files can be read; in name order
	// FilesDigest is that of the definition files it was made from, "" for a rollback. Who makes the plan adds it.
	FilesDigest string `json:"files_digest,omitempty"`
	// RollbackOf is the revision that the target equals, 0 where it comes from files. Who makes the plan adds it.
	RollbackOf int64                 `json:"rollback_of,omitempty"`
	Target     *registry.Definitions `json:"target"`
}

// Estimate is what filling a view anew reads and stores, by the statistics of its files. Who makes the plan adds it.
type Estimate struct {
	View        string `json:"view"`
	Files       int64  `json:"files"`
	Sampled     int64  `json:"sampled"`      // files that were looked at; where fewer, all figures are in proportion
	Rows        int64  `json:"rows"`         // of all files; a view with ttl reads fewer
	Keys        int64  `json:"keys"`         // about so many entities; 0: not known
	ReadBytes   int64  `json:"read_bytes"`   // of the columns needed, as the files store them
	StoredBytes int64  `json:"stored_bytes"` // about so many online, what the store adds left out; 0: not known
}

// DefinitionChange is one definition that is added, changed, renamed or deleted.
type DefinitionChange struct {
	Action  Action        `json:"action"`
	Kind    string        `json:"kind"` // as definition files have it
	Name    string        `json:"name"`
	Was     string        `json:"was,omitempty"`     // of a rename: the name before
	Fields  []FieldChange `json:"fields,omitempty"`  // of a change or rename, by path
	Hazards []Hazard      `json:"hazards,omitempty"` // breaking ones first
	// NewGeneration: the view's rows must be filled anew (R12); what is online serves until then.
	NewGeneration bool `json:"new_generation,omitempty"`
	// Services are those that the change touches, in name order.
	Services []string `json:"services,omitempty"`
}

// FieldChange is one field of a definition, as definition files write it. A feature that is renamed has one of its name,
// "features.new_name.name", and its others under the new name.
type FieldChange struct {
	Path string `json:"path"`          // "ttl", "features.mean_delay_1h.type"
	Old  string `json:"old,omitempty"` // "" where it was not there
	New  string `json:"new,omitempty"` // "" where it goes
}

// Make returns the plan that leads from a revision to a target as definition files have it: what was there keeps the name
// that it is stored under, and `was` renames. Both must compile; an error is of class Invalid. The arguments stay as they
// are; the plan's Target has the stored names.
func Make(base registry.Revision, current, target *registry.Definitions) (*Plan, error) {
	return makePlan(base, current, target, fromFiles)
}

// Restore returns the plan that leads to a target as a revision or another plan has it, stored names included: what goes
// by one stored name is one thing, whatever it is called.
func Restore(base registry.Revision, current, target *registry.Definitions) (*Plan, error) {
	return makePlan(base, current, target, fromRegistry)
}

func makePlan(base registry.Revision, current, target *registry.Definitions, from origin) (*Plan, error) {
	before, err := registry.Compile(base.Number, current)
	if err != nil {
		return nil, err
	}
	target = clone(target)
	matched, err := matchAll(current, target, from, base.Number+1)
	if err != nil {
		return nil, err
	}
	after, err := registry.Compile(base.Number+1, target)
	if err != nil {
		return nil, err
	}
	d := &differ{before: before, after: after, matches: matched}
	if err := d.run(); err != nil {
		return nil, err
	}
	p := &Plan{
		Version: formatVersion, BaseRevision: base.Number, BaseDigest: before.Digest, TargetDigest: after.Digest,
		Changes: append([]DefinitionChange{}, d.changes...), Services: []string{}, Generations: []string{}, Target: target,
	}
	for _, c := range p.Changes {
		p.Services = append(p.Services, c.Services...)
		if c.NewGeneration {
			p.Generations = append(p.Generations, c.Name)
		}
	}
	slices.Sort(p.Services)
	p.Services = slices.Compact(p.Services)
	slices.Sort(p.Generations)
	return p, nil
}

// Empty reports whether there is nothing to apply.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Hazards returns the hazards of all changes, breaking ones first.
func (p *Plan) Hazards() []Hazard {
	var all []Hazard
	for _, c := range p.Changes {
		all = append(all, c.Hazards...)
	}
	slices.SortStableFunc(all, breakingFirst)
	return all
}

// Breaking reports whether any change breaks what callers of a named service rely on.
func (p *Plan) Breaking() bool {
	return slices.ContainsFunc(p.Hazards(), func(h Hazard) bool { return h.Breaking })
}

// Allowed returns why the plan may not be applied, of class Precondition: it breaks somebody, and that is not allowed, or
// it changes the shape of a locked service, which nothing allows.
func (p *Plan) Allowed(breaking bool) error {
	var broken []string
	for _, h := range p.Hazards() {
		switch {
		case h.Code == LockedService:
			err := problem.New(problem.Precondition, "the plan changes what is locked; nothing was applied\n  %s", h.Message)
			err.Suggestion = "declare a new service, or take `locked` away and apply that first"
			return err
		case h.Breaking:
			broken = append(broken, fmt.Sprintf("\n  %s [%s]", h.Message, strings.Join(h.Services, ", ")))
		}
	}
	if len(broken) == 0 || breaking {
		return nil
	}
	err := problem.New(problem.Precondition, "the plan breaks what is in use; nothing was applied%s", strings.Join(broken, ""))
	err.Suggestion = "where their callers are ready for it: --allow-breaking"
	return err
}

// Count returns how many definitions have an action.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == a {
			n++
		}
	}
	return n
}

// actions are in the order of summaries; renames are told of where there are any.
var actions = []struct {
	action     Action
	todo, done string
}{{Add, "add", "added"}, {Change, "change", "changed"}, {Rename, "rename", "renamed"}, {Delete, "delete", "deleted"}}

// Summary returns "2 to add, 1 to change, 0 to delete".
func (p *Plan) Summary() string {
	var parts []string
	for _, a := range actions {
		if n := p.Count(a.action); n > 0 || a.action != Rename {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a.todo))
		}
	}
	return strings.Join(parts, ", ")
}

// Done returns the summary in the past tense, for a revision's record: "2 added, 1 changed", "no changes".
func (p *Plan) Done() string {
	var parts []string
	for _, a := range actions {
		if n := p.Count(a.action); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, a.done))
		}
	}
	if len(parts) == 0 {
		return "no changes"
	}
	return strings.Join(parts, ", ")
}

// Marshal returns the plan as a file has it.
func (p *Plan) Marshal() ([]byte, error) {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write plan: %w", err)
	}
	return append(b, '\n'), nil
}

// Unmarshal reads a plan file. A file that is none, that was changed by hand, or that another version wrote is an error
// of class Invalid.
func Unmarshal(b []byte) (*Plan, error) {
	p := new(Plan)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, problem.New(problem.Invalid, "read plan: not a plan file: %w", err)
	}
	again := func(what string) error {
		return &problem.Error{Code: problem.Invalid, Message: "read plan: " + what, Suggestion: "run provender plan --out again"}
	}
	switch {
	case p.Version != formatVersion:
		return nil, again(fmt.Sprintf("format version %d, this Provender knows %d", p.Version, formatVersion))
	case p.Target == nil || !p.Target.Complete():
		return nil, again("it is not complete")
	case p.Target.Digest() != p.TargetDigest:
		return nil, again("its definitions are not those that were planned")
	}
	p.restoreWas()
	return p, nil
}

// restoreWas gives the target the renames back, which its JSON does not keep.
func (p *Plan) restoreWas() {
	was := map[[2]string]string{}
	for _, c := range p.Changes {
		if c.Action == Rename {
			was[[2]string{c.Kind, c.Name}] = c.Was
		}
	}
	for _, e := range p.Target.Entities {
		e.Was = was[[2]string{kindEntity, e.Name}]
	}
	for _, s := range p.Target.Sources {
		s.Was = was[[2]string{kindSource, s.Name}]
	}
	for _, v := range p.Target.Views {
		v.Was = was[[2]string{kindView, v.Name}]
	}
	for _, s := range p.Target.Services {
		s.Was = was[[2]string{kindService, s.Name}]
	}
}
