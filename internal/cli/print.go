package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/sdk/client"
)

// report is what a command found or did. Its fields are the JSON of docs/reference/json.md, its text the table.
type report interface{ text(p *printer) }

// formatVersion is the version of the JSON contract: every report carries it as "version".
type formatVersion struct{}

// MarshalJSON writes the version.
func (formatVersion) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

// show prints a report on stdout in the form that --output asks for.
func (a *app) show(r report) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	p := a.out()
	r.text(p)
	return p.err
}

// out returns a printer on stdout, for data.
func (a *app) out() *printer { return &printer{w: a.Stdout, colour: a.colour(a.StdoutTerminal)} }

// talk returns a printer on stderr, for everything that is not data.
func (a *app) talk() *printer { return &printer{w: a.Stderr, colour: a.colour(a.StderrTerminal)} }

func (a *app) colour(terminal bool) bool {
	return terminal && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// printError tells an error: what failed, then what to do about it.
func (a *app) printError(err error) {
	p := a.talk()
	var set diag.Set
	if errors.As(err, &set) {
		p.diagnostics(set)
		return
	}
	message := err.Error()
	suggestion := suggestionOf(err)
	message = strings.Replace(message, " ("+suggestion+")", "", 1)
	p.printf("%s %s\n", p.bad("Error:"), strings.TrimRight(message, "\n"))
	if suggestion != "" {
		p.printf("  %s\n", suggestion)
	}
}

// printInterrupted tells that a command did not come to its end, and more where err says more than that.
func (a *app) printInterrupted(err error) {
	p := a.talk()
	if errors.Is(err, context.Canceled) {
		p.printf("%s\n", p.warn("Interrupted."))
	} else {
		p.printf("%s %v\n", p.warn("Interrupted:"), err)
	}
	if suggestion := suggestionOf(err); suggestion != "" {
		p.printf("  %s\n", suggestion)
	}
}

// suggestionOf returns what an error says to do, "" where it says nothing.
func suggestionOf(err error) string {
	var local *problem.Error
	var remote *client.Error
	switch {
	case errors.As(err, &local):
		return local.Suggestion
	case errors.As(err, &remote):
		return remote.Suggestion
	default:
		return ""
	}
}

// printer writes text and remembers the first error.
type printer struct {
	w      io.Writer
	colour bool
	err    error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// command prints a command to copy, on its own indented line.
func (p *printer) command(format string, args ...any) {
	p.printf("    %s\n", fmt.Sprintf(format, args...))
}

func (p *printer) styled(s string, style lipgloss.Style) string {
	if !p.colour || s == "" {
		return s
	}
	return style.Render(s)
}

func (p *printer) bold(s string) string { return p.styled(s, lipgloss.NewStyle().Bold(true)) }
func (p *printer) good(s string) string {
	return p.styled(s, lipgloss.NewStyle().Foreground(lipgloss.Green))
}

func (p *printer) warn(s string) string {
	return p.styled(s, lipgloss.NewStyle().Foreground(lipgloss.Yellow))
}

func (p *printer) bad(s string) string {
	return p.styled(s, lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true))
}

// lineWidth is the most columns of a line of prose.
const lineWidth = 100

// wrapped prints prose behind a title, its lines below each other.
func (p *printer) wrapped(title, text string) {
	indent := lipgloss.Width(title)
	lines := strings.Split(lipgloss.Wrap(text, lineWidth-indent, ""), "\n")
	p.printf("%s%s\n", title, strings.Join(lines, "\n"+strings.Repeat(" ", indent)))
}

// table prints rows under a header, columns aligned, two spaces apart. Columns whose header ends in "#" are numbers,
// aligned right.
func (p *printer) table(header []string, rows [][]string) {
	widths := make([]int, len(header))
	right := make([]bool, len(header))
	titles := make([]string, len(header))
	for i, h := range header {
		titles[i], right[i] = strings.CutSuffix(h, "#")
		widths[i] = lipgloss.Width(titles[i])
	}
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	line := func(cells []string) string {
		var b strings.Builder
		for i, cell := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-lipgloss.Width(cell))
			if right[i] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		return strings.TrimRight(b.String(), " ")
	}
	p.printf("%s\n", p.bold(line(titles)))
	for _, r := range rows {
		p.printf("%s\n", line(r))
	}
}

// plural writes a count with its noun: "1 view", "2 views".
func plural[T int | int64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", count(int64(n)), many)
}

// count writes a number with thousands separated.
func count(n int64) string {
	s := fmt.Sprintf("%d", n)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// instant writes a time as every output does: RFC 3339 in UTC with what digits it needs, "-" for none.
func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// pointedSeconds writes a time cut to seconds, "-" for none.
func pointedSeconds(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return instant(t.Truncate(time.Second))
}

// since writes a duration in the two largest units that say something: "3h12m", "4d2h", "0s".
func since(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		s := fmt.Sprintf("%s%d%s", sign, d/u.size, u.name)
		if i+1 < len(units) {
			if next := d % u.size / units[i+1].size; next > 0 {
				s += fmt.Sprintf("%d%s", next, units[i+1].name)
			}
		}
		return s
	}
	if d >= time.Millisecond {
		return fmt.Sprintf("%s%dms", sign, d/time.Millisecond)
	}
	return "0s"
}

// took writes how long something lasted, for people.
func took(d time.Duration) string {
	if d >= time.Minute || d < time.Second {
		return since(max(d, time.Millisecond))
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// timePointer is a time for JSON: absent rather than the year 1.
func timePointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
