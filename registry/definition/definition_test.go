package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

func TestProjectInFull(t *testing.T) {
	p, err := LoadProject("testdata/good", Outside{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(p.Definitions, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/good/definitions.json", append(got, '\n'))
	back := new(registry.Definitions)
	if err := json.Unmarshal(got, back); err != nil {
		t.Fatal(err)
	}
	if back.Digest() != p.Definitions.Digest() {
		t.Error("the digest changes with a round trip through JSON")
	}
	want := &Config{
		Version: 1, Project: "flights", Roots: map[string]string{"lake": "./data"},
		Registry: "sqlite://.provender/registry.db", Online: "embedded://.provender/online",
		Server: Server{GRPC: "127.0.0.1:6565", HTTP: "127.0.0.1:6566", Admin: defaultAdmin, AdminByDefault: true, DrainDelay: time.Second / 2, SlowRequest: time.Second},
		Limits: DefaultLimits(), Materialize: DefaultMaterialize(), Definitions: defaultUpstream,
	}
	if diff := cmp.Diff(want, p.Config); diff != "" {
		t.Error(diff)
	}
	for _, at := range []struct {
		want string
		path []string
	}{
		{"features/airports.yaml:16:7", []string{KindFeatureView, "airport_hourly"}},
		{"features/airports.yaml:25:52", []string{KindFeatureView, "airport_hourly", "features", "1", "type"}},
		{"features/airports.yaml:25:5", []string{KindFeatureView, "airport_hourly", "features", "1", "default"}},
		{"features/airports.yaml:19:8", []string{KindFeatureView, "airport_hourly", "keys", "@airport"}},
		{"features/more.yml:20:15", []string{KindSource, "route_daily", "event_time"}},
		{"features/more.yml:19:7", []string{KindSource, "route_daily", "parquet", "1"}},
	} {
		if got := p.Positions.At(at.path[0], at.path[1], at.path[2:]...).String(); got != "testdata/good/"+at.want {
			t.Errorf("%v is at %s, want %s", at.path, got, at.want)
		}
	}
	if at := p.Positions.At(KindEntity, "nobody"); at != (diag.Position{}) {
		t.Error(at)
	}
}

func TestLoadOrderAndDotFiles(t *testing.T) {
	dir := t.TempDir()
	entity := func(name string) []byte {
		return []byte("kind: Entity\nname: " + name + "\njoin_keys: [{name: k, type: int64}]\n")
	}
	for path, content := range map[string][]byte{
		"z.yaml": entity("a"), "sub/deep/b.yml": entity("b"), "a.yaml": entity("c"),
		"empty.yaml": nil, "comment.yaml": []byte("# nothing\n---\n# either\n"), "null.yaml": []byte("~\n"),
		"bom.yaml":    append([]byte("\ufeff"), entity("d")...),
		"crlf.yaml":   []byte(strings.ReplaceAll(string(entity("e")), "\n", "\r\n")),
		".git/x.yaml": []byte("{"), ".hidden.yaml": []byte("{"), "sub/.x/y.yml": []byte("{"),
		"notes.txt": []byte("{"), "x.yaml.bak": []byte("{"),
	} {
		put(t, filepath.Join(dir, path), content)
	}
	if err := os.Symlink("../z.yaml", filepath.Join(dir, "sub", "link.yaml.txt")); err != nil {
		t.Fatal(err)
	}
	defs, _, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range defs.Entities {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "a b c d e" {
		t.Error(got)
	}
	// The same definitions in other files are the same definitions.
	one, _, err := Parse([]File{{"x", []byte(strings.Join([]string{
		string(entity("e")), string(entity("d")), string(entity("c")), string(entity("b")), string(entity("a")),
	}, "---\n"))}})
	if err != nil || one.Digest() != defs.Digest() {
		t.Error(err, one.Digest(), defs.Digest())
	}
}

func TestProblemsOfAllFilesInOnePass(t *testing.T) {
	_, _, err := Parse([]File{
		{"b.yaml", []byte("kind: Entity\nname: B\njoin_keys: [{name: k, type: int}]\n")},
		{"a.yaml", []byte("kind: Entity\nname: a\nx: 1\n---\nkind: Nothing\n---\nkind: [\n")},
		{"c.yaml", []byte("kind: FeatureView\nname: v\nentities: [nobody]\nsource: nothing\nfeatures: [{name: f, type: int64}]\n")},
	})
	const want = `a.yaml:1:1: missing-key: an entity needs the key "join_keys" ([{name: …, type: string}])
a.yaml:3:1: unknown-key: unknown key "x" in an entity
a.yaml:5:7: unknown-kind: unknown kind "Nothing" (one of Entity, Source, FeatureView, FeatureService)
a.yaml:8:1: yaml-syntax: did not find expected node content while parsing a flow node
b.yaml:2:7: bad-name: entity "B" is not a name (lower-case letters, digits and _, beginning with a letter)
b.yaml:3:29: unknown-type: unknown type "int" (write int64)`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v", err)
	}
}

func TestAliasesAndLimits(t *testing.T) {
	var wide strings.Builder
	wide.WriteString("kind: Entity\nname: a\njoin_keys: [{name: k, type: int64}]\ntags: {")
	for i := range 20_000 {
		fmt.Fprintf(&wide, "t%d: x, ", i)
	}
	wide.WriteString("}\n")
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	for name, c := range map[string]struct{ text, want string }{
		"many tags":   {wide.String(), ""},
		"deep":        {"x: " + deep, codeDocumentTooLarge},
		"very deep":   {"x: " + strings.Repeat("[", 1<<20), codeSyntax},
		"large":       {strings.Repeat("#", MaxFileBytes+1), codeFileTooLarge},
		"limit":       {strings.Repeat("#", MaxFileBytes), ""},
		"only anchor": {"kind: Entity\nname: &n a\njoin_keys: [{name: *n, type: int64}]\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse([]File{{"f.yaml", []byte(c.text)}})
			var set diag.Set
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &set) || set[0].Code != c.want) {
				t.Error(err)
			}
		})
	}
}

func TestConfigEnvironments(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "secret"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "secret", "hook"), []byte("\ts3cret\n"))
	put(t, filepath.Join(dir, ConfigName), []byte(`
version: 1
project: flights
roots: {lake: ./data, other: /mnt}
registry: sqlite://${BASE}.db
server: {grpc: "0.0.0.0:1", certificates: {job: [read-online], "spiffe://x/y": [admin, apply]}, tls: {client_ca: ca.pem}, auth: true}
limits: {parquet_page: 1.5GiB, request_entities: 7, export_memory: 12345}
materialize: {memory: 1GiB, rate: 50000, max_rejected: 0.001, backoff: 1m30s}
environments:
  prod:
    project: ${NAME}_prod
    roots: {lake: "s3://company-lake/flights"}
    registry: "${DATABASE}"
    online: "redis://:${PASSWORD}@cache:6379"
    server: {http: "[::]:${PORT}", admin: off, tls: {cert: "${NAME}.crt", key: f.key}, audit: stderr, certificates: {job: [write]}, insecure: "${YES}"}
    limits: {parquet_page: "${PORT}MB", request_message: 64 MiB}
    materialize: {rate: 0, webhook: "https://hooks.example.com/${file:secret/hook}"}
  empty: {server: {tls: {cert: a.crt, key: a.key}}}
`))
	vars := map[string]string{
		"DATABASE": "postgres://u:p@db/x", "PASSWORD": "${BASE}: #'\"", "PORT": "80", "NAME": "f", "BASE": "b", "YES": "true",
	}
	limits := DefaultLimits()
	limits.ParquetPage, limits.RequestEntities, limits.ExportMemory = 3<<29, 7, 12345
	prodLimits := limits
	prodLimits.ParquetPage, prodLimits.RequestMessage = 80_000_000, 64<<20
	runs := DefaultMaterialize()
	runs.Memory, runs.Rate, runs.MaxRejected, runs.Backoff = 1<<30, 50000, 0.001, 90*time.Second
	prodRuns := runs
	prodRuns.Rate, prodRuns.Webhook = 0, "https://hooks.example.com/s3cret"
	prod := &Config{
		Version: 1, Project: "f_prod", Environment: "prod",
		Roots:    map[string]string{"lake": "s3://company-lake/flights", "other": "/mnt"},
		Registry: "postgres://u:p@db/x", Online: "redis://:${BASE}: #'\"@cache:6379",
		Server: Server{
			GRPC: "0.0.0.0:1", HTTP: "[::]:80", Admin: AdminOff, TLS: TLS{Cert: "f.crt", Key: "f.key", ClientCA: "ca.pem"}, Auth: true, Insecure: true,
			Audit: AuditStderr, Certificates: map[string][]auth.Role{"job": {auth.Write}, "spiffe://x/y": {auth.Admin, auth.Apply}}, DrainDelay: time.Second / 2, SlowRequest: time.Second,
		},
		Limits: prodLimits, Materialize: prodRuns, Definitions: defaultUpstream,
	}
	base := &Config{
		Version: 1, Project: "flights", Roots: map[string]string{"lake": "./data", "other": "/mnt"},
		Registry: "sqlite://b.db", Online: "embedded://.provender/online",
		Server: Server{
			GRPC: "0.0.0.0:1", HTTP: "127.0.0.1:6566", Admin: defaultAdmin, AdminByDefault: true, TLS: TLS{Cert: "a.crt", Key: "a.key", ClientCA: "ca.pem"}, Auth: true,
			Certificates: map[string][]auth.Role{"job": {auth.ReadOnline}, "spiffe://x/y": {auth.Admin, auth.Apply}}, DrainDelay: time.Second / 2, SlowRequest: time.Second,
		},
		Limits: limits, Materialize: runs, Definitions: defaultUpstream,
	}
	load := func(env string, want *Config) {
		t.Helper()
		var environ []string
		for name, value := range vars {
			environ = append(environ, name+"="+value)
		}
		got, err := LoadConfig(dir, Outside{Env: env, Environ: environ})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	vars[EnvironmentVariable] = "empty"
	base.Environment = "empty"
	load("", base)
	delete(vars, "BASE") // what an override hides need not be set
	load("prod", prod)
	vars[EnvironmentVariable] = "prod"
	load("", prod)
	vars["BASE"] = "b"
	load("empty", base)
}

// Limits are unset until they are, and every default is one that may be set.
func TestLimitDefaults(t *testing.T) {
	for _, l := range limitTable {
		if n := *l.value(new(Limits)); n != 0 {
			t.Errorf("%s: %d", l.name, n)
		}
		defaults := DefaultLimits()
		if n := *l.value(&defaults); n < 1 || n > l.most {
			t.Errorf("%s: default %d", l.name, n)
		}
	}
}

func TestConfigMissingOrEmpty(t *testing.T) {
	dir := t.TempDir()
	for _, load := range []func() error{
		func() error { _, err := LoadConfig(dir, Outside{}); return err },
		func() error { _, err := LoadProject(dir, Outside{}); return err },
	} {
		if err := load(); problem.CodeOf(err) != problem.NotFound || !strings.Contains(err.Error(), "provender init") {
			t.Error(err)
		}
	}
	for text, code := range map[string]string{
		"": codeMissingKey, "# x\n": codeMissingKey, "- a\n": codeWrongType, "version: 1\nproject: a\n---\nversion: 1\n": codeWrongType,
		"version: 1\nproject: ''\n": codeBadName, "version: 2\nproject: a\n": codeBadVersion, "version: 1\nproject: a\nroots: {lake: ''}\n": codeBadPath,
		"version: 1\nproject: a\nroots: {lake: 'ftp://x/y'}\n": codeBadURL, "version: 1\nproject: a\nroots: {lake: 's3:///y'}\n": codeBadURL,
		"version: 1\nproject: a\nroots: {lake: 's3://key:canary@bucket/y'}\n": codeBadURL,
		"version: 1\nproject: a\nserver: 1\n":                                 codeWrongType, "version: 1\nproject: a\nroots: [a]\n": codeWrongType,
		"version: 1\nproject: a\nenvironments: {prod: }\n": codeWrongType,
	} {
		put(t, filepath.Join(dir, ConfigName), []byte(text))
		_, err := LoadConfig(dir, Outside{})
		var set diag.Set
		if !errors.As(err, &set) || set[0].Code != code {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a garbled URL of the online store holds is not shown, neither by the message nor by the line that it quotes.
func TestOnlineURLs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ConfigName)
	for url, said := range map[string]string{
		"redis://:pa/CANARY@h": "can't be read", "redis://:12/CANARY@h": "can't be read", "redis://u:12?CANARY@h": "can't be read",
		"redis://h?sentinel_password=CANARY": "scheme is not redis-sentinel", "redis://:CAN'ARY@h/x": "not a number", "redis://:CAN ARY@h?poolsize=1": "pool_size",
		"redis-cluster://:CANARY@h/0": "no numbered databases",
	} {
		put(t, path, fmt.Appendf(nil, "version: 1\nproject: a\nonline: %q\n", url))
		_, err := LoadConfig(dir, Outside{})
		var set diag.Set
		if !errors.As(err, &set) || set[0].Code != codeBadURL || !strings.Contains(set[0].Message+set[0].Hint, said) {
			t.Errorf("%s: %v", url, err)
		}
		var b strings.Builder
		if err := diag.Render(&b, set, os.ReadFile); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "CAN") || strings.Contains(b.String(), "ARY") {
			t.Errorf("%s: %s", url, b.String())
		}
	}
	put(t, path, []byte("version: 1\nproject: a\nonline: rediss-cluster://u:p@a,b?pool_size=x&client_name=&nosuch=1\n"))
	_, err := LoadConfig(dir, Outside{})
	var set diag.Set
	if !errors.As(err, &set) || len(set) != 3 {
		t.Errorf("want three problems at once: %v", err)
	}
}

// What Load accepts, Compile does; FuzzDefinitions holds it to that.
func TestDefaultsFitTheirTypes(t *testing.T) {
	p, err := LoadProject("testdata/good", Outside{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range p.Definitions.Views {
		for _, f := range v.Features {
			if f.Default == nil {
				continue
			}
			n++
			if _, err := columnar.ParseJSON(f.Type, f.Default); err != nil {
				t.Error(err)
			}
		}
	}
	if n != 7 {
		t.Errorf("%d defaults", n)
	}
}
