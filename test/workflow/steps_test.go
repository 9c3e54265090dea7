package workflow

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// job is what is read of the workflow's jobs.
type job struct {
	Env   map[string]string
	Steps []struct {
		Name, Run string
		Env       map[string]string
	}
}

// checkout is a runner: the work tree that actions/checkout leaves, and what GitHub sets for the steps.
type checkout struct {
	*testing.T
	job         job
	dir, temp   string
	expressions map[string]string // what those in the workflow stand for
}

func newCheckout(t *testing.T, name string, expressions map[string]string) *checkout {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "github", "feature-definitions.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Defaults struct{ Run struct{ Shell string } }
		Jobs     map[string]job
	}
	if err := yaml.Unmarshal(raw, &workflow); err != nil {
		t.Fatal(err)
	}
	if workflow.Defaults.Run.Shell != "bash" { // GitHub's own default is without pipefail
		t.Fatalf("the steps are run by %q", workflow.Defaults.Run.Shell)
	}
	return &checkout{T: t, job: workflow.Jobs[name], dir: t.TempDir(), temp: t.TempDir(), expressions: expressions}
}

// step runs a step as GitHub does, and returns its exit code and all that it printed.
func (c *checkout) step(name string) (code int, printed string) {
	c.Helper()
	for _, s := range c.job.Steps {
		if s.Name != name {
			continue
		}
		script := filepath.Join(c.temp, "step.sh")
		if err := os.WriteFile(script, []byte(s.Run), 0o644); err != nil {
			c.Fatal(err)
		}
		run := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
		run.Dir = c.dir
		run.Env = append(environment(), "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+c.dir, "RUNNER_TEMP="+c.temp, "GITHUB_STEP_SUMMARY="+c.summary(),
			"GITHUB_REPOSITORY=team/features")
		set := maps.Clone(c.job.Env)
		if set == nil {
			set = map[string]string{}
		}
		maps.Copy(set, s.Env)
		for name, value := range set {
			run.Env = append(run.Env, name+"="+c.value(value))
		}
		out, err := run.CombinedOutput()
		if run.ProcessState == nil {
			c.Fatal(err)
		}
		return run.ProcessState.ExitCode(), string(out)
	}
	c.Fatalf("the job has no step %s", name)
	return 0, ""
}

// value is what a variable of the workflow is set to.
func (c *checkout) value(text string) string {
	c.Helper()
	expression, ok := strings.CutPrefix(text, "${{ ")
	if !ok {
		return text
	}
	value, ok := c.expressions[strings.TrimSuffix(expression, " }}")]
	if !ok {
		c.Fatalf("the test knows no value of %s", text)
	}
	return value
}

func (c *checkout) summary() string { return filepath.Join(c.temp, "summary.md") }

// passes runs a step that must.
func (c *checkout) passes(step string) {
	c.Helper()
	if code, printed := c.step(step); code != 0 {
		c.Errorf("%s: exit code %d\n%s", step, code, printed)
	}
}

// fails runs a step that must not pass, and prints these lines.
func (c *checkout) fails(step string, lines ...string) {
	c.Helper()
	code, printed := c.step(step)
	if code == 0 {
		c.Errorf("%s passes", step)
	}
	for _, line := range lines {
		if !strings.Contains("\n"+printed, "\n"+line) {
			c.Errorf("%s: no line %q in\n%s", step, line, printed)
		}
	}
}

// comment is what the pull request is told.
func (c *checkout) comment(wants ...string) {
	c.Helper()
	plan, summary := c.read(filepath.Join(c.temp, "plan.md")), c.read(c.summary())
	if plan != summary {
		c.Errorf("the summary is not the comment:\n%s", summary)
	}
	for _, want := range wants {
		if !strings.Contains(plan, want) {
			c.Errorf("no %q in the comment:\n%s", want, plan)
		}
	}
}

// edit replaces a text in a file of the work tree.
func (c *checkout) edit(name, before, after string) {
	c.Helper()
	path := filepath.Join(c.dir, filepath.FromSlash(name))
	text := c.read(path)
	if strings.Count(text, before) != 1 {
		c.Fatalf("%s has %q not once", name, before)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(text, before, after, 1)), 0o644); err != nil {
		c.Fatal(err)
	}
}

func (c *checkout) read(path string) string {
	c.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	return string(raw)
}

// breaks takes a feature away that a service uses.
func (c *checkout) breaks() {
	c.Helper()
	c.edit("definitions/routes.yaml", "  - {name: distance, type: int32, tags: {unit: miles}}\n", "")
	c.edit("definitions/delay_model.yaml", " distance,", "")
}

// environment has nothing of Provender's or GitHub's, and none of the machine's settings of Git.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
}

func do(t *testing.T, dir string, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, environment()
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// newOrigin makes the bare repository of a team whose project is the flights example; its registry is in the environment.
func newOrigin(t *testing.T) string {
	t.Helper()
	seed, origin := t.TempDir(), filepath.Join(t.TempDir(), "origin.git")
	for _, name := range []string{"definitions", "data"} {
		if err := os.CopyFS(filepath.Join(seed, name), os.DirFS(filepath.Join(root, "examples", "flights", name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"provender.yaml", "provender.schema.json"} {
		raw, err := os.ReadFile(filepath.Join(root, "examples", "flights", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "provender.yaml" {
			raw = append(raw, "environments:\n  prod: {registry: \"${PROVENDER_REGISTRY}\"}\n"...)
		}
		if err := os.WriteFile(filepath.Join(seed, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	do(t, seed, "git", "init", "-q", "-b", "main")
	do(t, seed, "git", "add", ".")
	do(t, seed, "git", "commit", "-q", "-m", "what is applied")
	do(t, seed, "git", "clone", "-q", "--bare", seed, origin)
	return origin
}

// TestPullRequest: what job check says of a change. The work tree is the merge of it into main, and no branch.
func TestPullRequest(t *testing.T) {
	const added = "  - {name: mean_delay_minutes_1d, column: mean_delay_1d, type: float64}\n"
	const before = "  - {name: delays_1d, type: list<int32>,"
	origin := newOrigin(t)
	for _, test := range []struct {
		name   string
		change func(c *checkout)
		check  func(c *checkout)
	}{
		{
			"good",
			func(c *checkout) { c.edit("definitions/routes.yaml", before, added+before) },
			func(c *checkout) {
				c.passes("Check")
				c.passes("Plan")
				c.comment(
					"### Provender: 0 to add, 1 to change, 0 to delete\n",
					"| change | FeatureView `route_daily` | 2 |\n",
					"| `route_daily` | 8 | 171,946 |",
					"+ features.mean_delay_minutes_1d.type: float64\n",
				)
			},
		},
		{
			"problem",
			func(c *checkout) { c.edit("definitions/routes.yaml", "type: int32", "type: int23") },
			func(c *checkout) {
				c.fails("Check", "::error file=definitions/routes.yaml,line=20,col=28,")
				c.fails("Plan") // not only what tee says of it
			},
		},
		{
			"not formatted",
			func(c *checkout) { c.edit("definitions/routes.yaml", "entities: [route]", "entities:   [route]") },
			func(c *checkout) { c.fails("Check", "definitions/routes.yaml\n", "1 file not formatted;") },
		},
		{
			"breaking",
			(*checkout).breaks,
			func(c *checkout) {
				c.passes("Check")
				c.passes("Plan")
				c.comment("⚠️ breaking\n", "| ⚠️ `output-removed` | service \"delay\\_model\\_v1\": output \"distance\" is removed | `delay_model_v1` |\n")
			},
		},
		{
			"where the data are not",
			func(c *checkout) {
				do(c.T, c.dir, "git", "rm", "-q", "-r", "data")
				c.edit("definitions/routes.yaml", before, added+before)
			},
			func(c *checkout) {
				c.passes("Check")
				c.passes("Plan")
				c.comment("0 to add, 1 to change, 0 to delete\n", "> **Warning** ")
			},
		},
		{
			"nothing of definitions",
			func(c *checkout) { c.edit("provender.yaml", "version: 1", "# What a comment says.\nversion: 1") },
			func(c *checkout) {
				c.passes("Check")
				c.passes("Plan")
				c.comment("### Provender: no changes to git:origin/main\n")
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCheckout(t, "check", map[string]string{"github.base_ref": "main"})
			do(t, c.dir, "git", "clone", "-q", origin, ".")
			do(t, c.dir, "git", "checkout", "-q", "-b", "change")
			test.change(c)
			do(t, c.dir, "git", "commit", "-q", "-a", "-m", test.name)
			do(t, c.dir, "git", "checkout", "-q", "--detach", "main")
			do(t, c.dir, "git", "merge", "-q", "--no-ff", "change")
			do(t, c.dir, "git", "branch", "-q", "-D", "main", "change")
			test.check(c)
		})
	}
}

// TestComment: the comment of before is the one that is edited. What stands in for gh answers as GitHub would.
func TestComment(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, test := range []struct{ name, found, want string }{
		{"none", "", "pr comment 7 --body-file %s\n"},
		{"some", "11\n12\n", "api --silent -X PATCH repos/team/features/issues/comments/12 -F body=@%s\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCheckout(t, "check", map[string]string{"github.token": "t", "github.event.pull_request.number": "7"})
			calls := filepath.Join(c.temp, "calls")
			gh := "#!/bin/sh\ncase \"$*\" in\n*--paginate*) printf '" + test.found + "' ;;\n*) echo \"$*\" >>" + calls + " ;;\nesac\n"
			if err := os.WriteFile(filepath.Join(bin, "gh"), []byte(gh), 0o755); err != nil {
				t.Fatal(err)
			}
			c.passes("Comment")
			if want := fmt.Sprintf(test.want, filepath.Join(c.temp, "plan.md")); c.read(calls) != want {
				t.Errorf("gh %s, want %s", c.read(calls), want)
			}
		})
	}
}

// TestPush: job apply brings the registry to what main says, and what breaks a service only where somebody says so.
func TestPush(t *testing.T) {
	const allow = "inputs.allow_breaking && '--allow-breaking' || ''"
	origin := newOrigin(t)
	registry := "sqlite://" + filepath.Join(t.TempDir(), "registry.db")
	expressions := map[string]string{"secrets.PROVENDER_REGISTRY": registry, allow: ""}
	// The one commit that actions/checkout fetches.
	fetch := func() *checkout {
		c := newCheckout(t, "apply", expressions)
		do(t, c.dir, "git", "clone", "-q", "--depth=1", "file://"+filepath.ToSlash(origin), ".")
		return c
	}
	c := fetch()
	c.passes("Apply")
	c.passes("Apply") // run again
	first := do(t, c.dir, "git", "rev-parse", "HEAD")
	c.applied(registry, first)

	c.breaks()
	do(t, c.dir, "git", "commit", "-q", "-a", "-m", "without the distance")
	do(t, c.dir, "git", "push", "-q", "origin", "main")
	c = fetch()
	c.fails("Apply", "Error: the plan breaks what is in use; nothing was applied")
	c.applied(registry, first)
	expressions[allow] = "--allow-breaking"
	c.passes("Apply")
	c.applied(registry, do(t, c.dir, "git", "rev-parse", "HEAD"), first)
}

// applied asserts of which commits the registry has revisions, the newest first.
func (c *checkout) applied(registry string, commits ...string) {
	c.Helper()
	run := exec.Command("provender", "history", "-o", "json")
	run.Dir, run.Env = c.dir, append(environment(), "PROVENDER_ENV=prod", "PROVENDER_REGISTRY="+registry)
	out, err := run.Output()
	if err != nil {
		c.Fatal(err)
	}
	var history struct{ Revisions []struct{ Commit string } }
	if err := json.Unmarshal(out, &history); err != nil {
		c.Fatal(err)
	}
	var have []string
	for _, r := range history.Revisions {
		have = append(have, r.Commit)
	}
	if !slices.Equal(have, commits) {
		c.Errorf("revisions of %q, want %q", have, commits)
	}
}
