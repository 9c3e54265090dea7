package release

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBuild: the configuration's build is stamped, the same in every folder, and its modules are listed.
func TestBuild(t *testing.T) {
	build := readConfig(t).Builds[0]
	flags := strings.NewReplacer(
		"{{ .Version }}", "1.2.3",
		"{{ .FullCommit }}", "4eb9e68ab0123456789012345678901234567890",
		"{{ .CommitDate }}", "2026-11-29T04:10:00Z",
	).Replace(strings.Join(build.Ldflags, " "))
	if strings.Contains(flags, "{{") {
		t.Fatalf("the test knows not all of %s", flags)
	}
	compile := func(dir, out string) []byte {
		// Neither folder's repository is part of it: one has none.
		args := slices.Concat([]string{"build", "-buildvcs=false", "-ldflags", flags, "-o", out}, build.Flags, []string{build.Main})
		c := exec.Command("go", args...)
		c.Dir, c.Env = dir, append(os.Environ(), build.Env...)
		try(t, c)
		raw, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	folder := t.TempDir()
	program := filepath.Join(folder, "provender")
	first := compile(root, program)

	var report map[string]any
	if err := json.Unmarshal([]byte(try(t, exec.Command(program, "version", "-o", "json"))), &report); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"provender": "v1.2.3", "commit": "4eb9e68ab0123456789012345678901234567890", "date": "2026-11-29T04:10:00Z",
	} {
		if report[field] != want {
			t.Errorf("%s is %v, want %s", field, report[field], want)
		}
	}

	t.Run("again", func(t *testing.T) {
		tree := t.TempDir()
		for name := range strings.SplitSeq(strings.Trim(try(t, gitFiles()), "\x00"), "\x00") {
			if raw, err := os.ReadFile(filepath.Join(root, name)); err == nil { // not one that was deleted
				write(t, filepath.Join(tree, name), string(raw))
			}
		}
		if second := compile(tree, filepath.Join(t.TempDir(), "provender")); !bytes.Equal(first, second) {
			t.Error("another folder makes another program")
		}
	})

	t.Run("modules", func(t *testing.T) {
		written := run(t, "scripts/sbom", program)
		if written != run(t, "scripts/sbom", program) {
			t.Error("the list is another one the second time")
		}
		var list struct {
			BomFormat, SpecVersion string
			Components             []struct{ Name, Version, Purl string }
		}
		if err := json.Unmarshal([]byte(written), &list); err != nil {
			t.Fatal(err)
		}
		if list.BomFormat != "CycloneDX" || list.SpecVersion != "1.6" {
			t.Errorf("it is %s %s", list.BomFormat, list.SpecVersion)
		}
		var got []string
		for _, c := range list.Components {
			got = append(got, c.Name+"@"+c.Version)
			if !strings.HasPrefix(c.Purl, "pkg:golang/"+c.Name+"@"+c.Version) {
				t.Errorf("%s@%s is %s", c.Name, c.Version, c.Purl)
			}
		}
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"std@" + info.GoVersion}
		for _, m := range info.Deps {
			want = append(want, m.Path+"@"+m.Version)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("it lists\n%s\nand the program has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// gitFiles lists the sources that are in the repository, and those that will be.
func gitFiles() *exec.Cmd {
	c := exec.Command("git", "ls-files", "-z", "-co", "--exclude-standard")
	c.Dir = root
	return c
}
