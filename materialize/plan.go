package materialize

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// plan is what a run must do (R12).
type plan struct {
	full     bool
	reason   string        // why full; else what is new
	diff     difference    // of the files there are from those that were consumed
	read     []source.File // whose newest rows are written
	replace  []source.File // changed files, whose rows replace stored ones of equal times
	gone     []string      // paths that leave the ledger
	diverged bool          // rows of changed or deleted files may remain
	// settled is entries of the generation's ledger that change and need no read.
	settled []state.LedgerFile
	// left is the generation that a rebuild before this one was filling: the plan is what it lacks; nil: none.
	left *state.Generation
}

// refill makes the run fill a new generation from all files.
func (p *plan) refill(reason string, files []source.File) {
	*p = plan{full: true, reason: reason, diff: p.diff, read: files}
}

// resume makes a rebuild go on with what another has done, from which the files there are differ by d alone.
func (p *plan) resume(g *state.Generation, run int64, d difference, settled []state.LedgerFile) {
	p.left, p.settled, p.read = g, settled, slices.Concat(d.fresh, d.due)
	p.reason = fmt.Sprintf("%s; continued run %d", p.reason, run)
}

// reads lists the files of the plan as the state has them.
func (p *plan) reads() []state.LedgerFile {
	var reads []state.LedgerFile
	for _, files := range [][]source.File{p.replace, p.read} {
		for _, f := range files {
			reads = append(reads, state.LedgerFile{Path: f.Path, Size: f.Size, Identity: f.Identity})
		}
	}
	return reads
}

// planned lists the files of the plan, and those that are no more, by path.
func (p *plan) planned() []PlannedFile {
	why := map[string]string{}
	for _, part := range []struct {
		why   string
		files []source.File
	}{{FileNew, p.diff.fresh}, {FileChanged, p.diff.changed}, {FileDue, p.diff.due}} {
		for _, f := range part.files {
			why[f.Path] = part.why
		}
	}
	var out []PlannedFile
	for _, f := range slices.Concat(p.replace, p.read) {
		out = append(out, PlannedFile{Path: f.Path, Size: f.Size, Why: cmp.Or(why[f.Path], FileAgain)})
	}
	for _, path := range p.diff.gone {
		out = append(out, PlannedFile{Path: path, Why: FileDeleted})
	}
	slices.SortFunc(out, func(a, b PlannedFile) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// consumed is what a generation may hold rows of.
type consumed struct {
	ledger   []state.LedgerFile
	attempts []state.LedgerFile // of runs that did not end well
}

// planRun compares the files there are with what the generation has consumed. A nil generation needs refill.
func planRun(v *registry.View, g *state.Generation, had consumed, files []source.File, t int64) plan {
	p := plan{diff: compare(had, files, t)}
	if g == nil {
		return p
	}
	if why := outdated(v, g); why != "" {
		p.refill(why, files)
		return p
	}
	d := &p.diff
	if len(d.changed)+len(d.gone) > 0 && v.Source.Rewrites != registry.RewritesReplace {
		p.refill("source files changed: "+(&difference{changed: d.changed, gone: d.gone}).String(), files)
		return p
	}
	p.read, p.replace, p.gone = slices.Concat(d.fresh, d.due), d.changed, d.gone
	p.diverged = len(d.changed)+len(d.gone) > 0
	p.reason = d.String()
	return p
}

// outdated tells why a generation can't become what the view is now, "" if it can.
func outdated(v *registry.View, g *state.Generation) string {
	switch {
	case g.Digest != v.Digest:
		return "definition changed"
	case g.TTL != 0 && (v.TTLMicros == 0 || v.TTLMicros > g.TTL):
		// Rows that a shorter ttl had no use for were left out, or have expired.
		return "ttl raised"
	}
	return ""
}

// difference is how the files of a source differ from a ledger.
type difference struct {
	fresh   []source.File
	changed []source.File
	due     []source.File // unchanged, with held rows that t covers
	gone    []string
}

// pending is the number of files that the ledger does not have as they are.
func (d *difference) pending() int64 { return int64(len(d.fresh) + len(d.changed) + len(d.gone)) }

// String counts the files: "2 new, 1 deleted".
func (d *difference) String() string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{len(d.fresh), FileNew}, {len(d.changed), FileChanged}, {len(d.gone), FileDeleted}, {len(d.due), FileDue}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprint(part.n, " ", part.what))
		}
	}
	return strings.Join(parts, ", ")
}

// compare tells how files differ, at an instant t, from what was consumed. A file that an unfinished run read, and
// that is no longer as it was, counts as changed or gone: rows of it may be online.
func compare(had consumed, files []source.File, t int64) difference {
	var d difference
	known := make(map[string]*state.LedgerFile, len(had.ledger))
	for i := range had.ledger {
		known[had.ledger[i].Path] = &had.ledger[i]
	}
	attempted := map[string]*state.LedgerFile{}
	for i := range had.attempts {
		// Of several states of one file at most one is that of now.
		a := &had.attempts[i]
		if earlier := attempted[a.Path]; earlier != nil {
			a = &state.LedgerFile{Path: a.Path}
		}
		attempted[a.Path] = a
	}
	for _, f := range files {
		l, a := known[f.Path], attempted[f.Path]
		switch {
		case l != nil && !same(l, f), a != nil && !same(a, f):
			d.changed = append(d.changed, f)
		case l == nil:
			d.fresh = append(d.fresh, f)
		case l.Held > 0 && l.HeldFrom <= t:
			d.due = append(d.due, f)
		}
		delete(known, f.Path)
		delete(attempted, f.Path)
	}
	for path := range known {
		d.gone = append(d.gone, path)
		delete(attempted, path)
	}
	for path := range attempted {
		d.gone = append(d.gone, path)
	}
	slices.Sort(d.gone)
	return d
}

// settledAfter is how long after its last change a file must be listed for its times to tell a later change.
const settledAfter = 2 * time.Second

// unsettled reports whether a file was changed so shortly before it was listed that it may change once more and not show it:
// times of files are coarse. Both are the machine's time, or the object store's.
func unsettled(f source.File, listed time.Time) bool {
	return !f.Modified.IsZero() && f.Modified.After(listed.Add(-settledAfter))
}

// recheck looks again at the files of a ledger that were unsettled: one whose footer is another has changed after all. It
// returns the entries of those that have settled.
func (s *Service) recheck(ctx context.Context, ledger []state.LedgerFile, files []source.File, listed time.Time) ([]state.LedgerFile, error) {
	listing := make(map[string]source.File, len(files))
	for _, f := range files {
		listing[f.Path] = f
	}
	var settled []state.LedgerFile
	for i := range ledger {
		l := &ledger[i]
		f, ok := listing[l.Path]
		if !l.Unsettled || !ok || !same(l, f) {
			continue
		}
		footer, err := s.cfg.Files.FooterDigest(ctx, f)
		switch {
		case problem.CodeOf(err) == problem.Conflict, err == nil && footer != l.Footer:
			l.Identity = "" // what was consumed is no more
		case err != nil:
			return nil, err
		case !unsettled(f, listed):
			l.Unsettled = false
			settled = append(settled, *l)
		}
	}
	return settled, nil
}

// same reports whether a file is as it was consumed.
func same(l *state.LedgerFile, f source.File) bool {
	return l.Identity == f.Identity && l.Size == f.Size
}
