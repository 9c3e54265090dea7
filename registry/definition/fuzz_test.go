package definition

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
)

// FuzzDefinitions: no text makes the reader panic, every problem has a known code and a position within the file, and
// what has no problem compiles.
func FuzzDefinitions(f *testing.F) {
	addFiles(f)
	known := map[string]bool{}
	for _, c := range Codes {
		known[c.Name] = true
	}
	check := func(t *testing.T, err error) {
		var set diag.Set
		if !errors.As(err, &set) || len(set) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		for _, d := range set {
			if !known[d.Code] || d.File == "" || d.Code != codeFileTooLarge && (d.Line < 1 || d.Col < 0) {
				t.Errorf("%+v", d)
			}
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		defs, _, err := Parse([]File{{Name: "f.yaml", Content: content}})
		if err != nil {
			check(t, err)
		} else if _, err := registry.Compile(1, defs); err != nil {
			t.Errorf("accepted, but does not compile: %v", err)
		}
		var set diag.Set
		parseConfig(&decoder{file: "provender.yaml", set: &set}, content, Outside{}, values{"", func(string) string { return "x" }})
		if err := set.Err(); err != nil {
			check(t, err)
		}
	})
}

// FuzzFormat: a text is refused with problems, or its canonical form means the same and is its own.
func FuzzFormat(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, name := range []string{"f.yaml", ConfigName} {
			_, err := Format(File{name, content})
			var set diag.Set
			if err == nil {
				formatted(t, name, content)
			} else if !errors.As(err, &set) {
				t.Fatalf("%v\n%s", err, content)
			}
		}
	})
}

func addFiles(f *testing.F) {
	for _, hostile := range []string{
		"a: &a [*a]\n", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "a: &a {b: c}\nd: {<<: *a}\n", "\ufeffkind: Entity\r\nname: a # b\r\n",
		"a:\n\t- b\n", "? [a]\n: b\n", "[[[[[[[[{", "--- # c\n...\n---\n", "a: |2+\n    b\n\n\n# c\n", "%YAML 1.1\n---\na: !!str 1\n", "a: \"\xff\"\n", "a: [b, # c\n\n]\u2028",
	} {
		f.Add([]byte(hostile))
	}
	for _, pattern := range []string{"testdata/*/*.yaml", "testdata/good/features/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
		}
	}
}
