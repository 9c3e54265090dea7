package definition

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/diag"
)

// keyOf is a key of a setting: one name where it has one for each.
func keyOf(s Setting) string {
	group, named := s.group()
	if named {
		return group + "some_name"
	}
	return s.Key
}

// Every key of the file has a variable and a flag, and both arrive where the file's value does.
func TestEverySetting(t *testing.T) {
	schema, _ := resolvedSchema(t)
	var keys []string
	var walk func(prefix string, s *jsonschema.Schema)
	walk = func(prefix string, s *jsonschema.Schema) {
		for name, below := range s.Properties {
			walk(prefix+name+".", below)
		}
		if below := s.AdditionalProperties; len(s.Properties) == 0 && below != nil && below.Not == nil {
			walk(prefix+settingName+".", below)
		} else if len(s.Properties) == 0 {
			keys = append(keys, strings.TrimSuffix(prefix, "."))
		}
	}
	for _, key := range overrideKeys {
		walk(key+".", schema.Then.Properties[key])
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, slices.Sorted(slices.Values(settingKeys()))); diff != "" {
		t.Errorf("-schema +Settings\n%s", diff)
	}

	for _, s := range Settings {
		key := keyOf(s)
		variable := capitals("provender." + key)
		for from, o := range map[string]Outside{
			variable:       {Environ: []string{variable + "=x"}},
			"--set " + key: {Set: []string{key + "=x"}},
		} {
			d := newDecoder("provender.yaml")
			made, _ := parseConfig(d, []byte("version: 1\nproject: p\n"), o, values{getenv: o.Getenv})
			got := made.all()[key]
			if got.text != "x" || got.node == nil || d.at(got.node).String() != from {
				t.Errorf("%s by %s: %+v", key, from, got)
			}
		}
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, ConfigName), []byte(`version: 1
project: p
roots: {lake: file, other: file}
registry: postgres://u:hunter2@file/x
server: {tls: {cert: file, key: file, client_ca: file}, auth: true, certificates: {job: [write], other: [write]}}
limits: {exports: 11, spine_rows: 11, spine_columns: 11, request_entities: 11}
environments:
  prod:
    limits: {exports: 22, spine_rows: 22, spine_columns: 22}
    roots: {lake: prod}
`))
	o := Outside{
		Env: "prod",
		Environ: []string{
			"PROVENDER_LIMITS_EXPORTS=33", "PROVENDER_LIMITS_SPINE_ROWS=33", "PROVENDER_ROOTS_LAKE=s3://bucket/x", "PROVENDER_ROOTS_MORE=variable",
			"PROVENDER_ONLINE=redis://:${PASSWORD}@variable", "PASSWORD=hunter2", "PROVENDER_REGISTRY=", "PROVENDER_SERVER_TLS_KEY=variable",
			"PROVENDER_MATERIALIZE_WEBHOOK=https://hooks.example.com/hunter2", "PROVENDER_DEFINITIONS_WEBHOOK_SECRET=hunter2hunter2hunter2",
			"PROVENDER_DEFINITIONS_FROM=git:https://u:hunter2@host/r", "PROVENDER_SERVER=elsewhere:1", "PROVENDER_SERVER_CERTIFICATES_JOB=read-online",
			"PROVENDER_LIMITS_EXPORTS=44", // os.Getenv has the first
		},
		Set: []string{
			"limits.exports=55", "limits.exports=66", "server.tls.cert=flag", "server.certificates.spiffe://a.b/c=admin, apply", "materialize.rate=7",
			"server.admin=127.0.0.1:7",
		},
	}
	cfg, err := LoadConfig(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	limits := DefaultLimits()
	limits.Exports, limits.SpineRows, limits.SpineColumns, limits.RequestEntities = 66, 33, 22, 11
	runs := DefaultMaterialize()
	runs.Rate, runs.Webhook = 7, "https://hooks.example.com/hunter2"
	if diff := cmp.Diff(&Config{
		Version: 1, Project: "p", Environment: "prod", Roots: map[string]string{"lake": "s3://bucket/x", "other": "file", "more": "variable"},
		Registry: "postgres://u:hunter2@file/x", Online: "redis://:hunter2@variable", Limits: limits, Materialize: runs,
		Server: Server{
			GRPC: cfg.Server.GRPC, HTTP: cfg.Server.HTTP, Admin: "127.0.0.1:7", TLS: TLS{Cert: "flag", Key: "variable", ClientCA: "file"}, Auth: true,
			Certificates: map[string][]auth.Role{"job": {auth.ReadOnline}, "other": {auth.Write}, "spiffe://a.b/c": {auth.Admin, auth.Apply}}, DrainDelay: time.Second / 2, SlowRequest: time.Second,
		},
		Definitions: Upstream{From: "git:https://u:hunter2@host/r", Interval: defaultUpstream.Interval, WebhookSecret: "hunter2hunter2hunter2"},
	}, cfg); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	values, err := Values(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	for _, v := range values {
		if v.From != "" {
			fmt.Fprintf(&told, "%s %s <- %s\n", v.Key, v.Text, strings.TrimPrefix(v.From, dir+string(filepath.Separator)))
		}
	}
	if diff := cmp.Diff(`project p <- provender.yaml:2:10
roots.lake s3://bucket/x <- PROVENDER_ROOTS_LAKE
roots.more variable <- PROVENDER_ROOTS_MORE
roots.other file <- provender.yaml:3:28
registry postgres://***@file/x <- provender.yaml:4:11
online redis://***@variable <- PROVENDER_ONLINE
server.admin 127.0.0.1:7 <- --set server.admin
server.tls.cert flag <- --set server.tls.cert
server.tls.key variable <- PROVENDER_SERVER_TLS_KEY
server.tls.client_ca file <- provender.yaml:5:50
server.auth true <- provender.yaml:5:63
server.certificates.job read-online <- PROVENDER_SERVER_CERTIFICATES_JOB
server.certificates.other write <- provender.yaml:5:98
server.certificates.spiffe://a.b/c admin,apply <- --set server.certificates.spiffe://a.b/c
limits.spine_rows 33 <- PROVENDER_LIMITS_SPINE_ROWS
limits.spine_columns 22 <- provender.yaml:9:58
limits.exports 66 <- --set limits.exports
limits.request_entities 11 <- provender.yaml:6:76
materialize.rate 7 <- --set materialize.rate
materialize.webhook https://hooks.example.com/*** <- PROVENDER_MATERIALIZE_WEBHOOK
definitions.from git:https://host/r <- PROVENDER_DEFINITIONS_FROM
definitions.webhook_secret *** <- PROVENDER_DEFINITIONS_WEBHOOK_SECRET
`, told.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, v := range values {
		if i := slices.IndexFunc(Settings, func(s Setting) bool { return s.Key == v.Key }); v.From == "" && v.Text != Settings[i].Default {
			t.Errorf("%+v is no default", v)
		}
	}
}

// What is wrong outside has a place, as what is wrong in the file.
func TestOutsideProblems(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, ConfigName), []byte("version: 1\nproject: p\nonline: redis://:${PROVENDER_ONLINE_PASSWORD}@h\n"))
	for arg, want := range map[string]string{
		"PROVENDER_LIMITS_EXPORTS=lots":              `PROVENDER_LIMITS_EXPORTS: bad-limit: limits.exports: "lots" is not a whole number (write digits alone, such as 4)`,
		"PROVENDER_LIMITS_EXPORT=4":                  "PROVENDER_LIMITS_EXPORT: unknown-key: no setting has this variable (did you mean PROVENDER_LIMITS_EXPORTS?)",
		"PROVENDER_LIMITS_QWERTYUIOP=4":              "PROVENDER_LIMITS_QWERTYUIOP: unknown-key: no setting has this variable",
		"PROVENDER_REGSTRY=postgres://canary@h":      "PROVENDER_REGSTRY: unknown-key: no setting has this variable (did you mean PROVENDER_REGISTRY?)",
		"PROVENDER_REGISTRY=postgrs://canary@h":      `PROVENDER_REGISTRY: bad-url: registry: the URL's scheme is not one of sqlite, postgres, postgresql (did you mean "postgres"?)`,
		"PROVENDER_ONLINE=redis://canary:1/x":        "PROVENDER_ONLINE: bad-url: online: ",
		"PROVENDER_ONLINE=${NOSUCH}":                 "PROVENDER_ONLINE: unset-variable: the environment variable NOSUCH is not set",
		"PROVENDER_SERVER_GRPC=nowhere":              "PROVENDER_SERVER_GRPC: bad-address: ",
		"PROVENDER_SERVER_ADMIN=none":                "PROVENDER_SERVER_ADMIN: bad-address: server.admin: ",
		"PROVENDER_SERVER_AUTH=perhaps":              "PROVENDER_SERVER_AUTH: bad-setting: ",
		"PROVENDER_SERVER_TLS_CERT=x":                "PROVENDER_SERVER_TLS_CERT: missing-key: server.tls.cert needs server.tls.key",
		"PROVENDER_SERVER_CERTIFICATES_JOB=admin,ad": "PROVENDER_SERVER_CERTIFICATES_JOB: bad-choice: ",
		"PROVENDER_ROOTS_=x":                         "PROVENDER_ROOTS_: unknown-key: ",
		"PROVENDER_ROOTS_9=x":                        "PROVENDER_ROOTS_9: bad-name: ",
		"PROVENDER_ENV=prod":                         "unknown-environment: ",
		"--set limits.exports=0":                     "--set limits.exports: bad-limit: limits.exports is 0; it must be at least 1",
		"--set limits.export=4":                      `--set limits.export: unknown-key: there is no setting "limits.export" (did you mean "limits.exports"?)`,
		"--set limits.exports":                       "--set limits.exports: missing-key: a value is missing (write --set limits.exports=VALUE)",
		"--set version=1":                            `--set version: unknown-key: there is no setting "version"`,
		"--set limits=1":                             `--set limits: unknown-key: there is no setting "limits"`,
		"--set redis://canary@h?x=1":                 "--set: unknown-key: want KEY=VALUE (as in --set server.grpc=127.0.0.1:6565)",
		"--set project=":                             "--set project: bad-name: ",
		"--set materialize.webhook=ftp://canary":     "--set materialize.webhook: bad-setting: ",
		"--set definitions.webhook_secret=canary":    "--set definitions.webhook_secret: bad-setting: ",
	} {
		o := Outside{Environ: []string{"PROVENDER_ONLINE_PASSWORD=pw"}}
		if set, ok := strings.CutPrefix(arg, "--set "); ok {
			o.Set = []string{set}
		} else {
			o.Environ = append(o.Environ, arg)
		}
		_, err := LoadConfig(dir, o)
		var set diag.Set
		if !errors.As(err, &set) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v\nwant %s", arg, err, want)
		}
	}
}

// What is not meant for us is nobody's business.
func TestVariablesOfOthers(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, ConfigName), []byte("version: 1\nproject: p\nregistry: ${PROVENDER_REGISTRY_URL}\n"))
	cfg, err := LoadConfig(dir, Outside{Environ: []string{
		"PROVENDER_REGISTRY_URL=postgres://h/x", "PROVENDER_VERSION=1.2", "PROVENDER_TLS_CA=x", "PROVENDER_TOKEN=x", "PROVENDER_TEST_PYTHON=x",
		"PROVENDER_SEED=1", "PROVENDER_BINARY=x", "PROVENDER_APPLY=x", "PROVENDER_FAILPOINTS=x", "PROVENDER_WEBHOOK=x", "HOME=/",
		// Kubernetes, of the services provender, provender-server and provender-registry
		"PROVENDER_SERVICE_HOST=10.0.0.1", "PROVENDER_SERVICE_PORT=6565", "PROVENDER_SERVICE_PORT_GRPC=6565", "PROVENDER_PORT=tcp://10.0.0.1:6565",
		"PROVENDER_PORT_6565_TCP=x", "PROVENDER_PORT_6565_TCP_PROTO=tcp", "PROVENDER_SERVER_SERVICE_HOST=x", "PROVENDER_SERVER_PORT=x",
		"PROVENDER_SERVER_PORT_6565_TCP_ADDR=x", "PROVENDER_REGISTRY_PORT=x", "PROVENDER_REGISTRY_SERVICE_PORT=5432",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Registry != "postgres://h/x" || cfg.Server.GRPC != defaultServer().grpc.text {
		t.Errorf("%+v", cfg)
	}
}

func TestConfigurationReference(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`# Configuration

A setting comes from the first of these that has it:

1. the command line: ` + "`--set KEY=VALUE`" + `, on every command, or a flag of ` + "`serve`" + ` of its own;
2. the setting's variable, unless it is empty;
3. the part of ` + "`provender.yaml`" + ` for the environment that ` + "`--env`" + ` or ` + "`PROVENDER_ENV`" + ` names;
4. the rest of [` + "`provender.yaml`" + `](definitions.md#provenderyaml);
5. its default.

` + "`provender config`" + ` prints what each is and where that comes from, without passwords. Values are checked and ` + "`${VAR}` and `${file:PATH}`" + ` in them
expanded wherever they come from; relative paths are relative to the project's folder. What is wrong is told with its place: ` + "`provender.yaml:7:9`, `PROVENDER_LIMITS_EXPORTS` or\n`--set limits.exports`" + `. A variable
that begins as ours do, is no setting, and seems to be meant for one, is an error too, unless ` + "`provender.yaml`" + ` asks for it as ` + "`${NAME}`" + `.

NAME stands for a name that the project chooses. Names in variables are in lower case: ` + "`PROVENDER_ROOTS_LAKE`" + ` is the root ` + "`lake`" + `.

This page is made from the tables in ` + "`registry/definition`" + ` by ` + "`go test ./registry/definition -update`" + `.

| key | default | variable | flag of serve | |
|---|---|---|---|---|
`)
	for _, s := range Settings {
		code := func(text string) string {
			if text == "" {
				return ""
			}
			return "`" + text + "`"
		}
		fmt.Fprintf(&doc, "| `%s` | %s | `%s` | %s | %s |\n", s.Key, code(s.Default), s.Variable(), code(s.Flag), s.Meaning)
	}
	doc.WriteString(`
Variables that are no settings, such as those of ` + "`--server`" + `, are with [the commands](cli.md#for-every-command).
`)
	golden(t, "../../docs/reference/configuration.md", []byte(doc.String()))
}
