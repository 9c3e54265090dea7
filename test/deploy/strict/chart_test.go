package strict

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the manifests, and the table of values")

var (
	root     = filepath.Join("..", "..", "..")
	chartDir = filepath.Join(root, "deploy", "helm", "provender")
	testdata = filepath.Join("..", "testdata")
)

// kubeVersion is the oldest that the chart is for.
const kubeVersion = "v1.27.0"

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render is `helm template provender deploy/helm/provender --namespace features`: schema, templates, notes left out.
func render(c *chart.Chart, values map[string]any) (string, error) {
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return "", err
	}
	capabilities := *chartutil.DefaultCapabilities
	capabilities.KubeVersion = *version
	release := chartutil.ReleaseOptions{Name: "provender", Namespace: "features", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, release, &capabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		parts := releaseutil.SplitManifests(files[name])
		order := slices.Collect(maps.Keys(parts))
		sort.Sort(releaseutil.BySplitManifestsOrder(order))
		for _, part := range order {
			if strings.TrimSpace(parts[part]) != "" {
				out.WriteString("---\n# " + strings.TrimPrefix(name, "provender/") + "\n" + strings.Trim(parts[part], "\n") + "\n")
			}
		}
	}
	return out.String(), nil
}

func valuesOf(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(raw, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestManifests: what the chart makes of each file of values is what is committed, which other tests run, and each object
// is one that Kubernetes takes.
func TestManifests(t *testing.T) {
	c := load(t)
	files, err := filepath.Glob(filepath.Join(testdata, "values", "*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := render(c, valuesOf(t, raw))
			if err != nil {
				t.Fatal(err)
			}
			newCluster(t, got).check()
			golden := filepath.Join(testdata, "manifests", name)
			// Alerts and dashboards have files of their own.
			got = withoutFiles(t, got)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("not what %s has: run make generate, and read the difference\n%s", golden, firstDifference(got, string(want)))
			}
		})
	}
}

// withoutFiles leaves out objects that hold whole files of the repository.
func withoutFiles(t *testing.T, manifests string) string {
	t.Helper()
	var out strings.Builder
	for _, part := range strings.SplitAfter(manifests, "\n---\n") {
		if strings.Contains(part, "# templates/dashboards.yaml") || strings.Contains(part, "# templates/prometheusrule.yaml") {
			continue
		}
		out.WriteString(part)
	}
	return out.String()
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "got:  " + a[i] + "\nwant: " + b[i]
		}
	}
	return "one has more lines"
}

// TestOneSource: the alerts and dashboards in the cluster are those of the repository.
func TestOneSource(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(testdata, "values", "everything.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := render(load(t), valuesOf(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	k := newCluster(t, got)
	var rules struct{ Spec any }
	k.decode("PrometheusRule", "features", &rules)
	alerts, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := yaml.Unmarshal(alerts, &want); err != nil {
		t.Fatal(err)
	}
	a, _ := yaml.Marshal(rules.Spec)
	b, _ := yaml.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Error("the PrometheusRule has other rules than deploy/prometheus/alerts.yaml")
	}
	dashboards, err := filepath.Glob(filepath.Join(root, "deploy", "grafana", "*.json"))
	if err != nil || len(dashboards) == 0 {
		t.Fatal(dashboards, err)
	}
	for _, file := range dashboards {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		var m struct{ Data map[string]string }
		k.decode("ConfigMap", "features-"+strings.TrimSuffix(name, ".json"), &m)
		if strings.TrimSpace(m.Data[name]) != strings.TrimSpace(string(want)) {
			t.Errorf("the ConfigMap of %s has another text", name)
		}
		if len(want) > 900<<10 {
			t.Errorf("%s is too large for a ConfigMap", name)
		}
	}
}

// TestRefused: values that can't work are refused, by the schema or with what to do.
func TestRefused(t *testing.T) {
	c := load(t)
	const ok = "stores: {existingSecret: s}\nserver: {auth: false, insecure: true}\n"
	if _, err := render(c, valuesOf(t, []byte(ok))); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ values, want string }{
		{"{}", "server.tls.existingSecret names the secret"},
		{"server: {insecure: true}", "stores.existingSecret names the secret"},
		{"stores: {existingSecret: s}\nserver: {auth: false, tls: {existingSecret: t}}", "server.auth is off"},
		{ok + "replica: 3", "additional properties 'replica' not allowed"},
		{ok + "replicas: '3'", "/replicas': got string, want integer"},
		{ok + "image: {tag: 'v1 beta'}", "does not match pattern"},
		{ok + "image: {digest: latest}", "does not match pattern"},
		{ok + "mode: redis", "must be one of 'shared', 'embedded'"},
		{ok + "config: {version: 1, project: p, online: 'redis://:secret@redis'}", "/config/online': false schema"},
		{ok + "config: {version: 2}", "value must be 1"},
		{ok + "stores: {existingSecret: s, registryURL: 'postgres://u:p@h/d'}", "additional properties 'registryURL'"},
		{ok + "resources: {limits: {memory: 2gb}}", `resources.limits.memory is "2gb"`},
		{ok + "persistence: {accessModes: [ReadWriteMany]}", "must be one of 'ReadWriteOnce'"},
		{ok + "metrics: {serviceMonitor: {enabled: true, interval: often}}", "does not match pattern"},
		{ok + "server: {auth: false, insecure: true, tls: {clientCA: true}}", "clientCA needs server.tls.existingSecret"},
		{"stores: {existingSecret: s}\nserver: {insecure: true}\nmetrics: {serviceMonitor: {enabled: true}}", "a scrape takes a token"},
		{"mode: embedded\nserver: {insecure: true}\nautoscaling: {enabled: true}", "autoscaling needs mode shared"},
		{ok + "definitions: {a.yaml: 'kind: Entity'}\nconfig: {version: 1, project: p, definitions: {from: /x}}", "one source of definitions is enough"},
		{ok + "definitions: {../a.yaml: x}", "propertyName"},
	} {
		// A key that is given twice is the later one.
		values := map[string]any{}
		for line := range strings.SplitSeq(test.values, "\n") {
			maps.Copy(values, valuesOf(t, []byte(line)))
		}
		if _, err := render(c, values); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %s", test.values, err, test.want)
		}
	}
}

// TestLint is `helm lint`.
func TestLint(t *testing.T) {
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(testdata, "values", "everything.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range []map[string]any{{}, valuesOf(t, raw)} {
		for _, m := range lint.AllWithKubeVersion(chartDir, values, "features", version).Messages {
			if m.Severity > support.InfoSev {
				t.Error(m)
			}
		}
	}
}
