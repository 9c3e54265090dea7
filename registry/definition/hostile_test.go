package definition

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/diag"
)

// each joins what a function makes of the numbers below n.
func each(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestHostileFiles: files made to take time or memory without bound are refused in little of both, and what is told of
// them is bounded, too. Without limits some of these take hours, or all memory.
func TestHostileFiles(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d]\n"
	view := "kind: FeatureView\nname: v\nentities: []\nsource: {parquet: x, event_time: t}\nfeatures:\n"
	for name, c := range map[string]struct{ text, codes string }{
		"an alias bomb":                {bomb + "f: [*d,*d,*d,*d,*d,*d,*d]\ng: &g [*d,*d,*d,*d,*d,*d,*d]\nh: [*g,*g,*g,*g,*g,*g]\n", codeDocumentTooLarge},
		"an alias bomb per document":   {strings.Repeat(bomb+"---\n", 3_000), codeDocumentTooLarge + " " + codeMissingKey + " " + codeTooMany},
		"aliases of a long text":       {"kind: Entity\nname: &n " + strings.Repeat("X", 1<<20) + "\njoin_keys: [" + strings.Repeat("{name: *n, type: *n},", 10_000) + "]\n", codeDocumentTooLarge},
		"an alias of itself":           {"a: &a {b: *a}\n", codeDocumentTooLarge},
		"deep below a long key":        {"kind: Entity\nname: a\n? " + strings.Repeat("k", 1<<20) + "\n: [" + strings.Repeat("1,", 100_000) + "]\n", codeMissingKey + " " + codeUnknownKey},
		"a long name":                  {"kind: Entity\nname: " + strings.Repeat("a", 1<<20) + "\njoin_keys: [{name: a, type: " + strings.Repeat("b", 1<<20) + "}]\n", codeBadName + " " + codeUnknownType},
		"a hundred thousand documents": {strings.Repeat("a: 1\n---\n", 100_000), codeMissingKey + " " + codeTooMany},
		"a million lines":              {strings.Repeat("#\n", 500_000) + strings.Repeat("\n", 500_000) + "kind: X\n", codeUnknownKind},
		"many unknown keys":            {"kind: Entity\nname: a\njoin_keys: [{name: a, type: int64}]\n" + each(20_000, "joinkeys%d: 1\n"), codeTooMany + " " + codeUnknownKey},
		"many misspelt names": {
			each(5_000, "--- {kind: Entity, name: entity_number_%d, join_keys: [{name: k, type: int64}]}\n") +
				each(3_000, "--- {kind: FeatureView, name: v%d, entities: [entity_nummber_x], source: s, features: [{name: f, type: int64}]}\n"),
			codeTooMany + " " + codeUnknownEntity + " " + codeUnknownSource,
		},
		"many services of many features":   {view + each(3_000, "- {name: f%d, type: int64}\n") + each(3_000, "--- {kind: FeatureService, name: s%d, features: [{view: v}]}\n"), codeTooMany},
		"a service of one view many times": {view + each(3_000, "- {name: f%d, type: int64}\n") + "---\nkind: FeatureService\nname: s\nfeatures:\n" + each(3_000, "- {view: v, prefix: p%d_}\n"), codeTooMany},
		"many entities of a view": {
			"kind: FeatureView\nname: v\nentities: [" + each(65, "e%d,") + "]\nsource: {parquet: x, event_time: t}\nfeatures: [{name: f, type: int64}]\n",
			codeTooMany + " " + codeUnknownEntity,
		},
		"a tree of merge keys":      {"a: &a {b: c}\nd: &d {<<: *a}\ne: {<<: [*a, *d]}\n", codeMissingKey},
		"brackets that never close": {"a: " + strings.Repeat("[", 1<<20), codeSyntax},
		"dashes":                    {strings.Repeat("- ", 1<<20), codeSyntax},
		"tabs for indentation":      {"kind: Entity\njoin_keys:\n\t- a\n", codeSyntax},
		"a UTF-16 file":             {"\xff\xfek\x00i\x00n\x00d\x00", codeNotUTF8},
		"control characters":        {"kind: \x00Entity\n", codeSyntax},
		"an unfinished character":   {"kind: Entity\nname: \xc3", codeNotUTF8},
		"five thousand documents":   {each(5_000, "--- {kind: Entity, name: e%d, join_keys: [{name: k, type: int64}]}\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse([]File{{"f.yaml", []byte(c.text)}})
			var set diag.Set
			errors.As(err, &set)
			if got := strings.Join(codesOf(set), " "); got != c.codes {
				t.Errorf("got %s, want %s: %.500v", got, c.codes, err)
			}
			if len(set) > maxProblems+1 || len(set.Error()) > 1<<20 {
				t.Errorf("%d problems, %d bytes", len(set), len(set.Error()))
			}
			// Formatting has the same limits; only problems between definitions are none to it.
			if _, err := Format(File{"f.yaml", []byte(c.text)}); err == nil && strings.Contains(c.codes, codeMissingKey) {
				t.Error("formatted")
			} else if err != nil && !errors.As(err, &set) {
				t.Error(err)
			}
		})
	}
}

func codesOf(set diag.Set) []string {
	seen := map[string]bool{}
	for _, d := range set {
		seen[d.Code] = true
	}
	return sortedKeys(seen)
}
