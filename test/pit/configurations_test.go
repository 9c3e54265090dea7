package pit

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/provender-dev/provender/offline"
)

// TestConfigurations makes training sets of random histories, from files in random forms, with random options: every cell
// and every count is the reference's, no byte depends on workers, memory or how the files hold the rows, and an export
// comes out of its manifest again. PROVENDER_SEED=n repeats one.
func TestConfigurations(t *testing.T) {
	first, count := seeds(t, 20)
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 3))
			w := newWorld(t, rng, random(rng))
			defer func() {
				if t.Failed() {
					t.Logf("repeat with PROVENDER_SEED=%d go test ./test/pit -run TestConfigurations\n%+v\n%s%s", seed, w.shape, w.definitions(), w.c.text())
				}
			}()
			w.write(t, w.rows)
			w.checkLookup(t, w.rows)
			for range 2 {
				f := randomForm(rng, &w.c.View)
				s := w.spineFile(t, f)
				m := w.export(t, f, s, randomEffort(rng))
				w.checkExport(t, w.rows, f, s, m)
				again := w.export(t, f, s, randomEffort(rng))
				w.sameBytes(t, f, m, again, "other workers and memory")
				if t.Failed() {
					return
				}
				if !f.Stdout {
					w.reproduce(t, f, m)
				}
			}
		})
	}
}

// sameBytes holds two exports of one form against each other.
func (w *world) sameBytes(t *testing.T, f form, a, b made, why string) {
	t.Helper()
	if !maps.EqualFunc(a.files, b.files, bytes.Equal) {
		t.Errorf("%+v: other bytes with %s", f, why)
	}
}

// reproduce makes an export again from its manifest, with other files beside those that it had.
func (w *world) reproduce(t *testing.T, f form, m made) {
	t.Helper()
	req := offline.ReproduceRequest{
		Manifest: m.report.Manifest, Revisions: revisions{w}, Source: w.files, Out: t.TempDir() + "/again",
		Workers: 1 + w.rng.IntN(4), Memory: randomEffort(w.rng).memory,
	}
	late := slices.Clone(w.rows)
	for i := range late {
		late[i].File, late[i].Values = "late", nil
		for _, f := range w.c.View.Features {
			late[i].Values = append(late[i].Values, randomValue(w.rng, f.Type))
		}
	}
	if len(late) > 0 {
		path := w.path(late[0])
		w.writeFile(t, path, late[:1], nil)
		defer os.Remove(path)
	}
	report, err := offline.Reproduce(t.Context(), req)
	if err != nil {
		t.Fatalf("reproduce: %v", err)
	}
	told := slices.ContainsFunc(report.Changes, func(c offline.InputChange) bool { return c.Kind == offline.FileNew })
	if told != (len(late) > 0) || !report.Reproducible() || !report.Identical {
		t.Fatalf("reproduce: %+v", report)
	}
	w.sameBytes(t, f, m, made{files: filesOf(t, req.Out)}, "its manifest")
}
