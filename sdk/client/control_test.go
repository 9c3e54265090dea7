package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/store"
	"github.com/provender-dev/provender/sdk/client"
)

// shopYAML is a definition file with a feature of a type.
func shopYAML(feature, typ string) []client.DefinitionFile {
	return []client.DefinitionFile{
		{Name: "entities.yaml", Content: []byte("kind: Entity\nname: customer\njoin_keys: [{name: customer_id, type: int64}]\n")},
		{Name: "views.yaml", Content: []byte(`kind: FeatureView
name: orders
entities: [customer]
source: {parquet: "lake:orders/**", event_time: at}
features: [{name: ` + feature + `, type: ` + typ + `}]
---
kind: FeatureService
name: churn
features: [{view: orders}]
`)},
	}
}

// registryClient returns a client of an empty registry, with what changes it.
func registryClient(t *testing.T) *client.Client {
	t.Helper()
	dir := t.TempDir()
	reg, err := store.Open(t.Context(), "sqlite://registry.db", dir)
	must(t, err)
	t.Cleanup(func() { must(t, reg.Close()) })
	config := &definition.Config{Project: "shop", Roots: map[string]string{"lake": filepath.Join(dir, "data")}}
	changes := control.New(control.Config{
		Registry: reg, Project: config, Files: source.New(dir, config.Roots), Limits: parquet.Limits{}, Now: time.Now, Tool: "v1",
	})
	return dial(t, rpc.Services{Revisions: reg, Control: changes}, io.Discard)
}

func failure(t *testing.T, err error) *client.Error {
	t.Helper()
	var failed *client.Error
	if !errors.As(err, &failed) {
		t.Fatalf("error %v", err)
	}
	return failed
}

// TestPlanAndApply: what a client plans is what it applies, with who it says to be, and what a revision tells.
func TestPlanAndApply(t *testing.T) {
	c, ctx := registryClient(t), t.Context()
	if rev, plan, err := c.Revision(ctx, 0); err != nil || rev.Number != 0 || plan != nil {
		t.Errorf("before anything: %v %s %v", rev, plan, err)
	}
	planned, err := c.Plan(ctx, shopYAML("spend", "float64"), 0)
	must(t, err)
	if len(planned.Problems) > 0 || len(planned.Warnings) != 1 || planned.Warnings[0].Code != "no-data" ||
		planned.Warnings[0].File != "views.yaml" || planned.Warnings[0].Line != 4 {
		t.Errorf("problems %v, warnings %v", planned.Problems, planned.Warnings)
	}
	first, err := c.Apply(ctx, client.ApplyRequest{Plan: planned.JSON, Commit: "abc", By: "ann@desk"})
	must(t, err)
	// The address is that of a call over a network.
	if first.Number != 1 || first.Commit != "abc" || !strings.HasPrefix(first.By, "ann@desk from 127.0.0.1:") || first.Tool != "v1" {
		t.Errorf("applied: %+v", first)
	}
	if rev, _, err := c.Revision(ctx, 0); err != nil || rev != first {
		t.Errorf("current: %+v %v, applied %+v", rev, err, first)
	}

	again, err := c.Plan(ctx, shopYAML("spend", "float64"), 0)
	must(t, err)
	if rev, err := c.Apply(ctx, client.ApplyRequest{Plan: again.JSON}); err != nil || rev.Number != 1 {
		t.Errorf("nothing to do: %+v %v", rev, err)
	}

	second, err := c.Plan(ctx, append(shopYAML("spend", "float64"), client.DefinitionFile{
		Name: "more.yaml", Content: []byte("kind: Entity\nname: product\njoin_keys: [{name: sku, type: string}]\n"),
	}), 0)
	must(t, err)
	rev, err := c.Apply(ctx, client.ApplyRequest{Plan: second.JSON})
	must(t, err)
	if rev.Number != 2 || !strings.HasPrefix(rev.By, "unknown from ") {
		t.Errorf("the second: %+v", rev)
	}

	// Against an earlier revision there is still something to do, but not by apply.
	old, err := c.Plan(ctx, shopYAML("spend", "int64"), 1)
	must(t, err)
	if !bytes.Contains(old.JSON, []byte(`"base_revision": 1`)) {
		t.Errorf("against revision 1: %s", old.JSON)
	}
	_, err = c.Apply(ctx, client.ApplyRequest{Plan: old.JSON, AllowBreaking: true})
	if f := failure(t, err); f.Code != client.CodeConflict || f.Suggestion == "" {
		t.Errorf("a plan against revision 1: %+v", f)
	}

	back, err := c.PlanRollback(ctx, 1)
	must(t, err)
	rev, err = c.Apply(ctx, client.ApplyRequest{Plan: back, By: "ann@desk"})
	must(t, err)
	if rev.Number != 3 || rev.Digest != first.Digest {
		t.Errorf("rolled back: %+v, wanted digest %s", rev, first.Digest)
	}
}

// TestPlanProblems: all problems of the files come at once, each in its place.
func TestPlanProblems(t *testing.T) {
	c := registryClient(t)
	files := shopYAML("spend", "float46")
	files = append(files, client.DefinitionFile{Name: "a\xff.yaml", Content: []byte("kind: Entity\nname: x\njoin_kyes: []\n")})
	planned, err := c.Plan(t.Context(), files, 0)
	must(t, err)
	if planned.JSON != nil {
		t.Errorf("a plan: %s", planned.JSON)
	}
	var got []string
	for _, p := range planned.Problems {
		got = append(got, fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Col, p.Code, p.Hint))
	}
	want := []string{
		`a�.yaml:1:1: missing-key: `,
		`a�.yaml:3:1: unknown-key: did you mean "join_keys"?`,
		`views.yaml:5:32: unknown-type: did you mean "float64"?`,
	}
	for _, line := range want {
		if !strings.Contains(strings.Join(got, "\n"), line) {
			t.Errorf("no %s in\n%s", line, strings.Join(got, "\n"))
		}
	}
}

// TestControlRefuses: bad requests are refused by the part at fault.
func TestControlRefuses(t *testing.T) {
	c, ctx := registryClient(t), t.Context()
	planned, err := c.Plan(ctx, shopYAML("spend", "float64"), 0)
	must(t, err)
	plan := func(files ...client.DefinitionFile) func() error {
		return func() error { _, err := c.Plan(ctx, files, 0); return err }
	}
	apply := func(req client.ApplyRequest) func() error {
		return func() error { _, err := c.Apply(ctx, req); return err }
	}
	many := make([]client.DefinitionFile, 10_001)
	for i := range many {
		many[i].Name = fmt.Sprint(i, ".yaml")
	}
	edited := bytes.ReplaceAll(planned.JSON, []byte(`"orders"`), []byte(`"others"`))
	for name, test := range map[string]struct {
		call        func() error
		code, field string
	}{
		"too many files": {plan(many...), client.CodeExhausted, "files"},
		"no name":        {plan(client.DefinitionFile{}), client.CodeInvalid, "files[0].name"},
		"long name":      {plan(client.DefinitionFile{Name: strings.Repeat("x", 4097)}), client.CodeInvalid, "files[0].name"},
		"one name twice": {plan(client.DefinitionFile{Name: "x"}, client.DefinitionFile{Name: "x"}), client.CodeInvalid, "files[1].name"},
		"against no revision": {
			func() error { _, err := c.Plan(ctx, nil, -1); return err }, client.CodeInvalid, "against",
		},
		"against one to come": {
			func() error { _, err := c.Plan(ctx, nil, 9); return err }, client.CodeNotFound, "",
		},
		"no plan":        {apply(client.ApplyRequest{}), client.CodeInvalid, "plan"},
		"half a plan":    {apply(client.ApplyRequest{Plan: planned.JSON[:len(planned.JSON)/2]}), client.CodeInvalid, "plan"},
		"an edited plan": {apply(client.ApplyRequest{Plan: edited}), client.CodeInvalid, "plan"},
		"long name of who": {
			apply(client.ApplyRequest{Plan: planned.JSON, By: strings.Repeat("x", 257)}), client.CodeInvalid, "by",
		},
		"lines in who":    {apply(client.ApplyRequest{Plan: planned.JSON, By: "a\nb"}), client.CodeInvalid, "by"},
		"lines in commit": {apply(client.ApplyRequest{Plan: planned.JSON, Commit: "a\rb"}), client.CodeInvalid, "commit"},
		"rollback to nothing": {
			func() error { _, err := c.PlanRollback(ctx, 0); return err }, client.CodeInvalid, "revision",
		},
		"rollback to one to come": {
			func() error { _, err := c.PlanRollback(ctx, 7); return err }, client.CodeNotFound, "",
		},
		"no revision": {
			func() error { _, _, err := c.Revision(ctx, -1); return err }, client.CodeInvalid, "number",
		},
		"revision to come": {
			func() error { _, _, err := c.Revision(ctx, 7); return err }, client.CodeNotFound, "",
		},
	} {
		if f := failure(t, test.call()); f.Code != test.code || f.Field != test.field {
			t.Errorf("%s: code %s, field %q: %s", name, f.Code, f.Field, f.Message)
		}
	}
	if revs, err := c.Revisions(ctx, 0); err != nil || len(revs) > 0 {
		t.Errorf("applied: %v %v", revs, err)
	}
}

// TestControlAbsent: a server that only reads definitions says so.
func TestControlAbsent(t *testing.T) {
	reg, err := store.Open(t.Context(), "sqlite://registry.db", t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, reg.Close()) })
	c := dial(t, rpc.Services{Revisions: reg}, io.Discard)
	ctx := context.Background()
	_, planned := c.Plan(ctx, nil, 0)
	_, back := c.PlanRollback(ctx, 1)
	_, applied := c.Apply(ctx, client.ApplyRequest{})
	for _, err := range []error{planned, back, applied} {
		if f := failure(t, err); f.Code != client.CodeUnimplemented {
			t.Errorf("code %s: %s", f.Code, f.Message)
		}
	}
}
