package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// Keys with every character that a shell, JSON or Python could take for something else arrive as they are.
func TestLookupsQuote(t *testing.T) {
	const odd = "it's \"a\", b\\ $HOME `x` é\n<&>\t\u2028 =,"
	q := &question{
		service: "model", grpc: "h:1", http: "h:2", values: []*columnar.Vector{
			columnar.NewVector(columnar.Type{Kind: columnar.String}, 1), columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1),
		},
		keys: []registry.RequestKey{{Name: "a b", Kind: columnar.String}, {Name: "n", Kind: columnar.Int64}},
	}
	q.values[0].AppendString(odd)
	q.values[1].AppendInt64(-1 << 63)

	// arguments returns what a shell passes to a command.
	arguments := func(name, command string) []string {
		out, err := exec.Command("sh", "-c", name+`() { printf '%s\0' "$@"; }; `+command).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	args := arguments("curl", q.curl())
	var body struct {
		Service string
		Keys    struct {
			A []string `json:"a b"`
			N []int64
		}
	}
	if err := json.Unmarshal([]byte(args[2]), &body); err != nil {
		t.Fatal(err)
	}
	if body.Service != "model" || body.Keys.A[0] != odd || body.Keys.N[0] != -1<<63 || args[3] != "http://h:2/v1/features:get" {
		t.Errorf("curl %q", args)
	}
	args = arguments("grpcurl", q.grpcurl())
	var message struct {
		Keys []struct {
			Name    string
			Strings []string
			Int64s  []int64
		}
	}
	if err := json.Unmarshal([]byte(args[2]), &message); err != nil {
		t.Fatal(err)
	}
	if message.Keys[0].Strings[0] != odd || message.Keys[1].Int64s[0] != -1<<63 || args[3] != "h:1" {
		t.Errorf("grpcurl %q", args)
	}
	args = arguments("provender", q.get())
	if want := `a b="` + strings.ReplaceAll(odd, `"`, `""`) + `",n=-9223372036854775808`; args[len(args)-1] != want {
		t.Errorf("provender %q, want %q", args, want)
	}
	out, err := exec.Command("python3", "-c", strings.Split(q.python(), "request =")[0]+`
import sys; sys.stdout.buffer.write(body["keys"]["a b"][0].encode())`).Output()
	if err != nil || string(out) != odd {
		t.Errorf("Python reads %q (%v)", out, err)
	}
}

func TestUses(t *testing.T) {
	dir := t.TempDir()
	run(t, "init", dir)
	run(t, "apply", "-C", dir, "--yes")
	var shown struct {
		uses
		Lookups *lookups
	}
	show := func(kind, name string) {
		t.Helper()
		shown.uses, shown.Lookups = uses{}, nil
		if err := json.Unmarshal([]byte(run(t, "show", kind, name, "-C", dir, "-o", "json")), &shown); err != nil {
			t.Fatal(err)
		}
	}
	show("source", "customer_orders")
	if diff := cmp.Diff(consumers{Views: []string{"customer_orders"}, Services: []string{"churn_model_v1"}}, shown.Consumers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(lineage{
		Source: "customer_orders", Column: "orders_30d", View: "customer_orders", Feature: "orders_30d",
		Outputs: []output{{Service: "churn_model_v1", Name: "orders_30d"}},
	}, shown.Lineage[0]); diff != "" || shown.Lookups != nil {
		t.Errorf("%s, lookups %v", diff, shown.Lookups)
	}
	show("service", "churn_model_v1")
	if len(shown.Consumers.Services) != 0 || len(shown.Lineage) != 3 || shown.Lookups == nil || !shown.Lookups.RealKey {
		t.Errorf("%+v", shown)
	}
	// Without the files there are placeholders.
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	show("view", "customer_orders")
	if shown.Lookups == nil || shown.Lookups.RealKey || !strings.Contains(shown.Lookups.Curl, `"customer_id": [1]`) {
		t.Errorf("%+v", shown.Lookups)
	}
}
