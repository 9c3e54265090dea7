package definition

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/diag"
)

func TestParseOrigin(t *testing.T) {
	const remote = "https://git.example.com/team/features.git"
	for _, c := range []struct {
		text string
		want Origin
		show string // "": as it is written
	}{
		{"definitions", Origin{Folder: "definitions"}, ""},
		{"/srv/a/../b/", Origin{Folder: "/srv/b"}, "/srv/b"},
		{"git:" + remote, Origin{Git: true, Repository: remote, Folder: "."}, ""},
		{"git:" + remote + "#main", Origin{Git: true, Repository: remote, Branch: "main", Folder: "."}, ""},
		{"git:" + remote + "#a/b:c/d", Origin{Git: true, Repository: remote, Branch: "a/b", Folder: "c/d"}, ""},
		{"git:" + remote + "#:/c/", Origin{Git: true, Repository: remote, Folder: "c"}, "git:" + remote + "#:c"},
		{
			"git:https://me:hunter2%2F@git.example.com/r#main",
			Origin{Git: true, Repository: "https://git.example.com/r", User: "me", Password: "hunter2/", Branch: "main", Folder: "."},
			"git:https://git.example.com/r#main",
		},
		{
			"git:http://me:hunter2@127.0.0.1:80/r",
			Origin{Git: true, Repository: "http://127.0.0.1:80/r", User: "me", Password: "hunter2", Folder: "."},
			"git:http://127.0.0.1:80/r",
		},
		{"git:http://host/r", Origin{Git: true, Repository: "http://host/r", Folder: "."}, ""},
		{"git:file:///srv/r.git", Origin{Git: true, Repository: "/srv/r.git", Folder: "."}, "git:/srv/r.git"},
		{"git:../r.git#v1", Origin{Git: true, Repository: "../r.git", Branch: "v1", Folder: "."}, ""},
	} {
		got, err := ParseOrigin(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.text, diff)
		}
		if show := got.String(); show != c.show && (c.show != "" || show != c.text) {
			t.Errorf("%s is shown as %s", c.text, show)
		}
	}
	for text, want := range map[string]string{
		"":                                     "names no folder",
		" ":                                    "names no folder",
		"git:":                                 "names no repository",
		"git:#main":                            "names no repository",
		"https://me:hunter2@host/r":            "not of what (write git:",
		"git:ssh://git:hunter2@host/r":         "over https",
		"git:hunter2@host:team/r.git":          "over https",
		"git:git://host/r":                     "over https",
		"git:htps://me:hunter2@host/r":         `did you mean "https"`,
		"git:http://me:hunter2@host/r":         "use https",
		"git:https://me:hunter2@/r":            "no host",
		"git:https://hunter2\x7f@host/r":       "no URL",
		"git:https://host/r?token=hunter2":     "a query",
		"git:file://me:hunter2@host/r":         "a path alone",
		"git:https://host/r#ma in":             "no name of a branch",
		"git:https://host/r#-x":                "no name of a branch",
		"git:https://host/r#a..b":              "no name of a branch",
		"git:https://host/r#main:../x":         "outside of the repository",
		"git:https://host/r#main:a/../../../x": "outside of the repository",
	} {
		_, err := ParseOrigin(text)
		switch {
		case err == nil:
			t.Errorf("%q is taken", text)
		case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// A tree of too many files, or too large ones, is a problem that is told once, and no more of it is read.
func TestGatheringIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		size  int64
		files int
		reads int
	}{
		"bytes":          {MaxFileBytes, 20, 16},
		"files":          {0, maxGatheredFiles + 10, maxGatheredFiles},
		"as many as fit": {0, maxGatheredFiles, maxGatheredFiles},
	} {
		var g Gathering
		reads := 0
		for i := range c.files {
			g.Add(fmt.Sprintf("d/%d.yaml", i), c.size, func() ([]byte, error) { reads++; return nil, nil })
			g.Add(fmt.Sprintf("d/%d.csv", i), c.size, nil)
		}
		files, err := g.Files()
		var set diag.Set
		problems := 0
		if errors.As(err, &set) {
			problems = len(set)
		}
		if full := c.files > c.reads; len(files) != c.reads || reads != c.reads || full != (problems == 1) || problems > 1 {
			t.Errorf("%s: %d files, %d reads, %v", name, len(files), reads, err)
		}
	}
}

func TestExpandVariables(t *testing.T) {
	vars := map[string]string{"TOKEN": "hunter2"}
	getenv := func(name string) string { return vars[name] }
	if got, err := ExpandVariables("git:https://me:${TOKEN}@host/r", getenv); err != nil || got != "git:https://me:hunter2@host/r" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"${NONE}", "${TOKEN", "${a-b}"} {
		if _, err := ExpandVariables(text, getenv); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestUpstream(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/"+ConfigName, []byte(`
version: 1
project: p
definitions: {from: ./features, allow_breaking: true}
environments:
  prod:
    definitions: {from: "git:https://me:${TOKEN}@host/r", interval: 5m, allow_breaking: "${BREAK}", webhook_secret: "${SECRET}"}
`))
	environ := []string{"TOKEN=hunter2", "BREAK=false", "SECRET=0123456789abcdef"}
	for env, want := range map[string]Upstream{
		"":     {From: "./features", Interval: time.Minute, AllowBreaking: true},
		"prod": {From: "git:https://me:hunter2@host/r", Interval: 5 * time.Minute, WebhookSecret: "0123456789abcdef"},
	} {
		cfg, err := LoadConfig(dir, Outside{Env: env, Environ: environ})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, cfg.Definitions); diff != "" {
			t.Errorf("%s: -want +got\n%s", env, diff)
		}
	}
}
