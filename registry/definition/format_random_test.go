package definition

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
)

// scribe writes definitions as nobody would: any order of keys, any style, and comments wherever YAML has them.
type scribe struct {
	*rand.Rand
	out      strings.Builder
	comments []string
	within   int // indentation of the block scalar that would take in what is written next, 0 for none
}

type pair struct {
	key   string
	value any // string: a text; raw: written as it is; []any, []pair
}

type raw string

func (s *scribe) one(of ...string) string { return of[s.IntN(len(of))] }

func (s *scribe) some() bool { return s.IntN(3) == 0 }

func (s *scribe) comment() string {
	c := fmt.Sprintf("#%s%d%s", s.one("", " ", " it's: [\"", "# {", " - "), len(s.comments), s.one("", ".", "\"]"))
	s.comments = append(s.comments, c)
	return c
}

// behind ends a line, perhaps with a comment.
func (s *scribe) behind() {
	if s.IntN(4) == 0 {
		s.out.WriteString(s.one(" ", "  ", "\t", "      ") + s.comment())
	}
	s.out.WriteString(s.one("", "", "", " ") + "\n")
}

// between writes empty lines and comments of any indentation.
func (s *scribe) between() {
	for s.some() {
		switch {
		case s.some():
			most := 9
			if s.within > 0 {
				most = s.within
			}
			s.out.WriteString(strings.Repeat(" ", s.IntN(most)) + s.comment())
			s.within = 0
		case s.within == 0:
			s.out.WriteString(s.one("", "  "))
		}
		s.out.WriteString("\n")
	}
	s.within = 0
}

// shuffled returns pairs in any order, optional ones sometimes left out.
func (s *scribe) shuffled(must []pair, may ...pair) []pair {
	for _, p := range may {
		if s.some() {
			must = append(must, p)
		}
	}
	s.Shuffle(len(must), func(i, j int) { must[i], must[j] = must[j], must[i] })
	return must
}

func (s *scribe) text() string {
	return s.one("plain", "two words", "a, b", "it's", `"quoted"`, "with # inside", "key: value", "#", "", " ", " led", "true", "12", "~", "- x", "[x",
		"é ü 😀", "tab\there", "two\nlines", "end\n", "ends\n\n", "\n", "  in\n in\n", "back\\slash", "a\u2028b", "\u00a0", "*x", "&x", "!x", "%x", "@x", "`x", "? x", "?",
		strings.Repeat("long words ", 20)+"end", strings.Repeat("x", 200), "---", "...", "a\n\n# b\n  c\nd", "NaN", "null", "<<", "'", "1e3", "2001-01-01", "a\rb")
}

func (s *scribe) meta() []pair {
	tags := []pair{}
	for i := range s.IntN(4) {
		tags = append(tags, pair{fmt.Sprintf("t%d%s", i, s.one("", " x", "é", "-")), s.text()})
	}
	return []pair{{"description", s.text()}, {"owner", s.text()}, {"tags", tags}}
}

func (s *scribe) source() []pair {
	path := any("lake:" + s.one("x", "a b", "**/*.parquet", "{a,b}"))
	if s.some() {
		path = []any{path, "other"}
	}
	time := any("t")
	if s.some() {
		time = s.shuffled([]pair{{"column", "day"}, {"at", "end"}})
	}
	return s.shuffled([]pair{{"parquet", path}, {"event_time", time}},
		append(s.meta(), pair{"timezone", "UTC"}, pair{"created_time", "c d"}, pair{"rewrites", "replace"}, pair{"ambiguous", "latest"})...)
}

func (s *scribe) definition(n int) []pair {
	name := fmt.Sprintf("n%d", n)
	must := []pair{{"name", name}}
	may := append(s.meta(), pair{"was", fmt.Sprintf("w%d", n)})
	switch s.IntN(4) {
	case 0:
		keys := []any{s.shuffled([]pair{{"name", "k"}, {"type", "string"}}), s.shuffled([]pair{{"name", "l"}, {"type", "int64"}})}
		return s.shuffled(append(must, pair{"kind", KindEntity}, pair{"join_keys", keys[s.IntN(2):]}), may...)
	case 1:
		source := slices.DeleteFunc(s.source(), func(p pair) bool { return slices.Contains(metaKeys, p.key) })
		return s.shuffled(slices.Concat(must, source, []pair{{"kind", KindSource}}), may...)
	case 2:
		var features []any
		for i := range s.IntN(4) + 1 {
			feature := []pair{{"name", fmt.Sprintf("f%d", i)}, {"type", "string"}}
			features = append(features, s.shuffled(feature, append(s.meta(), pair{"default", s.text()}, pair{"column", "a.b c"}, pair{"was", fmt.Sprintf("g%d", i)})...))
		}
		if s.some() {
			features = append(features, s.shuffled([]pair{{"name", "g"}, {"type", "list<float64>"}, {"default", []any{raw("1"), raw("-5e3"), raw(".nan")}}}))
		}
		return s.shuffled(append(must, pair{"kind", KindFeatureView}, pair{"entities", []any{}}, pair{"source", s.source()}, pair{"features", features}),
			append(may, pair{"ttl", "6h"}, pair{"online", raw("true")}, pair{"schedule", "*/15 * * * *"})...)
	default:
		var views []any
		for i := range s.IntN(3) + 1 {
			views = append(views, s.shuffled([]pair{{"view", fmt.Sprintf("v%d", i)}}, pair{"prefix", fmt.Sprintf("p%d_", i)}, pair{"join", []pair{{"k", "a column"}}},
				pair{"features", []any{"f0", s.shuffled([]pair{{"name", "f1"}, {"as", "g"}})}}))
		}
		return s.shuffled(append(must, pair{"kind", KindFeatureService}, pair{"features", views}), append(may, pair{"locked", raw("true")})...)
	}
}

// block writes a mapping or a list, each entry on lines of its own.
func (s *scribe) block(v any, indent int, led bool) {
	start := func() {
		if !led {
			s.between()
			s.out.WriteString(strings.Repeat(" ", indent))
		}
		led = false
	}
	switch v := v.(type) {
	case []pair:
		for _, p := range v {
			start()
			s.out.WriteString(s.flat(p.key) + ":")
			s.value(p.value, indent, true)
		}
	case []any:
		for _, e := range v {
			start()
			s.out.WriteString("-")
			s.value(e, indent, false)
		}
	}
}

// value writes what is behind a colon or a dash, and the rest of the line.
func (s *scribe) value(v any, indent int, ofKey bool) {
	inner := indent + 1 + s.IntN(4)
	empty := false
	switch v := v.(type) {
	case []pair:
		empty = len(v) == 0
		if !empty && !ofKey && s.some() {
			s.out.WriteString(strings.Repeat(" ", inner-indent-1) + " ")
			s.block(v, inner+1, true)
			return
		}
	case []any:
		empty = len(v) == 0
		if ofKey && s.some() {
			inner = indent
		}
	case string:
		if s.some() && s.literal(v, indent, inner) {
			return
		}
		empty = true
	case raw:
		empty = true
	}
	if !empty && s.IntN(2) == 0 {
		s.behind()
		s.block(v, inner, false)
		return
	}
	if s.some() {
		s.behind()
		s.between()
		s.out.WriteString(strings.Repeat(" ", indent+1+s.IntN(3)))
	} else {
		s.out.WriteString(" ")
	}
	s.flow(v, indent+1)
	s.behind()
}

// literal writes a text as a block scalar, where it can be one.
func (s *scribe) literal(text string, indent, inner int) bool {
	if inner == indent || strings.Trim(text, "\n") == "" || strings.ContainsAny(text, "\r\u2028\u00a0") || strings.HasPrefix(text, "\n") {
		return false
	}
	s.out.WriteString(" |")
	if text[0] == ' ' || s.some() {
		fmt.Fprint(&s.out, inner-indent)
	}
	body := strings.TrimRight(text, "\n")
	switch len(text) - len(body) {
	case 0:
		s.out.WriteString("-")
	case 1:
	default:
		s.out.WriteString("+")
	}
	s.behind()
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			line = strings.Repeat(" ", inner) + line
		}
		s.out.WriteString(line + "\n")
	}
	s.out.WriteString(strings.Repeat("\n", max(0, len(text)-len(body)-1)))
	s.within = inner
	return true
}

// flat writes a text in one line, in any quotes that can hold it.
func (s *scribe) flat(text string) string {
	if (words.MatchString(text) || text == "a.b c") && bare(text) && s.IntN(2) == 0 {
		return text
	}
	if !strings.ContainsAny(text, "\n\r\t\u2028\u00a0") && s.IntN(2) == 0 {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\u2028", `\L`, "\u00a0", `\_`).Replace(text) + `"`
}

// flow writes a value in brackets, across lines and with comments where that comes to mind.
func (s *scribe) flow(v any, indent int) {
	gap := func() {
		if s.IntN(6) == 0 {
			s.behind()
			s.between()
			s.out.WriteString(strings.Repeat(" ", indent))
		}
		s.out.WriteString(s.one("", " "))
	}
	list := func(open, closing string, n int, each func(i int)) {
		s.out.WriteString(open)
		for i := range n {
			gap()
			each(i)
			gap()
			if i+1 < n || s.some() {
				s.out.WriteString(",")
			}
		}
		gap()
		s.out.WriteString(closing)
	}
	switch v := v.(type) {
	case []pair:
		list("{", "}", len(v), func(i int) {
			s.out.WriteString(s.flat(v[i].key) + ": ")
			gap()
			s.flow(v[i].value, indent)
		})
	case []any:
		list("[", "]", len(v), func(i int) { s.flow(v[i], indent) })
	case string:
		s.out.WriteString(s.flat(v))
	case raw:
		s.out.WriteString(string(v))
	}
}

// TestFormatRandom: whatever the style, the meaning stays, every comment stays, and formatting twice changes nothing.
func TestFormatRandom(t *testing.T) {
	rng := testenv.Rand(t)
	rounds := 500
	if testenv.Long() {
		rounds = 3_000
	}
	for range rounds {
		s := &scribe{Rand: rng}
		for i := range rng.IntN(4) {
			if i > 0 || s.some() {
				s.between()
				s.out.WriteString(s.one("---", "---", "--- ", "...\n---", "---\n---"))
				s.behind()
			}
			s.block(s.definition(i), 0, false)
		}
		s.between()
		content := s.out.String()
		if s.some() {
			content = strings.ReplaceAll(content, "\n", "\r\n")
		}
		if s.some() {
			content = strings.TrimRight(content, "\r\n")
		}
		out := formatted(t, "f.yaml", []byte(content))
		for i, c := range s.comments {
			if bytes.Count(out, []byte(c)) != strings.Count(content, c) {
				t.Fatalf("comment %d, %s, is lost:\n%s\nresult:\n%s", i, c, content, out)
			}
		}
	}
}
