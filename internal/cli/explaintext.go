package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/offline"
)

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
	life, then := r.life()
	line("age", "%s", life)
	if then != "" {
		line("", "%s", then)
	}
	line("file", "%s", r.Row.File)
	line("", "row group %d, row %s of the file (both from 0)", r.Row.RowGroup, count(r.Row.FileRow))
	among, by := r.chosen()
	line("chosen", "%s", among)
	if by != "" {
		line("", "%s", by)
	}
	if r.Online != nil {
		line("runs", "%s", r.Online.runs())
	}
	if r.Row.Copies > 0 {
		line("copies", "%s in everything; the first by file and row stands", plural(r.Row.Copies, "row equals it", "rows equal it"))
		for _, c := range r.Row.CopiesAt {
			line("", "%s, row group %d, row %s", c.File, c.RowGroup, count(c.FileRow))
		}
	}
}

// runs tells how far the runs into the online store have come with the row.
func (o *explainedOnline) runs() string {
	switch o.State {
	case server.ConsumedNot:
		return "none: the view is for training only"
	case server.ConsumedNever:
		return "none: the view was not materialized yet"
	case server.ConsumedPending:
		return fmt.Sprintf("none has read the file yet; generation %d is complete up to %s", o.Generation, pointed(o.T))
	case server.ConsumedChanged:
		return fmt.Sprintf("the file has changed since run %d read it; the next run takes it up", o.Run)
	case server.ConsumedHeld:
		return fmt.Sprintf("run %d read the file; the row waits for a run beyond %s", o.Run, pointed(o.T))
	default:
		return fmt.Sprintf("run %d read the file; generation %d is complete up to %s", o.Run, o.Generation, pointed(o.T))
	}
}

// life is the arithmetic of ttl (R3, R6), and what comes next.
func (r *explainReport) life() (age, then string) {
	until := func(t *time.Time) string {
		if t == nil {
			return "beyond year 9999"
		}
		return instant(*t)
	}
	switch r.Status {
	case columnar.Expired.String():
		return fmt.Sprintf("%s > ttl %s: expired since %s", r.age, r.ttl, until(r.AliveUntil)), "NOT_FOUND after " + until(r.FoundUntil)
	case columnar.NotFound.String():
		return fmt.Sprintf("%s, past 2 × ttl %s since %s: NOT_FOUND", r.age, r.ttl, until(r.FoundUntil)), ""
	}
	if r.ttl == "" {
		return r.age + "; no ttl, it never expires", ""
	}
	return fmt.Sprintf("%s ≤ ttl %s: alive until %s", r.age, r.ttl, until(r.AliveUntil)), ""
}

// chosen tells among how many rows the row came first, and by which rule where they tie (R4).
func (r *explainReport) chosen() (among, by string) {
	among = "the only row up to then"
	if n := r.RowsBefore; n > 1 {
		among = fmt.Sprintf("the newest of %s rows up to then", count(n))
	}
	if len(r.Before) == 0 {
		return among, ""
	}
	switch next := r.Before[0]; next.Why {
	case offline.LostCreated:
		by = "of its event time the one created last"
	case offline.LostEncoding:
		times := "event time"
		if r.hasCreated {
			times = "event and created time"
		}
		by = fmt.Sprintf("of its %s the one of the greatest encoding, by %s", times, next.DecidedBy)
	}
	return among, by
}

// textNothing says what was looked for where no row up to the instant is there.
func (r *explainReport) textNothing(p *printer) {
	switch {
	case r.nullKey:
		p.printf("  A null key is no entity's. (A value that is empty and not quoted is a null.)\n")
		return
	case r.RowsAfter > 0:
		p.printf("  It has %s, none up to T.\n", plural(r.RowsAfter, "row", "rows"))
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
	if r.Skipped > 0 {
		s += fmt.Sprintf(" Statistics ruled out %s more.", count(r.Skipped))
	}
	if r.NullKeys > 0 {
		s += fmt.Sprintf(" %s dropped for a null key.", plural(r.NullKeys, "row was", "rows were"))
	}
	if r.NullEvents > 0 {
		s += fmt.Sprintf(" %s of the entity dropped for a null event time.", plural(r.NullEvents, "row was", "rows were"))
	}
	return s
}

const maxCell = 16 // characters of a value in the table

// textCandidates lists the rows around the instant, the latest first.
func (r *explainReport) textCandidates(p *printer) {
	if len(r.Before)+len(r.After) == 0 {
		return
	}
	var files []string
	var rows [][]string
	header := []string{"EVENT TIME", "CREATED", "VALUE", "FILE#", "ROW#", ""}
	add := func(e *explainedRow, why string) {
		at := slices.Index(files, e.File)
		if at < 0 {
			at = len(files)
			files = append(files, e.File)
		}
		if e.Copies > 0 {
			why += fmt.Sprintf(" (+%s)", plural(e.Copies, "copy", "copies"))
		}
		rows = append(rows, []string{
			instant(e.EventTime), pointed(e.CreatedTime), clipped(e.text, maxCell), fmt.Sprint(at + 1), count(e.FileRow), why,
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
			why = "created earlier"
		case offline.LostEncoding:
			why = "tied, less by " + e.DecidedBy
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

const microsPerDay = int64(24 * time.Hour / time.Microsecond)

// ageText writes microseconds, which may be more than a time.Duration holds, exactly.
func ageText(us int64) string {
	rest := (time.Duration(us%microsPerDay) * time.Microsecond).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(rest, zero) {
			rest = rest[:len(rest)-2]
		}
	}
	switch days := us / microsPerDay; {
	case days == 0:
		return rest
	case rest == "0s":
		return fmt.Sprintf("%dd", days)
	default:
		return fmt.Sprintf("%dd%s", days, rest)
	}
}
