// Package release checks what releases are made from: the configuration of GoReleaser, the scripts, and that the same
// sources make the same program.
package release

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

var root = filepath.Join("..", "..")

// config is what is read of .goreleaser.yaml.
type config struct {
	Before struct{ Hooks []string }
	Builds []struct {
		ID, Main          string
		Env, Goos, Goarch []string
		Flags, Ldflags    []string
	}
	Archives []struct {
		IDs   []string
		Files []source
	}
	Nfpms []struct {
		IDs      []string
		Contents []source
		Scripts  struct{ Postinstall string }
	}
	Images []struct {
		Dockerfile string
		Beside     []string `yaml:"extra_files"`
	} `yaml:"dockers_v2"`
	Sboms []struct {
		Cmd string
		IDs []string
	}
}

type source struct{ Src string }

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func readConfig(t *testing.T) config {
	t.Helper()
	var c config
	if err := yaml.Unmarshal(read(t, ".goreleaser.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSchema: GoReleaser would take it. Its schema knows every key.
func TestSchema(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "goreleaser.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) error {
		var value map[string]any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return err
		}
		return resolved.Validate(value)
	}
	good := string(read(t, ".goreleaser.yaml"))
	if err := check(good); err != nil {
		t.Error(err)
	}
	for _, bad := range [][2]string{{"goos: [linux", "gooos: [linux"}, {"formats: [deb", "formats: [dep"}, {"strip_parent: true", "strip_parent: 3"}} {
		text := strings.Replace(good, bad[0], bad[1], 1)
		if text == good || check(text) == nil {
			t.Errorf("%s is not found to be wrong", bad[1])
		}
	}
}

// TestNames: what the configuration names is there.
func TestNames(t *testing.T) {
	c := readConfig(t)
	var builds []string
	for _, b := range c.Builds {
		builds = append(builds, b.ID)
		read(t, b.Main+"/main.go")
		if !slices.Contains(b.Env, "CGO_ENABLED=0") {
			t.Errorf("the build %s is not static", b.ID)
		}
	}
	programs := slices.Clone(c.Before.Hooks)
	var sources []source
	var ids [][]string
	for _, a := range c.Archives {
		sources, ids = append(sources, a.Files...), append(ids, a.IDs)
	}
	for _, p := range c.Nfpms {
		programs = append(programs, p.Scripts.Postinstall)
		sources, ids = append(sources, p.Contents...), append(ids, p.IDs)
	}
	for _, s := range c.Sboms {
		programs, ids = append(programs, s.Cmd), append(ids, s.IDs)
	}
	for _, some := range ids {
		for _, id := range some {
			if !slices.Contains(builds, id) {
				t.Errorf("there is no build %s", id)
			}
		}
	}
	for _, program := range programs {
		info, err := os.Stat(filepath.Join(root, program))
		if err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s is no program: %v", program, err)
		}
	}

	made := t.TempDir()
	run(t, "scripts/release-files", made)
	for _, s := range sources {
		folder, pattern := root, s.Src
		if rest, ok := strings.CutPrefix(s.Src, "build/"); ok {
			folder, pattern = made, rest
		}
		found, err := filepath.Glob(filepath.Join(folder, filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Errorf("there is no %s: %v", s.Src, err)
		}
	}
	page, err := os.ReadFile(filepath.Join(made, "man", "provender-materialize.1"))
	if err != nil || !strings.Contains(string(page), "materialize") || strings.Contains(string(page), `Jan 0001`) {
		t.Errorf("the manual page is %v\n%s", err, page)
	}
}

// TestImage: the image is built from what is put beside its Dockerfile, of the program for its platform.
func TestImage(t *testing.T) {
	for _, image := range readConfig(t).Images {
		var copied []string
		for line := range strings.Lines(string(read(t, image.Dockerfile))) {
			words := strings.Fields(line)
			if len(words) > 1 && (words[0] == "COPY" || words[0] == "ADD") {
				words = slices.DeleteFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "--") })
				copied = append(copied, words[:len(words)-1]...)
			}
		}
		want := []string{"${BINARY}"}
		for _, name := range image.Beside {
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Error(err)
			}
			want = append(want, name)
		}
		for i := range copied {
			copied[i] = strings.TrimSuffix(copied[i], "/")
		}
		slices.Sort(copied)
		slices.Sort(want)
		if got := slices.Compact(copied); !slices.Equal(got, want) {
			t.Errorf("%s copies %q, and beside it is %q", image.Dockerfile, got, want)
		}
		if !strings.Contains(string(read(t, image.Dockerfile)), "ARG TARGETPLATFORM\nARG BINARY=${TARGETPLATFORM}/provender\n") {
			t.Errorf("%s takes not the program of its platform", image.Dockerfile)
		}
	}
}

// TestStamp: GoReleaser stamps as scripts/stamp does.
func TestStamp(t *testing.T) {
	c := readConfig(t)
	names := func(flags string) []string {
		var all []string
		for _, m := range regexp.MustCompile(`(-s|-w|-buildid=|-X \S+?=)(?:\S|$|\s)`).FindAllStringSubmatch(flags+" ", -1) {
			all = append(all, m[1])
		}
		return all
	}
	want := names(run(t, "scripts/stamp", "v1.2.3"))
	if len(want) != 6 {
		t.Fatalf("scripts/stamp has %q", want)
	}
	for _, b := range c.Builds {
		if got := names(strings.Join(b.Ldflags, " ")); !slices.Equal(got, want) {
			t.Errorf("the build %s has %q, scripts/stamp %q", b.ID, got, want)
		}
	}
}

// run runs a program of the repository, and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return try(t, exec.Command(filepath.Join(root, filepath.FromSlash(name)), args...))
}

func try(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var failed strings.Builder
	c.Stderr = &failed
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", c, err, failed.String())
	}
	return string(out)
}
