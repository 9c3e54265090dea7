package definition

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
)

// TestFormat compares each file of testdata/format with its canonical form.
func TestFormat(t *testing.T) {
	files, err := filepath.Glob("testdata/format/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if strings.HasPrefix(name, "config") {
			name = ConfigName
		}
		got, err := Format(File{name, content})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		golden(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		formatted(t, name, content)
	}
}

// formatted checks that a file that has no problems by itself means the same once it is formatted, that formatting it
// again changes nothing, and returns it.
func formatted(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	out, err := Format(File{name, content})
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	again, err := Format(File{name, out})
	if diff := cmp.Diff(string(out), string(again)); err != nil || diff != "" {
		t.Fatalf("formatting is not stable: %v\nsource:\n%s\ndifference:\n%s", err, content, diff)
	}
	if diff := cmp.Diff(meaning(name, content), meaning(name, out)); diff != "" {
		t.Fatalf("formatting changes the meaning: %s\nsource:\n%s\nresult:\n%s", diff, content, out)
	}
	return out
}

// says is what a file says by itself, and the codes of its problems.
type says struct {
	Definitions *registry.Definitions
	Config      *Config
	Problems    []string
}

func meaning(name string, content []byte) says {
	r := &reader{positions: &Positions{at: map[[2]string]declared{}}, defs: &registry.Definitions{}}
	out := says{Definitions: r.defs}
	if name == ConfigName {
		_, out.Config = parseConfig(&decoder{file: name, set: &r.set}, content, Outside{}, values{"", func(string) string { return "x" }})
	} else {
		r.file(File{name, content})
		sortByName(r.defs)
	}
	for _, d := range r.set {
		out.Problems = append(out.Problems, d.Code)
	}
	slices.Sort(out.Problems)
	return out
}

// Every good file of the repository means the same once it is formatted; the examples are formatted.
func TestFormatExamples(t *testing.T) {
	n := 0
	for _, pattern := range []string{
		"testdata/good/*.yaml", "testdata/good/features/*", "testdata/bad/*.yaml",
		"../../examples/*/*.yaml", "../../examples/*/*/*.yaml", "../../examples/*/*/*/*.yaml",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content = bytes.ReplaceAll(content, []byte("{{project}}"), []byte("shop"))
			name := filepath.Base(file)
			if file := directives(content)["file"]; file != "" {
				name = file
			}
			out, err := Format(File{name, content})
			if err != nil {
				var set diag.Set
				if !errors.As(err, &set) || !strings.Contains(file, "/bad/") {
					t.Errorf("%s: %v", file, err)
				}
				continue
			}
			n++
			formatted(t, name, content)
			if strings.Contains(file, "/examples/") && !bytes.Equal(out, content) {
				t.Errorf("%s is not formatted: %s", file, cmp.Diff(string(content), string(out)))
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d files", n)
	}
}

// A file with problems of its own is refused with all of them; a reference to what another file declares is none.
func TestFormatRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Entity\nname: A\nx: 1\n": "f.yaml:1:1: missing-key f.yaml:2:7: bad-name f.yaml:3:1: unknown-key",
		"kind: [\n":                     "f.yaml:2:1: yaml-syntax",
		"kind: Entity\nname: a\njoin_keys: [{name: a, type: int64}]\n--- \nkind: Entity\nname: a\njoin_keys: [{name: a, type: int64}]\n": "f.yaml:6:7: duplicate-name",
		"%YAML 1.1\n---\nkind: FeatureService\nname: s\nfeatures: [{view: elsewhere}]\n":                                                 "f.yaml:1:1: yaml-syntax",
		"kind: FeatureService\nname: s\nfeatures: [{view: elsewhere}]\n":                                                                 "",
	} {
		out, err := Format(File{"f.yaml", []byte(text)})
		var set diag.Set
		var got []string
		if errors.As(err, &set) {
			for _, d := range set {
				got = append(got, d.Position.String()+": "+d.Code)
			}
		}
		if strings.Join(got, " ") != want || (err == nil) != (want == "") || err != nil && out != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := Format(File{ConfigName, []byte("version: 1\nonline: redis://${UNSET}\nonlin: x\n")})
	var set diag.Set
	if !errors.As(err, &set) || len(set) != 2 {
		t.Errorf("variables are not looked at, the rest is: %v", err)
	}
}

func TestFormatStdin(t *testing.T) {
	for text, want := range map[string]string{
		"project: p\nversion: 1\n":                               "version: 1\nproject: p\n",
		"name: a\nkind: FeatureService\nfeatures: [{view: v}]\n": "kind: FeatureService\nname: a\nfeatures: [{view: v}]\n",
		"": "", "# c\n": "# c\n", "---\n": "---\n",
	} {
		if got, err := Format(File{Stdin, []byte(text)}); err != nil || string(got) != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}
