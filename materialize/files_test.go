package materialize_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry"
)

// ledger returns what is recorded of the files of the serving generation.
func (w *world) ledger() []state.LedgerFile {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	files, err := w.state.Ledger(w.t.Context(), live[0].ID)
	check(w.t, err)
	return files
}

// age makes a file look as if it was written long ago.
func (w *world) age(name string) { w.date(name, time.Now().Add(-time.Hour)) }

// unsettle makes a file look as if it was just written, however late it is listed.
func (w *world) unsettle(name string) { w.date(name, time.Now().Add(time.Hour)) }

func (w *world) date(name string, modified time.Time) {
	w.t.Helper()
	check(w.t, os.Chtimes(w.path(name), modified, modified))
}

// A file that was written just before it was listed is looked at again: by its footer, a later change that its times do
// not show is found.
func TestUnsettled(t *testing.T) {
	for _, full := range []bool{false, true} { // whether a rebuild that was cut short has read it
		t.Run(fmt.Sprint("rebuild=", full), func(t *testing.T) {
			w := one(t)
			w.write("a.parquet", at("a", 60, 1))
			w.age("a.parquet")
			w.write("b.parquet", at("b", 60, 1))
			w.unsettle("b.parquet")
			w.write("c.parquet", at("c", 60, 1))
			w.unsettle("c.parquet")
			first := w.run(materialize.Request{})
			files := w.ledger()
			if files[0].Unsettled || files[0].Footer != "" || !files[1].Unsettled || files[1].Footer == "" {
				t.Errorf("ledger %+v", files)
			}
			w.age("c.parquet") // so that a rebuild does not end with b
			if full {
				w.cutRebuild(childSpec{Full: true})
				w.cutRebuild(childSpec{Full: true})
			}
			w.write("b.parquet", at("b", 50, 2))
			listed, err := w.cfg.Files.List(t.Context(), []string{"lake:s/**"})
			check(t, err)
			for _, f := range listed {
				_, err = w.db.ExecContext(t.Context(), `UPDATE ledger SET identity = ?, size = ? WHERE path = ?`, f.Identity, f.Size, f.Path)
				check(t, err)
				_, err = w.db.ExecContext(t.Context(), `UPDATE attempt SET identity = ?, size = ? WHERE path = ?`, f.Identity, f.Size, f.Path)
				check(t, err)
			}
			run := w.run(materialize.Request{Full: full})
			if run.Generation == first.Generation || run.Files != 3 {
				t.Errorf("run %+v", run)
			}
			w.want(w.values("b"), "2 20")
			w.clean()
		})
	}
}

// A file that is as it was when it had time to settle needs no further look.
func TestSettles(t *testing.T) {
	w := one(t)
	w.write("a.parquet", at("a", 60, 1))
	w.unsettle("a.parquet")
	w.run(materialize.Request{})
	if run := w.run(materialize.Request{}); run.Files != 0 || !w.ledger()[0].Unsettled {
		t.Errorf("run %+v, ledger %+v", run, w.ledger())
	}
	w.age("a.parquet")
	f, err := w.cfg.Files.List(t.Context(), []string{"lake:s/**"})
	check(t, err)
	_, err = w.db.ExecContext(t.Context(), `UPDATE ledger SET identity = ?`, f[0].Identity)
	check(t, err)
	if run := w.run(materialize.Request{}); run.Files != 0 || w.ledger()[0].Unsettled {
		t.Errorf("run %+v, ledger %+v", run, w.ledger())
	}
	w.clean()
}

// planText is what a dry run says.
func planText(p materialize.RunPlan) string {
	how := "incremental"
	if p.Full {
		how = "full"
	}
	lines := []string{strings.TrimSuffix(fmt.Sprintf("%s to %s, %s: %s", p.View, p.T.Format("15:04:05"), how, p.Reason), ": ")}
	for _, f := range p.Files {
		lines = append(lines, f.Path[strings.LastIndexByte(f.Path, '/')+1:]+" "+f.Why)
	}
	if p.Error != "" {
		lines = append(lines, "error: "+p.Error)
	}
	return strings.Join(lines, "; ")
}

// A dry run tells what a run then does, and writes nothing, not even to a store that was never used.
func TestPlan(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		plan := func(want string, req materialize.Request) {
			t.Helper()
			before, keys := w.dump(), w.inStoreRaw()
			plans, err := w.svc.Plan(t.Context(), req)
			check(t, err)
			w.want(planText(plans[0]), want)
			if after := w.dump(); after != before {
				t.Errorf("the state changed from\n%s\nto\n%s", before, after)
			}
			if after := w.inStoreRaw(); after != keys {
				t.Errorf("the store changed from %s to %s", keys, after)
			}
		}
		w.write("1.parquet", at("a", 60, 1), at("a", -3, 2))
		w.write("2.parquet", at("b", 60, 1))
		plan("v to 11:59:59, full: first run; 1.parquet new; 2.parquet new", materialize.Request{})
		plan("v to 11:00:00, full: first run; 1.parquet new; 2.parquet new", materialize.Request{To: noon.Add(-time.Hour)})
		w.run(materialize.Request{})
		plan("v to 11:59:59, incremental", materialize.Request{})
		plan("v to 11:59:59, full: --full; 1.parquet again; 2.parquet again", materialize.Request{Full: true})
		plan("v to 00:00:00, incremental; error: T 2026-05-01T11:00:00Z is before the last one, 2026-05-01T11:59:59Z: "+
			"what is served never goes back in time (leave --to out; provender get --at shows what history says of an earlier instant)",
			materialize.Request{To: noon.Add(-time.Hour)})
		w.now = noon.Add(5 * time.Minute)
		w.write("3.parquet", at("c", 60, 1))
		plan("v to 12:04:59, incremental: 1 new, 1 due; 1.parquet due; 3.parquet new", materialize.Request{})
		if run := w.run(materialize.Request{}); run.Reason != "1 new, 1 due" || run.Files != 2 {
			t.Errorf("run %+v", run)
		}
		w.write("2.parquet", at("b", 50, 1))
		w.remove("3.parquet")
		plan("v to 12:04:59, full: source files changed: 1 changed, 1 deleted; 1.parquet again; 2.parquet changed; 3.parquet deleted",
			materialize.Request{})
		w.snap = snapshot(replace)
		plan("v to 12:04:59, incremental: 1 changed, 1 deleted; 2.parquet changed; 3.parquet deleted", materialize.Request{})
		w.snap = snapshot(func(v *registry.FeatureView, _ *registry.Source) { v.TTL *= 2 })
		plan("v to 12:04:59, full: ttl raised; 1.parquet again; 2.parquet changed; 3.parquet deleted", materialize.Request{})
		w.lose()
		check(t, w.svc.Reach(t.Context())) // as a server that starts does
		plan("v to 12:04:59, full: store lost its data; 1.parquet new; 2.parquet new", materialize.Request{})
	})
}

// dump is the operations state as text.
func (w *world) dump() string {
	w.t.Helper()
	var out []string
	for _, table := range []string{"prefix", "keyspace", "counter", "incarnation", "generation", "ledger", "attempt", "run", "lease"} {
		out = append(out, w.rowsOf(table)...)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (w *world) rowsOf(table string) (out []string) {
	w.t.Helper()
	rows, err := w.db.QueryContext(w.t.Context(), `SELECT * FROM `+table)
	check(w.t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	check(w.t, err)
	for rows.Next() {
		cells, into := make([]sqlValue, len(columns)), make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		check(w.t, rows.Scan(into...))
		out = append(out, fmt.Sprint(table, cells))
	}
	check(w.t, rows.Err())
	return out
}

// sqlValue is whatever a column has.
type sqlValue struct{ v any }

func (s *sqlValue) Scan(v any) error { s.v = v; return nil }

// inStoreRaw is all keys of a Redis, or of what an embedded store has: its claim and its generations.
func (w *world) inStoreRaw() string {
	w.t.Helper()
	if w.backend.redis != nil {
		keys, err := w.backend.redis.Client(w.t).Keys(w.t.Context(), "*").Result()
		check(w.t, err)
		slices.Sort(keys)
		return fmt.Sprintf("%q", keys)
	}
	_, err := w.store.Identity(w.t.Context())
	return fmt.Sprint(w.inStore(), err)
}
