// Package feast reads a Provender server with Feast's own clients: its Python SDK, over HTTP, and its gRPC stubs.
package feast

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/provender-dev/provender/internal/cli"
	"github.com/provender-dev/provender/sdk/client"
)

// TestMain makes the test's program be provender where it is called so.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"provender": func() { os.Exit(cli.Main(os.Args[1:], cli.Process())) },
	})
}

const (
	now = "2026-05-04T12:00:00Z"

	definitions = `kind: Entity
name: driver
join_keys: [{name: driver_id, type: int64}]
---
kind: Entity
name: person
join_keys: [{name: name, type: string}]
---
kind: Source
name: stats
parquet: stats.parquet
event_time: at
---
kind: FeatureView
name: stats
entities: [driver]
source: stats
ttl: 1h
features:
  - {name: flag, type: bool}
  - {name: small, type: int32}
  - {name: big, type: int64}
  - {name: single, type: float32}
  - {name: wide, type: float64}
  - {name: whole, type: float64}
  - {name: word, type: string}
  - {name: raw, type: bytes}
  - {name: seen, type: timestamp}
  - {name: flags, type: list<bool>}
  - {name: smalls, type: list<int32>}
  - {name: bigs, type: list<int64>}
  - {name: singles, type: list<float32>}
  - {name: wides, type: list<float64>}
  - {name: words, type: list<string>}
  - {name: raws, type: list<bytes>}
  - {name: times, type: list<timestamp>}
  - {name: holes, type: list<int64>}
---
kind: FeatureView
name: people
entities: [person]
source: stats
ttl: 1h
features:
  - {name: big, type: int64, default: -1}
  - {name: wide, type: float64}
---
kind: FeatureView
name: everybody
entities: []
source: stats
features: [{name: whole, type: float64}]
---
kind: FeatureService
name: model
features: [{view: stats}]
---
kind: FeatureService
name: pair
features:
  - {view: stats, prefix: first_, join: {driver_id: first}, features: [{name: big}, {name: wide, as: width}]}
  - {view: stats, prefix: second_, join: {driver_id: second}, features: [{name: big}]}
  - {view: people, features: [{name: big}]}
`
)

// request is asked in several ways of Feast's, and of the Go client.
type request struct {
	Ways     []string `json:"ways"`
	Service  string   `json:"service,omitempty"`
	Features []string `json:"features,omitempty"`
	Entities []column `json:"entities"`
	Full     bool     `json:"full"`
	Int32    bool     `json:"int32,omitempty"`

	fails string // what the errors begin with, or contain where the SDK tells them
}

type column struct {
	name   string
	values any // of int64, *int64 or string
}

// MarshalJSON writes a pair.
func (c column) MarshalJSON() ([]byte, error) { return json.Marshal([]any{c.name, c.values}) }

// answer is what client.py prints of one way.
type answer struct {
	Names   []string
	Columns []struct {
		Values   [][2]any // kind, text or texts
		Statuses []int
		Times    []int64
	}
	Error string
}

func TestClients(t *testing.T) {
	python := python(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"provender.yaml": "version: 1\nproject: rides\n", "definitions.yaml": definitions} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, exec.Command(python, "client.py", "prepare", filepath.Join(dir, "stats.parquet")))
	for _, args := range [][]string{{"apply", "--yes"}, {"materialize", "--to", now}} {
		run(t, provender(t.Context(), dir, args...))
	}
	web, address := serve(t, dir)
	own, err := client.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()

	requests := requests()
	raw, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	read := exec.Command(python, "client.py", "read", "http://"+web, address)
	read.Stdin = bytes.NewReader(raw)
	// What Feast writes about its users goes nowhere.
	read.Env = append(os.Environ(), "FEAST_USAGE=False", "HOME="+dir)
	answers := json.NewDecoder(bytes.NewReader(run(t, read)))
	for _, r := range requests {
		var got map[string]answer
		if err := answers.Decode(&got); err != nil {
			t.Fatal(err)
		}
		for _, way := range r.Ways {
			t.Run(fmt.Sprint(r.Service, r.Features, r.Entities, way), func(t *testing.T) { check(t, own, r, way, got[way]) })
		}
	}
	checkHTTP(t, "http://"+web)
}

func requests() []request {
	all := []string{"sdk", "serving", "server"}
	drivers := column{"driver_id", []int64{1, 2, 3, 4, 6, 1}}
	edges := column{"driver_id", []int64{5}}
	scalars := []string{"stats:flag", "stats:small", "stats:big", "stats:single", "stats:wide", "stats:whole", "stats:word", "stats:raw", "stats:seen"}
	return []request{
		{Ways: all, Service: "model", Entities: []column{drivers}},
		{Ways: all, Service: "model", Entities: []column{drivers}, Full: true},
		{Ways: all, Features: scalars, Entities: []column{edges}},
		{Ways: all[1:], Service: "model", Entities: []column{edges}},
		{Ways: all[1:], Service: "model", Entities: []column{drivers}, Int32: true},
		{Ways: all, Features: []string{"stats:big", "stats:raws"}, Entities: []column{{"driver_id", []*int64{new(int64(1)), nil}}}},
		{Ways: all, Features: []string{"people:wide", "people:big"}, Entities: []column{{"name", []string{"one", "three", "four", "nobody", "five"}}}},
		{Ways: all, Features: []string{"people:big", "stats:big"}, Entities: []column{{"name", []string{"one", "two"}}, {"driver_id", []int64{2, 1}}}, Full: true},
		{Ways: all, Features: []string{"stats:big", "everybody:whole"}, Entities: []column{edges}},
		{Ways: all[1:], Features: []string{"everybody:whole"}, Entities: []column{}},
		{Ways: all[1:], Service: "pair", Entities: []column{{"second", []int64{2}}, {"first", []int64{1}}, {"name", []string{"one"}}}},
		{Ways: all[1:], Service: "pair", Entities: []column{{"second", []int64{2}}, {"first", []int64{1}}, {"name", []string{"one"}}}, Full: true},
		{Ways: []string{"older_sdk"}, Features: []string{
			"stats:flag", "stats:small", "stats:big", "stats:single", "stats:wide", "stats:word", "stats:seen", "stats:bigs", "stats:singles", "stats:words",
		}, Entities: []column{{"driver_id", []int64{1, 2, 3, 6}}}},

		// The SDK guesses types from JSON, and finds none in an empty list; Feast's own server fares no better.
		{Ways: all[:1], Features: []string{"stats:flags"}, Entities: []column{edges}, fails: "TypeError: Couldn't infer value type from empty value"},
		{Ways: all, Features: []string{"stats:bigg"}, Entities: []column{edges}, fails: `INVALID_ARGUMENT: feature view "stats" has no feature "bigg"`},
		{Ways: all, Features: []string{"statz:big"}, Entities: []column{edges}, fails: `NOT_FOUND: no feature view "statz"`},
		{Ways: all[1:], Service: "none", Entities: []column{edges}, fails: `NOT_FOUND: no feature service "none"`},
		{Ways: all, Features: []string{"stats:big", "people:big"}, Entities: []column{edges}, fails: `INVALID_ARGUMENT: two features named "big"`},
		{Ways: all, Features: []string{"stats:big"}, Entities: []column{{"driver", []int64{1}}}, fails: `INVALID_ARGUMENT: unknown key "driver"`},
		{Ways: all, Features: []string{"stats:big"}, Entities: []column{{"driver_id", []string{"1"}}}, fails: `INVALID_ARGUMENT: key "driver_id" is int64, the request has string values`},
	}
}

// python returns the interpreter that has Feast.
func python(t *testing.T) string {
	path := filepath.Join("..", "..", ".cache", "feast", "bin", "python")
	if p := os.Getenv("PROVENDER_TEST_FEAST_PYTHON"); p != "" {
		path = p
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Python with Feast: run ./scripts/test once, which installs it in .cache/feast (%v)", err)
	}
	return path
}

func provender(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "provender", args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PROVENDER_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// run returns what a command that succeeds prints on stdout.
func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &stderr)
	}
	return out
}

// serve starts a server at a fixed read time, until the test ends, and returns its addresses.
func serve(t *testing.T, dir string) (web, grpc string) {
	t.Helper()
	cmd := provender(context.WithoutCancel(t.Context()), dir, "serve", "-o", "json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--now", now)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("provender serve: %v\n%s", err, &stderr)
		}
	})
	var at struct{ GRPC, HTTP string }
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&at); err != nil {
		t.Fatalf("provender serve: %v\n%s", err, &stderr)
	}
	return at.HTTP, at.GRPC
}

// check compares an answer with that of Provender's own API.
func check(t *testing.T, own *client.Client, r request, way string, got answer) {
	if r.fails != "" {
		want := r.fails
		if way == "sdk" { // it has the status of HTTP in place of gRPC's
			_, want, _ = strings.Cut(want, ": ")
			want = strings.ReplaceAll(want, `"`, `\"`)
		}
		if !strings.Contains(got.Error, want) {
			t.Errorf("error %q, want %s", got.Error, want)
		}
		return
	}
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	want, err := ask(t.Context(), own, r)
	if err != nil {
		t.Fatal(err)
	}
	if way == "older_sdk" {
		checkOlder(t, want, got)
		return
	}
	var names []string
	for _, c := range r.Entities {
		names = append(names, c.name)
	}
	if len(got.Names) != len(names)+len(want.Columns) || len(got.Columns) != len(got.Names) {
		t.Fatalf("%d columns: %q, want %d keys and %d features", len(got.Columns), got.Names, len(names), len(want.Columns))
	}
	checkKeys(t, r, way, got)
	for i := range want.Columns {
		c, have := &want.Columns[i], got.Columns[len(names)+i]
		if name := fullName(r, want, i); got.Names[len(names)+i] != name {
			t.Errorf("column %q, want %q", got.Names[len(names)+i], name)
		}
		for row := range want.Rows {
			kind, text := cell(&c.Values, row, way == "sdk")
			status := map[client.Status]int{client.Present: 1, client.Null: 2, client.NotFound: 3, client.Expired: 4}[c.Status(row)]
			if !fits(&c.Values, row) {
				kind, text, status = "", nil, 0
			}
			if diff := cmp.Diff([2]any{kind, text}, have.Values[row]); diff != "" || have.Statuses[row] != status {
				t.Errorf("%s, row %d: %v with status %d, want %d and %s", c.Name, row, have.Values[row], have.Statuses[row], status, diff)
			}
			if way == "sdk" {
				continue // it drops the times
			}
			event := want.Views[c.View].EventTimes[row]
			if event.IsZero() {
				event = time.Unix(0, 0)
			}
			if have.Times[row] != event.UnixMicro() {
				t.Errorf("%s, row %d: event time %d, want %d", c.Name, row, have.Times[row], event.UnixMicro())
			}
		}
	}
}

// checkKeys: the request's keys come first, as they were sent. A map has no order on gRPC.
func checkKeys(t *testing.T, r request, way string, got answer) {
	for i, c := range r.Entities {
		at := i
		if way != "sdk" {
			for j, name := range got.Names[:len(r.Entities)] {
				if name == c.name {
					at = j
				}
			}
		}
		if got.Names[at] != c.name {
			t.Errorf("column %q, want key %q", got.Names[at], c.name)
		}
		raw, _ := json.Marshal(c.values)
		var values []any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&values); err != nil {
			t.Fatal(err)
		}
		for row, v := range values {
			want := [2]any{"string_val", v}
			switch v := v.(type) {
			case json.Number:
				want = [2]any{"int64_val", v.String()}
				if r.Int32 {
					want[0] = "int32_val"
				}
			case nil:
				if want = [2]any{"null_val", nil}; way == "sdk" {
					want[0] = ""
				}
			}
			if have := got.Columns[at].Values[row]; have != want || got.Columns[at].Statuses[row] != 1 {
				t.Errorf("key %s, row %d: %v with status %d, want %v", c.name, row, have, got.Columns[at].Statuses[row], want)
			}
			if way != "sdk" && got.Columns[at].Times[row] != 0 {
				t.Errorf("key %s, row %d: event time %d", c.name, row, got.Columns[at].Times[row])
			}
		}
	}
}

// checkOlder compares what SDKs read that convert values by the types of their registry.
func checkOlder(t *testing.T, want *client.Response, got answer) {
	for i := range want.Columns {
		c := &want.Columns[i]
		for row := range want.Rows {
			kind, text := cell(&c.Values, row, false)
			if have := got.Columns[i].Values[row]; !cmp.Equal(have, [2]any{kind, text}) {
				t.Errorf("%s, row %d: %v, want %s %v", c.Name, row, have, kind, text)
			}
			if have, first := got.Columns[i].Times[row], want.Views[c.View].EventTimes[0].UnixMicro(); have != first {
				t.Errorf("%s: event time %d, want %d", c.Name, have, first)
			}
		}
	}
}

// ask asks Provender's own API, which has no full names: where they are needed, a view at a time.
func ask(ctx context.Context, own *client.Client, r request) (*client.Response, error) {
	req := client.Request{Service: r.Service, Features: r.Features, EventTimes: true}
	for _, c := range r.Entities {
		switch values := c.values.(type) {
		case []int64:
			req.Keys = append(req.Keys, client.Int64s(c.name, values...))
		case []string:
			req.Keys = append(req.Keys, client.Strings(c.name, values...))
		case []*int64:
			k := client.Key{Name: c.name}
			for i, v := range values {
				if k.Int64s = append(k.Int64s, 0); v != nil {
					k.Int64s[i] = *v
				}
			}
			for i, v := range values {
				if v == nil {
					k = k.Null(i)
				}
			}
			req.Keys = append(req.Keys, k)
		}
	}
	if !r.Full || len(r.Features) == 0 {
		return own.GetFeatures(ctx, req)
	}
	var all client.Response
	for i, f := range r.Features {
		one := req
		one.Features = []string{f}
		one.Keys = req.Keys[i : i+1] // of the one test of this kind, each feature has its key
		res, err := own.GetFeatures(ctx, one)
		if err != nil {
			return nil, err
		}
		res.Columns[0].View = len(all.Views)
		all.Rows, all.Columns, all.Views = res.Rows, append(all.Columns, res.Columns...), append(all.Views, res.Views...)
	}
	return &all, nil
}

func fullName(r request, want *client.Response, i int) string {
	if c := want.Columns[i]; r.Full {
		return want.Views[c.View].Name + "__" + c.Name
	}
	return want.Columns[i].Name
}

// fits reports whether Feast's messages can hold a value.
func fits(v *client.Values, i int) bool {
	if v.IsNull(i) || !v.Type().List {
		return true
	}
	list := v.List(i)
	for j := range list.Len() {
		if list.IsNull(j) {
			return false
		}
	}
	return true
}

// cell returns a value's kind in Feast and its text as client.py writes it. In JSON, kinds are those that the SDK guesses.
func cell(v *client.Values, i int, inJSON bool) (string, any) {
	if v.IsNull(i) {
		return "", nil
	}
	if v.Type().List {
		list := v.List(i)
		kind, texts := "", []any{}
		for j := range list.Len() {
			k, text := cell(list, j, inJSON)
			kind, texts = k, append(texts, text)
		}
		if list.Len() == 0 {
			kind, _ = scalar(v.Type().Kind)
		}
		return strings.TrimSuffix(kind, "_val") + "_list_val", texts
	}
	kind, guessed := scalar(v.Type().Kind)
	if inJSON {
		kind = guessed
	}
	switch v.Type().Kind {
	case client.Bool:
		return kind, strconv.FormatBool(v.Bool(i))
	case client.Int32:
		return kind, strconv.Itoa(int(v.Int32(i)))
	case client.Int64:
		return kind, strconv.FormatInt(v.Int64(i), 10)
	case client.Timestamp:
		return kind, strconv.FormatInt(v.Time(i).Unix(), 10)
	case client.String:
		return kind, v.Text(i)
	case client.Bytes:
		if inJSON {
			return kind, base64.StdEncoding.EncodeToString(v.Bytes(i))
		}
		return kind, hex.EncodeToString(v.Bytes(i))
	case client.Float32:
		if !inJSON {
			return kind, fmt.Sprintf("%08x", math.Float32bits(v.Float32(i)))
		}
		return float(kind, float64(v.Float32(i)), inJSON)
	default:
		return float(kind, v.Float64(i), inJSON)
	}
}

func float(kind string, x float64, inJSON bool) (string, any) {
	switch {
	case inJSON && math.IsNaN(x):
		return "string_val", "NaN"
	case inJSON && math.IsInf(x, 0):
		return "string_val", strings.Replace(strings.TrimPrefix(fmt.Sprint(x), "+"), "Inf", "Infinity", 1)
	}
	return kind, fmt.Sprintf("%016x", math.Float64bits(x))
}

// scalar returns the field of Feast's Value for a kind, and that which the SDK guesses from JSON.
func scalar(k client.Kind) (exact, guessed string) {
	switch k {
	case client.Bool:
		return "bool_val", "bool_val"
	case client.Int32:
		return "int32_val", "int64_val"
	case client.Int64:
		return "int64_val", "int64_val"
	case client.Float32:
		return "float_val", "double_val"
	case client.Float64:
		return "double_val", "double_val"
	case client.String:
		return "string_val", "string_val"
	case client.Bytes:
		return "bytes_val", "string_val"
	default:
		return "unix_timestamp_val", "int64_val"
	}
}

// checkHTTP: what HTTP answers beside lookups.
func checkHTTP(t *testing.T, url string) {
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, "/health", "", http.StatusOK},
		{http.MethodPost, "/get-online-features", `{"features": ["stats:big"], "entities": {"driver_id": [1]}}`, http.StatusOK},
		{http.MethodPost, "/get-online-features", `{"features": [`, http.StatusBadRequest},
		{http.MethodPost, "/get-online-features", `{"feature_service": "none", "entities": {}}`, http.StatusNotFound},
		{http.MethodGet, "/get-online-features", "", http.StatusMethodNotAllowed},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s %s %s: %s, want %d", c.method, c.path, c.body, res.Status, c.status)
		}
	}
}
