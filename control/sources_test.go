package control_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/registry/definition"
)

// fact is a row of the tests' source, as it should be.
type fact struct {
	K     string  `parquet:"k"`
	Event int64   `parquet:"event,timestamp(microsecond)"`
	F     float64 `parquet:"f"`
	N     int64   `parquet:"n"`
}

// drifted is a row of a file in which a column has another type, and one is missing.
type drifted struct {
	K     string `parquet:"k"`
	Event int64  `parquet:"event,timestamp(microsecond)"`
	F     string `parquet:"f"`
}

const entity = `
kind: Entity
name: thing
join_keys: [{name: k, type: string}]
---
`

const view = entity + `
kind: FeatureView
name: v
entities: [thing]
source: {parquet: "lake:v/**", event_time: event}
features: [{name: f, type: float64}, {name: n, type: int64}]
`

// A file that differs from the others is found by plan wherever it is among few, and each problem is told once, with both
// names.
func TestDriftBetweenFiles(t *testing.T) {
	for _, bad := range []int{0, 1, 7, 18, 19} {
		w := newLake(t, "")
		for i := range 20 {
			name := fmt.Sprintf("v/%02d.parquet", i)
			if i == bad || i == 3 && bad == 1 {
				put(t, w, name, []drifted{{K: "a"}})
			} else {
				put(t, w, name, []fact{{K: "a"}})
			}
		}
		here, there := bad, 19
		switch bad {
		case 19:
			there = 18
		case 1:
			here = 3
		}
		_, warnings, problems := w.plan(t.Context(), t, view)
		want := []string{
			fmt.Sprintf(`f.yaml:11:19: column-mismatch: lake:v/%02d.parquet: column "f": the file has BYTE_ARRAY string, which is string, not float64; `+
				`only int32 widens to int64 and float32 to float64: declare it as string or rewrite the file; `+
				`lake:v/%02d.parquet has DOUBLE, and the files of one source must agree`, here, there),
			fmt.Sprintf(`f.yaml:11:45: column-mismatch: lake:v/%02d.parquet: column "n" is not in the file; `+
				`lake:v/%02d.parquet has INT64 int64, and the files of one source must agree`, here, there),
		}
		if diff := cmp.Diff(want, problems); diff != "" || len(warnings) > 0 {
			t.Errorf("file %d: %q, -want +got:\n%s", bad, warnings, diff)
		}
	}
}

// Of many files twenty are looked at, the first and the last among them.
func TestManyFiles(t *testing.T) {
	w := newLake(t, "")
	for i := range 300 {
		put(t, w, fmt.Sprintf("v/%03d.parquet", i), []fact{{K: "a"}})
	}
	if _, warnings, problems := w.plan(t.Context(), t, view); len(warnings)+len(problems) > 0 {
		t.Fatalf("%q %q", warnings, problems)
	}
	for _, name := range []string{"v/000.parquet", "v/299.parquet"} {
		put(t, w, name, []drifted{{K: "a"}})
		if _, _, problems := w.plan(t.Context(), t, view); len(problems) != 2 || !strings.Contains(problems[0], "lake:"+name+": column") {
			t.Errorf("%s: %q", name, problems)
		}
		put(t, w, name, []fact{{K: "a"}})
	}
}

// Files that can't be read are told once for each source, whoever reads it.
func TestBrokenFiles(t *testing.T) {
	w := newLake(t, "")
	put(t, w, "v/a.parquet", []fact{{K: "a"}})
	for _, name := range []string{"b", "c"} {
		if err := os.WriteFile(filepath.Join(w.dir, "v", name+".parquet"), []byte("not a Parquet file at all"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, warnings, problems := w.plan(t.Context(), t, entity+`
kind: Source
name: s
parquet: "lake:v/**"
event_time: event
---
kind: FeatureView
name: one
entities: [thing]
source: s
features: [{name: f, type: float64}]
---
kind: FeatureView
name: two
entities: [thing]
source: s
features: [{name: f, type: string}]
`)
	want := []string{
		`f.yaml:9:10: unreadable-data: lake:v/c.parquet: not a Parquet file: it does not begin with PAR1; of 3 files looked at, 1 more can't be read`,
		`f.yaml:22:19: column-mismatch: lake:v/a.parquet: column "f": the file has DOUBLE, which is float64, not string; ` +
			`only int32 widens to int64 and float32 to float64: declare it as float64 or rewrite the file`,
	}
	if diff := cmp.Diff(want, problems); diff != "" || len(warnings) > 0 {
		t.Errorf("%q, -want +got:\n%s", warnings, diff)
	}
}

// What a run would refuse to read is refused by plan; what may yet come is a warning.
func TestPathsOfSources(t *testing.T) {
	w := newLake(t, "")
	put(t, w, "v/a.parquet", []fact{{K: "a"}})
	outside := t.TempDir()
	for link, to := range map[string]string{"escape": outside, "gone": "nowhere"} {
		if err := os.MkdirAll(filepath.Join(w.dir, link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(w.dir, link, "x.parquet")); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/etc/passwd":       "unreadable-data: /etc/passwd: an absolute path is not allowed here",
		"../x.parquet":      "unreadable-data: ../x.parquet: a path may not contain ..",
		"lake:v/../../x":    "unreadable-data: lake:v/../../x: a path may not contain ..",
		"s3://bucket/x":     `unknown-root: no root is named "s3" in provender.yaml`,
		"lake:v/[x":         "unreadable-data: lake:v/[x: not a valid glob",
		"lake:escape":       "unreadable-data: DIR/escape/x.parquet is a symlink that leads out of DIR",
		"lake:escape/*":     "unreadable-data: DIR/escape/x.parquet is a symlink that leads out of DIR",
		"lake:gone/*":       "no-data: DIR/gone/x.parquet is a symlink that leads to nothing",
		"lake:later/**":     "no-data: lake:later/**: nothing found: DIR/later does not exist",
		"lake:v/*.nothing":  "no-data: lake:v/*.nothing: nothing found: no file in DIR/v matches *.nothing",
		"elsewhere.parquet": "no-data: elsewhere.parquet: nothing found",
	} {
		_, warnings, problems := w.plan(t.Context(), t, strings.Replace(view, "lake:v/**", path, 1))
		got := problems
		if strings.HasPrefix(want, "no-data") {
			got = warnings
		}
		if len(warnings)+len(problems) != 1 || len(got) != 1 || !strings.HasPrefix(got[0], "f.yaml:10:19: "+want) {
			t.Errorf("%s:\n%q %q\nwant %s", path, warnings, problems, want)
		}
	}
}

// A store that does not answer, or can't be connected to, costs a plan its patience, not the plan.
func TestUnreachableStore(t *testing.T) {
	ended := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}))
	t.Cleanup(func() {
		close(ended)
		silent.Close()
	})
	policy := object.DefaultPolicy
	object.DefaultPolicy.Pause = policy.Longest // past a plan's patience: the first try is the last
	t.Cleanup(func() { object.DefaultPolicy = policy })
	for name, test := range map[string]struct {
		server, want string
		within       time.Duration
	}{
		"silent": {silent.URL, "no answer within 50ms", 50 * time.Millisecond},
		"gone":   {"http://127.0.0.1:1", "no answer within 2s; the last try: dial tcp", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLake(t, "gs://bucket/p?endpoint="+test.server)
			w.SourceTime = test.within
			made, warnings, problems := w.plan(t.Context(), t, view)
			if made == nil || len(made.Generations) != 1 || len(made.Estimates) > 0 || len(problems) > 0 {
				t.Errorf("%v %q", made, problems)
			}
			if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "f.yaml:10:19: no-data: lake:v/**: ") || !strings.Contains(warnings[0], test.want) {
				t.Errorf("%q", warnings)
			}
		})
	}
	// Who interrupts a plan gets none.
	w := newLake(t, "gs://bucket/p?endpoint="+silent.URL)
	ctx, cancel := context.WithCancel(t.Context())
	w.SourceTime = 4 * time.Second
	var waiting atomic.Int32
	w.Waiting = func(string, time.Duration) {
		waiting.Add(1)
		cancel()
	}
	_, _, err := w.Plan(ctx, []definition.File{{Name: "f.yaml", Content: []byte(view)}}, 0)
	if !errors.Is(err, context.Canceled) || waiting.Load() != 1 {
		t.Errorf("%d: %v", waiting.Load(), err)
	}
}
