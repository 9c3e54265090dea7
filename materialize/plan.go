package materialize

import (
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// plan is what a run must do (R12).
type plan struct {
	full     bool
	reason   string        // why full
	read     []source.File // whose newest rows are written
	replace  []source.File // changed files, whose rows replace stored ones of equal times
	gone     []string      // paths that leave the ledger
	diverged bool          // rows of changed or deleted files may remain
}

// refill makes the run fill a new generation from all files.
func (p *plan) refill(reason string, files []source.File) {
	*p = plan{full: true, reason: reason, read: files}
}

// planRun compares the files there are with what the generation has consumed. A nil generation needs refill.
func planRun(v *registry.View, g *state.Generation, ledger []state.LedgerFile, files []source.File, t int64) plan {
	if g == nil {
		return plan{}
	}
	var p plan
	if why := outdated(v, g); why != "" {
		p.refill(why, files)
		return p
	}
	d := compare(ledger, files, t)
	if len(d.changed)+len(d.gone) > 0 && v.Source.Rewrites != registry.RewritesReplace {
		p.refill("source files changed", files)
		return p
	}
	p.read, p.replace, p.gone = append(d.fresh, d.due...), d.changed, d.gone
	p.diverged = len(d.changed)+len(d.gone) > 0
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

// compare tells how files differ from a ledger at an instant t.
func compare(ledger []state.LedgerFile, files []source.File, t int64) difference {
	var d difference
	known := make(map[string]*state.LedgerFile, len(ledger))
	for i := range ledger {
		known[ledger[i].Path] = &ledger[i]
	}
	for _, f := range files {
		l := known[f.Path]
		switch {
		case l == nil:
			d.fresh = append(d.fresh, f)
		case l.Identity != f.Identity || l.Size != f.Size:
			d.changed = append(d.changed, f)
		case l.Held > 0 && l.HeldFrom <= t:
			d.due = append(d.due, f)
		}
		delete(known, f.Path)
	}
	for i := range ledger {
		if known[ledger[i].Path] != nil {
			d.gone = append(d.gone, ledger[i].Path)
		}
	}
	return d
}
