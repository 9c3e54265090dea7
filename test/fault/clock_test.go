package fault

import (
	"fmt"
	"testing"
	"time"

	"github.com/provender-dev/provender/test/project"
)

// TestRunsOfAnotherYear: a T of next year is refused, unless that is meant, and stops no later run of this year. Rows of
// next year wait for it. A T of last year is refused where more is served already.
func TestRunsOfAnotherYear(t *testing.T) {
	t.Parallel()
	project.ForStores(t, func(t *testing.T, store string) {
		t.Parallel()
		w := newWorld(t, store)
		const year = 365 * 24 * time.Hour
		now := time.Now().UTC()
		at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }

		// A year in which nothing was true yet: no row, and no error.
		w.Must("materialize", "--to", at(-year))
		w.Must("verify", "--full")
		w.wantVersions(versionsOf(0, drivers+1))
		w.clean()

		w.fails([]string{"in the future", "--allow-future"}, "materialize", "--to", at(year))
		w.fails([]string{"before the last one"}, "materialize", "--to", at(-year))

		ahead := w.row(7, 2)
		ahead.At = now.Add(year)
		w.Put("ahead", []project.Row{ahead})
		w.clean()
		w.Must("materialize", "--to", at(year+time.Hour), "--allow-future")
		w.Must("verify", "--full", "--now", at(year+time.Hour))
		if got := w.get(7, 1)[0]; string(got.Trips.Value) != fmt.Sprint(trips(7, 2)) {
			t.Errorf("driver 7 of next year: %s", got)
		}

		// Back in this year runs go on, and what they bring is served; next year's row stays, for its T is the last.
		w.put("second", 3, 10, drivers)
		w.Must("materialize")
		w.Must("verify", "--full", "--now", at(year+time.Hour))
		want := w.newest()
		want[7] = 2
		w.wantVersions(want)

		// A new generation keeps that T: what is served never goes back in time.
		w.remove("first")
		w.put("first", 1, 0, drivers)
		w.Must("materialize", "--full")
		w.Must("verify", "--full", "--now", at(year+time.Hour))
	})
}
