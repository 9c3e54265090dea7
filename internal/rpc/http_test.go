package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/registry"
)

var update = flag.Bool("update", false, "write what the tests get into testdata")

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// things is a project with a view of every type, keyed by an int64 and a string, and a global view, in a real store.
// Entity (1, "a") has extreme values, (2, "é") others, (9223372036854775807, "") nulls, (3, "old") a row that is expired,
// (4, "bad") a damaged one.
func things(t testing.TB) (*serving.Server, *registry.Snapshot) {
	t.Helper()
	typed := func(name string) columnar.Type {
		typ, err := columnar.ParseType(name)
		if err != nil {
			t.Fatal(err)
		}
		return typ
	}
	every := &registry.FeatureView{Name: "every", Entities: []string{"thing"}, Source: "lake", Online: true, TTL: time.Hour}
	for _, name := range columnar.TypeNames() {
		f := &registry.Feature{Name: "f_" + strings.NewReplacer("<", "_", ">", "").Replace(name), Type: typed(name)}
		if name == "int32" {
			f.Default = json.RawMessage("-1")
		}
		every.Features = append(every.Features, f)
	}
	defs := &registry.Definitions{
		Entities: []*registry.Entity{{Name: "thing", JoinKeys: []registry.JoinKey{
			{Name: "id", Type: typed("int64")}, {Name: "name", Type: typed("string")},
		}}},
		Sources: []*registry.Source{{Name: "lake", Parquet: []string{"x"}, Timezone: "UTC"}},
		Views: []*registry.FeatureView{every, {
			Name: "world", Source: "lake", Online: true, Features: []*registry.Feature{{Name: "x", Type: typed("float64")}},
		}, {
			Name: "never", Source: "lake", Online: true, Features: []*registry.Feature{{Name: "x", Type: typed("float64")}},
		}},
		Services: []*registry.FeatureService{
			{Name: "everything", Features: []registry.ServiceView{{View: "every"}, {View: "world"}}},
			{Name: "global", Features: []registry.ServiceView{{View: "world"}}},
		},
	}
	defs.Services[0].Description, defs.Services[0].Owner = "All that there is", "us@example.com"
	snapshot, err := registry.Compile(3, defs)
	if err != nil {
		t.Fatal(err)
	}
	store, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Claim(t.Context(), "registry", "things"); err != nil {
		t.Fatal(err)
	}
	var live []online.Live
	for i, v := range defs.Views[:2] {
		view := snapshot.Views[v.Name]
		l := online.Live{
			View: v.Name, Generation: online.Generation{ID: online.GenerationID(7 + i), Keyspace: online.KeyspaceID(1 + i)},
			Fields: view.Layout.Fields(), Digest: view.Digest, T: noon.UnixMicro(),
		}
		for _, k := range view.KeyColumns {
			l.Keys = append(l.Keys, row.Field{Name: k.Name, Type: columnar.Type{Kind: k.Kind}})
		}
		live = append(live, l)
		if err := store.CreateGeneration(t.Context(), l.Generation); err != nil {
			t.Fatal(err)
		}
	}
	put := func(view int, key, stored []byte) {
		if _, err := store.Write(t.Context(), live[view].Generation, []online.Entry{{Key: key, Row: stored}}, online.WinNewest); err != nil {
			t.Fatal(err)
		}
	}
	encode := func(view string, event time.Time, values ...string) []byte {
		v := snapshot.Views[view]
		columns := make([]*columnar.Vector, len(v.Features))
		for i, f := range v.Features {
			c, err := columnar.ParseJSON(f.Type, json.RawMessage(values[i]))
			if err != nil {
				t.Fatal(err)
			}
			if f.Name == "f_string" && values[i] == `"raw"` {
				c = columnar.NewVector(f.Type, 1)
				c.AppendString("a\xffz\n\"")
			}
			columns[i] = c
		}
		return v.Layout.AppendRow(nil, event.UnixMicro(), row.NoCreated, columns, 0)
	}
	key := func(id int64, name string) []byte {
		a, b := columnar.NewVector(typed("int64"), 1), columnar.NewVector(typed("string"), 1)
		a.AppendInt64(id)
		b.AppendString(name)
		k, _ := row.AppendKey(nil, []*columnar.Vector{a, b}, 0)
		return k
	}
	nulls := strings.Split(strings.Repeat("null ", 16), " ")
	put(0, key(1, "a"), encode("every", noon.Add(-time.Minute),
		"true", "-2147483648", "9223372036854775807", "3.4028235e38", "-0", `"raw"`, `"AP8="`, `"9999-12-31T23:59:59.999999Z"`,
		"[]", "[1,null]", "[-9223372036854775808,9007199254740993]", `["NaN","-Infinity"]`, `[5e-324,"Infinity",-0]`, `["",null]`, `["","aGk="]`,
		`["0001-01-01T00:00:00Z"]`))
	put(0, key(2, "é"), encode("every", noon,
		"false", "7", "-9223372036854775808", `"NaN"`, `"NaN"`, `"<é😀\u2028>"`, `""`, `"1969-12-31T23:59:59.5Z"`,
		"[true,null,false]", "[]", "[null]", "[]", "[]", "[]", "[]", "[]"))
	put(0, key(math.MaxInt64, ""), encode("every", noon, nulls...))
	put(0, key(3, "old"), encode("every", noon.Add(-90*time.Minute), nulls...))
	put(0, key(4, "bad"), append(encode("every", noon, nulls...), 1))
	put(1, []byte{}, encode("world", noon.Add(-48*time.Hour), "0.1"))
	s := serving.New(store, serving.Options{Now: func() time.Time { return noon }, MaxEntities: 20_000})
	s.Update(snapshot, live)
	return s, snapshot
}

// thingsAPI is things as a server has them.
func thingsAPI(t testing.TB) Services {
	s, snapshot := things(t)
	return Services{
		Lookups: s, Snapshot: func() *registry.Snapshot { return snapshot }, Revisions: history{snapshot}, Operations: runs{},
	}
}

// history is a registry of one revision.
type history struct{ *registry.Snapshot }

func (h history) Current(context.Context) (registry.Revision, *registry.Definitions, error) {
	return registry.Revision{
		Number: 3, Digest: "d1", Applied: noon.Add(-time.Hour), By: "ada@host", Commit: "c1", Tool: "v1", Summary: "3 added",
	}, h.Definitions, nil
}

func (h history) At(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	if number != h.Revision {
		return registry.Revision{}, nil, problem.New(problem.NotFound, "no revision %d", number)
	}
	return h.Current(ctx)
}

func (h history) HistoryBefore(ctx context.Context, _ int64, _ int) ([]registry.Revision, error) {
	r, _, err := h.Current(ctx)
	return []registry.Revision{r}, err
}

// runs is operations that have one run of one view to tell of.
type runs struct{ Operations }

var aRun = materialize.Run{
	ID: math.MaxInt64, View: "every", Revision: 3, Generation: 7, Trigger: "schedule", By: "ada@host:1", State: "failed",
	Full: true, Reason: "first run", T: noon, Started: noon, Finished: noon.Add(time.Millisecond), Files: 1, RowsRead: 2, Written: 3,
	Older: 4, Held: 5, NullKeys: 6, Ties: 7, Error: "e",
	Asked: state.Asked{To: noon, Full: true}, Attempt: 2, RetryOf: 8, Queued: noon, BytesRead: 9, BytesWritten: 10,
	Rejects: []state.Reject{{Reason: "value", Rows: 11, Samples: []string{"s"}}}, Phases: []state.PhaseTime{{Name: "read", Took: time.Millisecond}},
	CancelAsked: noon, CancelBy: "bob@host:2", RequestID: "once",
}

func (runs) RunsBefore(_ context.Context, views []string, _ int64, limit int) ([]materialize.Run, error) {
	if len(views) > 1 || limit == 1 {
		return []materialize.Run{aRun}, nil
	}
	return nil, nil
}

func (runs) Status(context.Context, []string) ([]materialize.ViewStatus, error) {
	return []materialize.ViewStatus{
		{
			View: "every", State: "failed", Generation: 7, Written: 3, T: noon, NewestEvent: noon, Lag: 1500 * time.Millisecond,
			LastRun: &aRun, NextRun: noon, Held: 5, PendingFiles: 1, Error: "e",
		},
		{View: "never", State: "never"},
	}, nil
}

// quiet logs nothing.
var quiet = slog.New(slog.DiscardHandler)

func serveHTTP(t testing.TB, s Services, opts HTTPOptions) *httptest.Server {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	server := httptest.NewServer(Handler(s, opts))
	t.Cleanup(server.Close)
	return server
}

// answer is what a response has beside its body.
type answer struct {
	StatusCode int
	Header     http.Header
	Request    *http.Request
}

// send sends a request written as "METHOD path", headers, an empty line and a body.
func send(t testing.TB, server *httptest.Server, text string) (answer, []byte) {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(strings.TrimSuffix(body, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, resp.Request}, content
}

func post(t testing.TB, server *httptest.Server, body string) (answer, []byte) {
	t.Helper()
	return send(t, server, "POST /v1/features:get\n\n"+body)
}

// TestHTTPGolden: each pair of files in testdata/http.txtar is a request and its answer.
func TestHTTPGolden(t *testing.T) {
	server := serveHTTP(t, thingsAPI(t), HTTPOptions{MaxBody: 4 << 10})
	path := filepath.Join("testdata", "http.txtar")
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		name, answer := archive.Files[i].Name, &archive.Files[i+1]
		if answer.Name != "answer" {
			t.Fatalf("%s: followed by %s", name, answer.Name)
		}
		resp, body := send(t, server, string(archive.Files[i].Data))
		var got bytes.Buffer
		fmt.Fprintln(&got, resp.StatusCode)
		if allow := resp.Header.Get("Allow"); allow != "" {
			fmt.Fprintln(&got, "Allow: "+allow)
		}
		if resp.Header.Get("Content-Type") != contentJSON {
			t.Errorf("%s: Content-Type %s", name, resp.Header.Get("Content-Type"))
		}
		if err := json.Compact(&got, body); err != nil {
			t.Errorf("%s: %v: %s", name, err, body)
		}
		pretty := strings.ReplaceAll(strings.TrimSpace(got.String()), `{"name"`, "\n  {\"name\"") + "\n"
		if *update {
			answer.Data = []byte(pretty)
		} else if diff := cmp.Diff(string(answer.Data), pretty); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// failing answers every lookup with an error, or a panic.
type failing struct{ err error }

func (f failing) Lookup(context.Context, *serving.Request) (*serving.Answer, error) {
	if f.err == nil {
		panic("secret")
	}
	return nil, f.err
}

func (failing) KeyKinds(context.Context, *serving.Request) ([]columnar.Kind, error) { return nil, nil }

// TestHTTPErrors: every class has its status; what is not for callers is in the log alone.
func TestHTTPErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   int
		retry  string
	}{
		{&problem.Error{Code: problem.Invalid, Message: "m", Field: "f", Suggestion: "s"}, 400, 3, ""},
		{problem.New(problem.Precondition, "m"), 400, 9, ""},
		{problem.New(problem.NotFound, "m"), 404, 5, ""},
		{problem.New(problem.Conflict, "m"), 409, 10, ""},
		{problem.New(problem.Exhausted, "m"), 429, 8, ""},
		{&problem.Error{Code: problem.Exhausted, Message: "m", Field: "keys"}, 413, 8, ""},
		{problem.New(problem.Canceled, "m: %w", context.Canceled), 499, 1, ""},
		{problem.New(problem.Canceled, "m: %w", context.DeadlineExceeded), 504, 4, ""},
		{context.DeadlineExceeded, 504, 4, ""},
		{problem.New(problem.Unavailable, "m"), 503, 14, "1"},
		{&problem.Error{Code: problem.Unavailable, Message: "m", RetryAfter: 1500 * time.Millisecond}, 503, 14, "2"},
		{&problem.Error{Code: problem.Unavailable, Message: "m", RetryAfter: time.Millisecond}, 503, 14, "1"},
		{errors.New("secret"), 500, 13, ""},
		{nil, 500, 13, ""},
	} {
		var log bytes.Buffer
		server := serveHTTP(t, Services{Lookups: failing{tt.err}}, HTTPOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		resp, body := post(t, server, `{"service":"s"}`)
		var status struct {
			Code    int
			Message string
			Details []struct {
				Type string `json:"@type"`
			}
		}
		if err := json.Unmarshal(body, &status); err != nil {
			t.Fatalf("%v: %v: %s", tt.err, err, body)
		}
		if resp.StatusCode != tt.status || status.Code != tt.code || resp.Header.Get("Retry-After") != tt.retry || status.Message == "" ||
			len(status.Details) == 0 {
			t.Errorf("%v: %d, Retry-After %q, %s", tt.err, resp.StatusCode, resp.Header.Get("Retry-After"), body)
		}
		hidden := tt.status == http.StatusInternalServerError
		if bytes.Contains(body, []byte("secret")) || hidden != strings.Contains(log.String(), "secret") {
			t.Errorf("%v: answered %s, logged %s", tt.err, body, &log)
		}
		if tt.err == nil && !strings.Contains(log.String(), "failing.Lookup") {
			t.Errorf("no stack in the log: %s", &log)
		}
	}
}

// A panic, or an error, once an answer has begun cuts the connection: half an answer is never taken for a whole one.
func TestHTTPPanicLate(t *testing.T) {
	var log bytes.Buffer
	v := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 0)
	for range chunkBytes {
		v.AppendInt64(1)
	}
	a := &serving.Answer{Rows: 1, Names: []string{"f"}, Columns: []*columnar.Vector{v}, Outputs: make([]registry.Output, 1)} // no statuses
	server := serveHTTP(t, Services{Lookups: &giving{a}}, HTTPOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/features:get", strings.NewReader(`{"service":"s"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentJSON)
	resp, err := server.Client().Do(req)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("the answer came to an end")
	}
	server.Close()
	if !strings.Contains(log.String(), "index out of range") {
		t.Errorf("logged: %s", &log)
	}
}

// TestHTTPBody: a body may be so large and no larger, told or found out.
func TestHTTPBody(t *testing.T) {
	server := serveHTTP(t, thingsAPI(t), HTTPOptions{MaxBody: 64})
	fits := `{"service":"global"}`
	fits += strings.Repeat(" ", 64-len(fits))
	for _, tt := range []struct {
		name   string
		body   io.Reader
		status int
	}{
		{"fits", strings.NewReader(fits), 200},
		{"fits, length unknown", io.MultiReader(strings.NewReader(fits)), 200},
		{"large", strings.NewReader(fits + " "), 413},
		{"large, length unknown", io.MultiReader(strings.NewReader(fits + " ")), 413},
		{"endless", endless{}, 413},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/features:get", tt.body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		req.Header.Set("Content-Encoding", "identity")
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || tt.status == 413 && !bytes.Contains(body, []byte("limits.request_message")) {
			t.Errorf("%s: %d %v %s", tt.name, resp.StatusCode, err, body)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// waiting waits for the end of each lookup's context.
type waiting struct{ began, ended chan error }

func (w waiting) Lookup(ctx context.Context, _ *serving.Request) (*serving.Answer, error) {
	w.began <- nil
	<-ctx.Done()
	w.ended <- ctx.Err()
	return nil, ctx.Err()
}

func (waiting) KeyKinds(context.Context, *serving.Request) ([]columnar.Kind, error) { return nil, nil }

// A client that goes ends its lookup.
func TestHTTPClientGone(t *testing.T) {
	w := waiting{make(chan error, 1), make(chan error, 1)}
	server := serveHTTP(t, Services{Lookups: w}, HTTPOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-w.began
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/features:get", strings.NewReader(`{"service":"s"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentJSON)
	if resp, err := server.Client().Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("answered %s", resp.Status)
	}
	if err := <-w.ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Callers at once, each with its own answer: what is pooled is nobody else's.
func TestHTTPConcurrent(t *testing.T) {
	server := serveHTTP(t, thingsAPI(t), HTTPOptions{})
	bodies := []string{
		`{"service":"global"}`, `{"service":"nothing"}`, `{`,
		`{"service":"everything","keys":{"id":[1],"name":["a"]},"event_times":true}`,
		`{"service":"everything","keys":{"id":[2,1],"name":["é","a"]},"int64_as_strings":true}`,
		`{"features":["every:f_string"],"keys":{"id":[` + strings.Repeat("1,", 4_000) + `1],"name":[` + strings.Repeat(`"a",`, 4_000) + `"a"]}}`,
	}
	want := make([][]byte, len(bodies))
	for i, body := range bodies {
		_, want[i] = post(t, server, body)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 30 {
				i := (n + g) % len(bodies)
				if _, got := post(t, server, bodies[i]); !bytes.Equal(got, want[i]) {
					t.Errorf("%.80s: %.300s", bodies[i], got)
				}
			}
		})
	}
	wg.Wait()
}

// nowhere is a response that keeps nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

// TestHTTPAllocations: what a lookup allocates does not depend on the number of features, nor much on that of rows.
func TestHTTPAllocations(t *testing.T) {
	if raceEnabled {
		return // the race detector empties pools at random
	}
	var allocations []float64
	for _, n := range []int{1, 200} {
		a := &serving.Answer{Rows: n, Views: []serving.ViewAnswer{{View: "v", Events: make([]int64, n)}}}
		for range n {
			v := columnar.NewVector(columnar.Type{Kind: columnar.Float64}, n)
			for i := range n {
				v.AppendFloat64(float64(i) / 3)
			}
			a.Names, a.Columns, a.Outputs = append(a.Names, "f"), append(a.Columns, v), append(a.Outputs, registry.Output{})
			a.Status = append(a.Status, make([]columnar.Status, n))
		}
		h := Handler(Services{Lookups: &giving{a}}, HTTPOptions{Logger: quiet})
		body := []byte(`{"service":"s"}`)
		allocations = append(allocations, testing.AllocsPerRun(100, func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/features:get", bytes.NewReader(body))
			r.Header.Set("Content-Type", contentJSON)
			h.ServeHTTP(nowhere{http.Header{}}, r)
		}))
	}
	if allocations[1] > allocations[0]+3 {
		t.Errorf("%v allocations for 1 and 200 features and rows", allocations)
	}
	t.Log(allocations)
}

// TestHTTPParts: a server without a part has no path of it.
func TestHTTPParts(t *testing.T) {
	server := serveHTTP(t, Services{}, HTTPOptions{})
	for path, want := range map[string]int{"/openapi.json": 200, "/v1/services": 404, "/v1/runs": 404, "/v1/revisions": 404, "/": 404} {
		if resp, body := send(t, server, "GET "+path); resp.StatusCode != want {
			t.Errorf("%s: %s %s", path, strconv.Itoa(resp.StatusCode), body)
		}
	}
	waits := serveHTTP(t, Services{Snapshot: func() *registry.Snapshot { return nil }}, HTTPOptions{})
	if resp, body := send(t, waits, "GET /v1/services"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
