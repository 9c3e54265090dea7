package docs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	page := "# A\n\n```sh\necho a\n```\n\n<!-- output -->\n```\na\n```\n\n1. x\n\n   <!-- exit 3 -->\n   ```python\n   if x:\n       y\n   ```\n" +
		"<!-- background -->\n```sh\nserve\n```\n<!-- not run: it serves -->\n```go\nx\n```\n<!-- file: a.csv -->\n```\n1\n```\n"
	want := []block{
		{line: 4, language: "sh", text: "echo a\n"},
		{line: 9, text: "a\n", output: true},
		{line: 16, language: "python", text: "if x:\n    y\n", exit: 3},
		{line: 21, language: "sh", text: "serve\n", background: true},
		{line: 25, language: "go", text: "x\n", notRun: "it serves"},
		{line: 29, text: "1\n", file: "a.csv"},
	}
	got, err := parse(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(block{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for name, page := range map[string]string{
		"an open block":      "```sh\nx\n",
		"a lost marker":      "<!-- output -->\ntext\n",
		"no reason":          "<!-- not run -->\n```sh\n```\n",
		"an unknown fence":   "```sh {x}\n```\n",
		"no number":          "<!-- exit x -->\n```sh\n```\n",
		"a marker too close": "<!-- output: x -->\n```\n```\n",
	} {
		if blocks, err := parse(page); err == nil {
			t.Errorf("%s: %+v", name, blocks)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		shown, got string
		want       bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"a\nb\n", "a  \nb\n\n", true},
		{"a\n", "a\nb\n", false},
		{"took …s, done.\n", "took 0.4s, done.\n", true},
		{"took …s, done.\n", "took 0.4s\n, done.\n", false},
		{"a\n…\nz\n", "a\nb\nc\nz\n", true},
		{"a\n…\nz\n", "a\nz\n", true},
		{"a\n…\nz\n", "b\nz\n", false},
		{"(x|y)\n", "x\n", false},
	} {
		b := block{text: c.shown}
		if b.matches(c.got) != c.want {
			t.Errorf("%q shown, %q printed: want %v", c.shown, c.got, c.want)
		}
	}
}
