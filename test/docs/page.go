// Package docs runs the blocks of the documentation: what a page shows is what happens.
//
// Blocks of sh, python and sql run in order, in a scratch copy of the flights example with its definitions applied. A page
// has one shell, which keeps its folder from block to block, and one Python, which keeps its variables, has the package
// provender, and shows what the last line of a block is, as notebooks do; sql is DuckDB's. A comment on the line before a
// block says more:
//
//	<!-- output -->          it is what the block before printed on stdout; … stands for anything, alone for any lines
//	<!-- exit 3 -->          it ends with this code
//	<!-- file: spine.csv --> it is written into a file
//	<!-- background -->      it runs until the page ends
//	<!-- not run: reason --> it can't run here
//
// Blocks of go are programs of this module. 127.0.0.1:6565 and :6566, where the example's server listens, are free ports
// of each page. Blocks of other languages are forms, and are passed over.
package docs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// block is a fenced block of a page.
type block struct {
	line       int // of its first line
	language   string
	text       string
	notRun     string // why it does not run, "" if it does
	output     bool   // it is what the block before prints
	background bool   // it is left running
	file       string // where it is written to
	exit       int
}

var (
	fence  = regexp.MustCompile("^( *)```(\\w*)$")
	marker = regexp.MustCompile(`^ *<!-- (output|background|exit|file|not run)(?::? ([^ ].*))? -->$`)
)

// parse returns the blocks of a page in order.
func parse(page string) ([]block, error) {
	var blocks []block
	var open *block
	var next block // what markers say of the block that follows
	indent := ""
	for i, line := range strings.Split(page, "\n") {
		number := i + 1
		if open != nil {
			if strings.TrimSpace(line) == "```" {
				blocks = append(blocks, *open)
				open = nil
				continue
			}
			open.text += strings.TrimPrefix(line, indent) + "\n"
			continue
		}
		if m := marker.FindStringSubmatch(line); m != nil {
			if err := next.mark(m[1], m[2]); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			continue
		}
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil:
			b := next
			b.line, b.language = number+1, m[2]
			open, next, indent = &b, block{}, m[1]
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			return nil, fmt.Errorf("line %d: not a fence that is understood: %s", number, line)
		case next != block{}:
			return nil, fmt.Errorf("line %d: no block after a marker", number)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block is not closed", open.line)
	}
	return blocks, nil
}

// mark takes in what a marker says.
func (b *block) mark(what, value string) (err error) {
	switch {
	case what == "output" && value == "":
		b.output = true
	case what == "background" && value == "":
		b.background = true
	case what == "exit":
		b.exit, err = strconv.Atoi(value)
	case what == "file" && value != "":
		b.file = value
	case what == "not run" && value != "":
		b.notRun = value
	default:
		err = fmt.Errorf("a marker %q with %q", what, value)
	}
	return err
}

// program reports whether the block is something to run.
func (b *block) program() bool {
	switch b.language {
	case "sh", "python", "sql", "go":
		return !b.output && b.file == ""
	}
	return false
}

// matches reports whether got is what the block shows.
func (b *block) matches(got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for line := range strings.SplitSeq(strings.TrimRight(b.text, "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + ` *\n`)
	}
	pattern.WriteString(`$`)
	return regexp.MustCompile(pattern.String()).MatchString(strings.TrimRight(got, "\n") + "\n")
}
