package cli

import (
	"fmt"
	"strings"

	"github.com/provender-dev/provender/registry/plan"
)

// commentLimit is the most characters of a comment on GitHub; bytes are counted, which are no fewer.
const commentLimit = 65_536

// markdown writes a plan as a comment on a pull request. Where it is too long, blocks are left out from the end, and a note
// tells so. The first line is how the comment is found again.
func (r *planReport) markdown() string {
	m := &comment{}
	m.add("<!-- provender plan -->\n### %s\n", r.headline())
	for _, w := range r.Warnings {
		m.add("\n> **Warning** %s\n", escaped(w.String()))
	}
	r.markdownHazards(m)
	r.markdownChanges(m)
	if len(r.Services) > 0 {
		m.add("\n**Services touched:** %s\n", codes(r.Services))
	}
	if len(r.Generations) > 0 {
		m.add("\n**Views filled anew by their next run:** %s. What is online serves until then.\n", codes(r.Generations))
	}
	if len(r.Estimates) > 0 {
		m.add("\n| view | files | rows | keys | reads | stores |\n|---|--:|--:|--:|--:|--:|\n")
		for _, row := range estimateRows(r.Estimates) {
			m.add("| %s | %s |\n", code(row[0]), strings.Join(row[1:], " | "))
		}
	}
	r.markdownDetails(m)
	return m.String()
}

func (r *planReport) headline() string {
	switch r.verdict() {
	case planRefused:
		return "Provender: " + r.Summary + ": ⛔ a locked service would change shape"
	case planBreaking:
		return "Provender: " + r.Summary + ": ⚠️ breaking"
	}
	if r.plan.Empty() {
		return "Provender: no changes to " + escaped(r.base())
	}
	return "Provender: " + r.Summary
}

func (r *planReport) markdownHazards(m *comment) {
	hazards := r.plan.Hazards()
	if len(hazards) == 0 {
		return
	}
	m.add("\n| hazard | what happens | services |\n|---|---|---|\n")
	for _, h := range hazards {
		mark := ""
		switch {
		case h.Code == plan.LockedService:
			mark = "⛔ "
		case h.Breaking:
			mark = "⚠️ "
		}
		m.add("| %s%s | %s | %s |\n", mark, code(h.Code), escaped(h.Message), codes(h.Services))
	}
}

func (r *planReport) markdownChanges(m *comment) {
	if len(r.Changes) == 0 {
		return
	}
	m.add("\n| | definition | fields |\n|---|---|--:|\n")
	for _, c := range r.Changes {
		name := code(c.Name)
		if c.Was != "" {
			name += ", was " + code(c.Was)
		}
		fields := ""
		if len(c.Fields) > 0 {
			fields = count(int64(len(c.Fields)))
		}
		m.add("| %s | %s %s | %s |\n", c.Action, c.Kind, name, fields)
	}
}

func (r *planReport) markdownDetails(m *comment) {
	var blocks []string
	for _, c := range r.Changes {
		if len(c.Fields) == 0 {
			continue
		}
		var b strings.Builder
		for _, f := range c.Fields {
			if f.Old != "" {
				fmt.Fprintf(&b, "- %s: %s\n", f.Path, oneLine(f.Old))
			}
			if f.New != "" {
				fmt.Fprintf(&b, "+ %s: %s\n", f.Path, oneLine(f.New))
			}
		}
		fence := strings.Repeat("`", max(3, longestTicks(b.String())+1))
		blocks = append(blocks, fmt.Sprintf("\n%s %s\n\n%sdiff\n%s%s\n", c.Kind, code(c.Name), fence, b.String(), fence))
	}
	m.details("Fields", blocks)
}

// comment is Markdown up to the limit of a comment.
type comment struct {
	strings.Builder
	cut bool
}

const (
	cutNote    = "\n_Cut: a comment has at most 65,536 characters. `provender plan` has all of it._\n"
	detailsEnd = "\n</details>\n"
)

// fits reports whether a block can be added. The first that can't is noted, and nothing is added after it.
func (m *comment) fits(n int) bool {
	if m.cut {
		return false
	}
	if m.Len()+n > commentLimit-len(cutNote)-len(detailsEnd) {
		m.cut = true
	}
	return !m.cut
}

func (m *comment) add(format string, args ...any) {
	if block := fmt.Sprintf(format, args...); m.fits(len(block)) {
		m.WriteString(block)
	}
}

// details adds blocks that are folded away.
func (m *comment) details(title string, blocks []string) {
	if len(blocks) > 0 {
		begin := "\n<details><summary>" + title + "</summary>\n"
		if m.fits(len(begin) + len(blocks[0])) {
			m.WriteString(begin)
			for _, b := range blocks {
				m.add("%s", b)
			}
			m.WriteString(detailsEnd)
		}
	}
}

// String returns the comment, with the note where it is cut.
func (m *comment) String() string {
	if m.cut {
		return m.Builder.String() + cutNote
	}
	return m.Builder.String()
}

// escaped writes text that means itself, in a table too, and calls nobody's name.
func escaped(s string) string {
	return textEscapes.Replace(oneLine(s))
}

var textEscapes = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", `\|`, `\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`,
	"~", `\~`, "#", `\#`, "@", "@\u200b", "://", ":\u200b//",
)

// code writes a span of code, in a table too.
func code(s string) string {
	s = strings.ReplaceAll(oneLine(s), "|", `\|`)
	ticks := strings.Repeat("`", longestTicks(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return ticks + s + ticks
}

func codes(list []string) string {
	spans := make([]string, len(list))
	for i, s := range list {
		spans[i] = code(s)
	}
	return strings.Join(spans, ", ")
}

// oneLine writes control characters, line ends among them, as escapes.
func oneLine(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' {
			fmt.Fprintf(&b, `\u%04x`, c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

func longestTicks(s string) (most int) {
	run := 0
	for _, c := range s {
		if run++; c != '`' {
			run = 0
		}
		most = max(most, run)
	}
	return most
}
