// Package deploy tests what is in the folder deploy with the programs that read it, and with the real server: the image is
// built and run, the unit and the alerts are checked, the containers of compose and of the chart are run as processes, and a
// Prometheus asks a server for all that alerts and dashboards show. What Helm and Kubernetes say is in the module strict.
package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/test/project"
)

var root = filepath.Join("..", "..")

func TestMain(m *testing.M) { project.Main(m) }

func read(t *testing.T, path ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// do runs a program that must succeed, and returns what it printed.
func do(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// container is what an orchestrator is told to run, run as a process of this machine: with its arguments and its
// environment alone, in a project folder that has what it mounts there.
type container struct {
	*testing.T
	dir  string
	args []string
	env  map[string]string
	log  journal
}

// journal is what a process has logged so far.
type journal struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

func newContainer(t *testing.T, config string) *container {
	t.Helper()
	c := &container{T: t, dir: t.TempDir(), env: map[string]string{}}
	write(t, filepath.Join(c.dir, "provender.yaml"), config)
	return c
}

func (c *container) command(args ...string) *exec.Cmd {
	run := exec.CommandContext(c.Context(), os.Getenv("PROVENDER_TEST_BINARY"), args...)
	run.Dir, run.Env = c.dir, []string{"PATH=/nowhere", "TMPDIR=" + os.TempDir()}
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		run.Env = append(run.Env, name+"="+c.env[name])
	}
	return run
}

// once runs the container until it ends.
func (c *container) once(args ...string) string {
	c.Helper()
	out, err := c.command(args...).CombinedOutput()
	if err != nil {
		c.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// start runs the container as a server until the test ends, and returns where it answers HTTP, and at its admin address. Those of
// calls are replaced by free ones.
func (c *container) start() (web, admin string) {
	c.Helper()
	run := c.command(append(c.args, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")...)
	run.Stderr = &c.log
	if err := run.Start(); err != nil {
		c.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	c.Cleanup(func() {
		_ = run.Process.Signal(os.Interrupt)
		if err := <-ended; err != nil && c.Context().Err() == nil {
			c.Errorf("the server ended with %v\n%s", err, &c.log)
		}
	})
	testenv.Until(c, "the server is ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			c.Fatalf("the server ended: %v\n%s", err, &c.log)
		default:
		}
		var at struct{ HTTP, Admin string }
		raw, err := os.ReadFile(filepath.Join(c.dir, ".provender", "serve.json"))
		if err != nil || json.Unmarshal(raw, &at) != nil {
			return false
		}
		web, admin = "http://"+at.HTTP, "http://"+at.Admin
		code, _ := get(web + "/readyz")
		return code == http.StatusOK
	})
	return web, admin
}

func get(url string) (code int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	raw, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw)
}

// lookup asks a server for features.
func lookup(t *testing.T, web, request string) (code int, answer string) {
	t.Helper()
	resp, err := http.Post(web+"/v1/features:get", "application/json", strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// TestOneVersion: the chart, compose, the Makefile and releases name one image.
func TestOneVersion(t *testing.T) {
	var chart struct {
		Version    string
		AppVersion string `yaml:"appVersion"`
	}
	decode(t, read(t, "deploy", "helm", "provender", "Chart.yaml"), &chart)
	var values struct {
		Image struct{ Repository, Tag string }
	}
	decode(t, read(t, "deploy", "helm", "provender", "values.yaml"), &values)
	const image = "ghcr.io/provender-dev/provender"
	if chart.Version != chart.AppVersion || values.Image.Repository != image || values.Image.Tag != "" {
		t.Errorf("%+v, %+v", chart, values)
	}
	want := fmt.Sprintf("image: %s:${PROVENDER_VERSION:-%s}\n", image, chart.AppVersion)
	if compose := read(t, "deploy", "compose", "compose.yaml"); strings.Count(compose, want) != 1 || strings.Count(compose, image) != 1 {
		t.Errorf("compose.yaml has no %q", want)
	}
	if made := " -t " + image + ":" + chart.AppVersion + " "; !strings.Contains(read(t, "Makefile"), made) {
		t.Errorf("make image makes no %q", made)
	}
	var release struct {
		Dockers []struct {
			Dockerfile   string
			Images, Tags []string
		} `yaml:"dockers_v2"`
	}
	decode(t, read(t, ".goreleaser.yaml"), &release)
	for _, d := range release.Dockers {
		if d.Dockerfile != "deploy/docker/Dockerfile" || !slices.Equal(d.Images, []string{image}) || !slices.Contains(d.Tags, "{{ .Version }}") {
			t.Errorf("a release makes %+v", d)
		}
	}
	if len(release.Dockers) != 1 {
		t.Errorf("a release makes %d images", len(release.Dockers))
	}
}
