package definition

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/diag"
)

const embeddedScheme = "embedded://"

// Embedded is what an embedded:// URL says: where the store is, and its settings, 0 for the default.
type Embedded struct {
	Path    string // as written; a relative one is relative to the project's folder
	Cache   int64  // bytes
	MaxSize int64  // bytes on disk
}

// embeddedSetting is one parameter of an embedded:// URL, a size.
type embeddedSetting struct {
	name        string
	least, most int64
	bounds      string
	example     string
	value       func(*Embedded) *int64
}

var embeddedSettings = []embeddedSetting{
	{"cache", 1 << 20, 1 << 40, "from 1MiB to 1TiB", "256MiB", func(e *Embedded) *int64 { return &e.Cache }},
	{"max_size", 128 << 20, math.MaxInt64, "at least 128MiB", "50GiB", func(e *Embedded) *int64 { return &e.MaxSize }},
}

var embeddedNames = func() []string {
	names := make([]string, len(embeddedSettings))
	for i, s := range embeddedSettings {
		names[i] = s.name
	}
	return names
}()

// URLProblem is what is wrong with a part of a URL, and what mends it. It has no values: one could be a secret in the
// wrong place.
type URLProblem struct{ Message, Hint string }

// ParseEmbedded reads an embedded:// URL and returns all that is wrong with it.
func ParseEmbedded(text string) (Embedded, []URLProblem) {
	rest, _ := strings.CutPrefix(text, embeddedScheme)
	path, query, _ := strings.Cut(rest, "?")
	e := Embedded{Path: path}
	var problems []URLProblem
	report := func(hint, format string, args ...any) {
		problems = append(problems, URLProblem{fmt.Sprintf(format, args...), hint})
	}
	if path == "" {
		report("write "+embeddedScheme+"PATH", "nothing stands behind %s", embeddedScheme)
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if part == "" {
			continue
		}
		i := slices.Index(embeddedNames, name)
		if i < 0 {
			hint := diag.Suggest(name, embeddedNames)
			if hint == "" {
				hint = "there are " + strings.Join(embeddedNames, " and ")
			}
			report(hint, "an embedded store has no parameter %q", name)
			continue
		}
		known := embeddedSettings[i]
		if seen[name] {
			report("", "the parameter %s stands there twice", name)
			continue
		}
		seen[name] = true
		value, err := url.QueryUnescape(value)
		n, ok := parseSize(value)
		switch {
		case err != nil || !ok:
			report("write "+name+"="+known.example+", or a number of bytes", "the parameter %s is not a size", name)
		case n < known.least || n > known.most:
			report("write "+name+"="+known.example, "the parameter %s must be %s", name, known.bounds)
		default:
			*known.value(&e) = n
		}
	}
	return e, problems
}
