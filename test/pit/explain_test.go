package pit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline"
)

// TestExplain asks why of the answers of random histories: explain, lookup and the reference say the same, at the instants
// of the case and at those where an answer changes. PROVENDER_SEED=n repeats one.
func TestExplain(t *testing.T) {
	first, count := seeds(t, 25)
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			c := random(rng)
			p := newProject(t, &c.View, rng)
			at, spines := c.spines()
			for i, asks := range spines {
				files := p.deal(c.Files(at[i]))
				p.sync(t, files)
				rows := c.Rows(at[i])
				for _, a := range asks {
					c.explain(t, p, rows, a)
					if len(rows) == 0 {
						continue
					}
					// The row that began, expired or was forgotten at about that instant, or another.
					r := rows[rng.IntN(len(rows))]
					edge := ceilMicros(r.Event) + rng.Int64N(3)*c.View.TTL + rng.Int64N(3) - 1
					c.explain(t, p, rows, &Ask{Keys: r.Keys, At: Instant(edge * 1000)})
				}
			}
			if t.Failed() {
				t.Logf("repeat with PROVENDER_SEED=%d go test ./test/pit -run TestExplain\n%s", seed, c.text())
			}
		})
	}
}

// explain checks one ask.
func (c *Case) explain(t *testing.T, p *project, rows []Row, a *Ask) {
	t.Helper()
	ctx := context.Background()
	view, err := p.snapshot.FeatureView("facts")
	if err != nil {
		t.Fatal(err)
	}
	features := make([]string, len(view.Features))
	for f := range features {
		features[f] = "facts:" + view.Features[f].Name
	}
	service, err := p.snapshot.AdHoc(features)
	if err != nil {
		t.Fatal(err)
	}
	keys := p.keys([]*Ask{a})
	found, err := offline.Lookup(ctx, offline.LookupRequest{Service: service, Source: p.files, Keys: keys, At: floorMicros(a.At)})
	if err != nil {
		t.Fatal(err)
	}
	var looked, explained []Cell
	for f := range features {
		looked = append(looked, Cell{Status: found.Status[f][0].String(), Value: fromVector(found.Columns[f], 0)})
		x, err := offline.Explain(ctx, offline.ExplainRequest{
			View: view, Feature: f, Source: p.files, Keys: keys, At: floorMicros(a.At), Candidates: p.rng.IntN(3),
		})
		if err != nil {
			t.Fatal(err)
		}
		explained = append(explained, Cell{Status: x.Status.String(), Value: fromVector(x.Value, 0)})
		if alive := x.Status != columnar.NotFound; alive && x.Before[0].Event != found.Events[0][0] {
			t.Errorf("explain answers with the row of %d, lookup with that of %d", x.Before[0].Event, found.Events[0][0])
		}
	}
	want := c.View.Answer(rows, a.Keys, a.At, NoCutoff)
	where := fmt.Sprintf("keys %+v at %d", a.Keys, a.At)
	same(t, &c.View, where+", lookup", looked, want)
	same(t, &c.View, where+", explain", explained, want)
}
