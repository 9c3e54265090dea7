package fault

import (
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// TestZombie stops runs until their leases are over and others have taken their place, and lets them go on: they record
// nothing and move nothing back. Leases take half a minute: the runs stand still before the parallel tests begin, and
// while others run.
func TestZombie(t *testing.T) {
	zombies := []*zombie{
		newZombie(t, "before its first write", failpoint.RunBeforeWrite),
		newZombie(t, "after its first write", failpoint.RunAfterWrite),
		newZombie(t, "before its commit", failpoint.RunBeforeCommit),
		newZombie(t, "before its swap", failpoint.SwapBeforeCommit, "--full"),
	}
	t.Parallel()
	for _, z := range zombies {
		t.Run(z.name, func(t *testing.T) { z.returns(t) })
	}
}

// zombie is a run that stands still, in a project of its own.
type zombie struct {
	*world
	name string
	run  *project.Process
}

func newZombie(t *testing.T, name, point string, args ...string) *zombie {
	w := newWorld(t, onlinetest.StartRedis(t)+project.Patient)
	w.Must("materialize")
	w.put("second", 2, 0, drivers)
	z := &zombie{world: w, name: name, run: w.Start(stop(point), append([]string{"materialize"}, args...)...)}
	z.run.AwaitStop()
	return z
}

func (z *zombie) returns(t *testing.T) {
	z.t = t
	z.put("third", 4, 0, drivers) // newer than what the zombie has read
	z.remove("first")             // so that what takes over is a rebuild
	var looked time.Time
	testenv.Until(t, "the lease ends", func() bool {
		if time.Since(looked) < time.Second {
			return false
		}
		looked = time.Now()
		r := z.Run("materialize")
		if r.Code != 0 {
			z.failed(r, busy)
		}
		return r.Code == 0
	})
	z.equal()
	before := z.status()
	r := z.run.Resume()
	z.failed(r, "taken over")
	z.equal()
	if st := z.status(); st.T != before.T || st.Generation != before.Generation {
		t.Errorf("status %+v, before %+v", st, before)
	}
	if runs := z.runs(); len(runs) != 3 || runs[0].State != "succeeded" || runs[1].State != "failed" || !strings.Contains(runs[1].Error, "interrupted") {
		t.Errorf("runs %+v", runs)
	}
	z.put("fourth", 5, 0, drivers)
	z.clean()
}
