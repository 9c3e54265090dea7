package deploy

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
)

const (
	evening = `{"service": "delay_model_v1", "keys": {"origin": ["JFK"], "destination": ["SFO"]}}`
	present = `"name":"origin_departures_1h","view":0,"type":"int64","values":[14],"statuses":["PRESENT"]`
)

// TestCompose: the services of compose.yaml, one after the other, serve the example.
func TestCompose(t *testing.T) {
	type service struct {
		Command     []string
		Environment map[string]string
		Volumes     []string
		ReadOnly    bool `yaml:"read_only"`
	}
	var compose struct{ Services map[string]service }
	decode(t, read(t, "deploy", "compose", "compose.yaml"), &compose)
	database, redis := postgres.Database(t), onlinetest.StartRedisServer(t).URL
	stores := map[string]string{"PROVENDER_REGISTRY": database, "PROVENDER_ONLINE": redis}
	c := newContainer(t, read(t, "deploy", "compose", "provender.yaml"))
	for name, scheme := range map[string]string{"PROVENDER_REGISTRY": "postgres://", "PROVENDER_ONLINE": "redis://"} {
		if !strings.HasPrefix(compose.Services["provender"].Environment[name], scheme) {
			t.Errorf("%s is %q", name, compose.Services["provender"].Environment[name])
		}
	}
	for _, name := range []string{"apply", "materialize", "provender"} {
		s := compose.Services[name]
		if len(s.Command) == 0 || !s.ReadOnly {
			t.Fatalf("service %s: %+v", name, s)
		}
		for variable, value := range s.Environment {
			c.env[variable] = value
			if store, ok := stores[variable]; ok {
				c.env[variable] = store
			}
		}
		for _, volume := range s.Volumes {
			part := strings.Split(volume, ":")
			if inside, ok := strings.CutPrefix(part[1], "/project/"); ok && !strings.Contains(inside, ".") {
				mount(t, c, filepath.Join("deploy", "compose", part[0]), inside)
			}
		}
		if name != "provender" {
			t.Log(c.once(s.Command...))
			continue
		}
		c.args = s.Command
		web, _ := c.start()
		if code, answer := lookup(t, web, evening); code != http.StatusOK || !strings.Contains(answer, present) {
			t.Errorf("%d %s", code, answer)
		}
		if got := c.once("health"); got != "ready\n" {
			t.Errorf("health: %s", got)
		}
	}
}

// manifest is what is read of the chart's objects.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Args []string
					Env  []struct {
						Name, Value string
						ValueFrom   struct {
							SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
						} `yaml:"valueFrom"`
					}
					StartupProbe   probe `yaml:"startupProbe"`
					LivenessProbe  probe `yaml:"livenessProbe"`
					ReadinessProbe probe `yaml:"readinessProbe"`
				}
			}
		}
	}
}

type probe struct {
	HTTPGet struct{ Path string } `yaml:"httpGet"`
}

// manifests returns the maps of a file of manifests by name, and what runs servers.
func manifests(t *testing.T, name string) (configs map[string]map[string]string, workload manifest) {
	t.Helper()
	configs = map[string]map[string]string{}
	for part := range strings.SplitSeq(read(t, "test", "deploy", "testdata", "manifests", name+".yaml"), "\n---\n") {
		var m manifest
		decode(t, part, &m)
		switch m.Kind {
		case "ConfigMap":
			configs[m.Metadata.Name] = m.Data
		case "Deployment", "StatefulSet":
			workload = m
		}
	}
	return configs, workload
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// mount has a folder of the repository in the container's project, once.
func mount(t *testing.T, c *container, source, name string) {
	t.Helper()
	place := filepath.Join(c.dir, name)
	if _, err := os.Stat(place); err == nil {
		return
	}
	if err := os.CopyFS(place, os.DirFS(filepath.Join(root, source))); err != nil {
		t.Fatal(err)
	}
}

// applied waits until the server has taken up its definitions.
func applied(t *testing.T, c *container) {
	t.Helper()
	testenv.Until(t, "definitions are applied", func() bool { return strings.Contains(c.once("status"), ": applied") })
}

// TestChart: what the chart makes is what a server takes. Its modes are run with the stores of this machine.
func TestChart(t *testing.T) {
	for name, secrets := range map[string]map[string]string{
		"shared": {
			"provender-stores/registry": postgres.Database(t),
			"provender-stores/online":   onlinetest.StartRedisServer(t).URL,
			"provender-git/token":       "secret",
		},
		"embedded": {},
	} {
		t.Run(name, func(t *testing.T) {
			maps, workload := manifests(t, name)
			config := maps["provender"]["provender.yaml"]
			lake, definitions := filepath.Join(root, "examples", "flights", "data"), t.TempDir()
			for file, text := range maps["provender-definitions"] {
				write(t, filepath.Join(definitions, file), text)
			}
			// What is mounted, or far away, is on this machine.
			config = strings.NewReplacer("s3://company-lake/flights", absolute(t, lake), "/srv/lake", absolute(t, lake),
				"git:https://provender:${GIT_TOKEN}@git.example.com/team/features.git#main", absolute(t, filepath.Join(root, "examples", "flights", "definitions")),
				"from: /definitions", "from: "+definitions, "0.0.0.0:6567", "0.0.0.0:0").Replace(config)
			c := newContainer(t, config)
			pod := workload.Spec.Template.Spec.Containers[0]
			c.args = pod.Args
			for _, e := range pod.Env {
				c.env[e.Name] = e.Value
				if from := e.ValueFrom.SecretKeyRef; from.Name != "" {
					secret, ok := secrets[from.Name+"/"+from.Key]
					if !ok {
						t.Errorf("%s comes from %+v", e.Name, from)
					}
					c.env[e.Name] = secret
				}
			}
			web, admin := c.start()
			applied(t, c)
			c.once("materialize")
			for _, path := range []string{pod.StartupProbe.HTTPGet.Path, pod.LivenessProbe.HTTPGet.Path, pod.ReadinessProbe.HTTPGet.Path} {
				if code, body := get(web + path); code != http.StatusOK {
					t.Errorf("%s: %d %s", path, code, body)
				}
			}
			// The example ends in 2001, and so do its values.
			code, answer := lookup(t, web, `{"features": ["airport_hourly:departures_1h"], "keys": {"airport": ["JFK"]}}`)
			if code != http.StatusOK || !strings.Contains(answer, `"NOT_FOUND"`) {
				t.Errorf("%d %s", code, answer)
			}
			if name == "embedded" {
				told(t, c, admin)
			}
		})
	}
}

// told checks what the values of the mode embedded ask for: an admin address for others than this machine, and a line about every
// call.
func told(t *testing.T, c *container, admin string) {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(admin, "http://"))
	if err != nil || !net.ParseIP(host).IsUnspecified() {
		t.Fatalf("the admin address is %s", admin)
	}
	for _, path := range []string{"/startedz", "/metrics", "/debug/pprof/goroutine?debug=1"} {
		if code, body := get("http://127.0.0.1:" + port + path); code != http.StatusOK {
			t.Errorf("%s at the admin address: %d %s", path, code, body)
		}
	}
	testenv.Until(t, "slow calls are logged", func() bool { return strings.Contains(c.log.String(), "slow request") })
}
