package diag

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// quoteWidth bounds the characters of a quoted source line.
const quoteWidth = 160

// Render writes one line per problem. With read, which returns a file's content, each is followed by the source line
// and a caret below the column; files that cannot be read are not quoted. Passwords in URLs are masked.
func Render(w io.Writer, set Set, read func(file string) ([]byte, error)) error {
	files := map[string][][]byte{}
	for _, d := range set {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
		if read == nil || d.Line == 0 {
			continue
		}
		lines, ok := files[d.File]
		if !ok {
			if content, err := read(d.File); err == nil {
				lines = bytes.Split(content, []byte("\n"))
			}
			files[d.File] = lines
		}
		if d.Line > len(lines) {
			continue
		}
		if _, err := io.WriteString(w, quote(lines[d.Line-1], d.Line, d.Col)); err != nil {
			return err
		}
	}
	return nil
}

// quote returns the line behind its number, and a caret below column col (0: none).
func quote(line []byte, number, col int) string {
	text := bytes.TrimRight(line, "\r")
	if !utf8.Valid(text) || utf8.RuneCount(text) > quoteWidth {
		return ""
	}
	gutter := fmt.Sprintf("%6d | ", number)
	masked := Mask(string(text))
	out := gutter + masked + "\n"
	// A mask moves what follows it; a caret would then point at the wrong place.
	if col == 0 || masked != string(text) {
		return out
	}
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return '\t'
		}
		return ' '
	}, string([]rune(masked)[:min(col-1, utf8.RuneCountInString(masked))]))
	return out + strings.Repeat(" ", len(gutter)-2) + "| " + pad + "^\n"
}

var secrets = regexp.MustCompile(`(://).*@|([?&](?i:[a-z_]*password|secret|token|key)=)[^&\s"']*`)

// Mask hides the user part of URLs, whatever characters a password has, and secret parameters.
func Mask(s string) string {
	return secrets.ReplaceAllStringFunc(s, func(m string) string {
		if strings.HasPrefix(m, "://") {
			return "://***@"
		}
		name, _, _ := strings.Cut(m, "=")
		return name + "=***"
	})
}
