package fault

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/project"
)

// stop arms a failpoint so that the process stops there.
func stop(point string) string { return point + "=stop" }

const busy = "is being materialized by"

// beside is an environment that is the project itself, whose commands do not find the project's server.
const beside = "beside"

func (w *world) addBeside(store string) {
	w.Write("provender.yaml", "version: 1\nproject: test\nonline: "+store+"\nenvironments: {"+beside+": {project: test}}\n")
}

// TestRefusedBesideAnother stops a run at each step: another one is refused meanwhile, and nothing is done twice.
func TestRefusedBesideAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onlinetest.StartRedis(t)+project.Patient)
	for i, step := range []struct {
		point string
		args  []string
	}{
		{failpoint.RunBeforeWrite, nil},
		{failpoint.RunAfterWrite, nil},
		{failpoint.RunBeforeCommit, nil},
		{failpoint.RunAfterWrite, []string{"--full"}},
		{failpoint.SwapBeforeCommit, []string{"--full"}},
	} {
		w.put(step.point, 2+i, 100*i, drivers)
		before := len(w.runs())
		first := w.Start(stop(step.point), append([]string{"materialize"}, step.args...)...)
		first.AwaitStop()
		w.fails([]string{busy}, "materialize")
		w.fails([]string{busy}, "materialize", "--full")
		if st := w.status(); st.State != "running" || st.LastRun.State != "running" {
			t.Errorf("%s: status %+v", step.point, st)
		}
		if r := first.Resume(); r.Code != 0 {
			t.Fatalf("%s: %+v", step.point, r)
		}
		if runs := w.runs(); len(runs) != before+1 || runs[0].State != "succeeded" {
			t.Errorf("%s: runs %+v", step.point, runs)
		}
		w.equal()
	}
}

// TestRunsAtOnce starts several runs at the same moment, incremental and full ones: each does all of its work or none.
func TestRunsAtOnce(t *testing.T) {
	t.Parallel()
	project.ForStores(t, func(t *testing.T, store string) {
		t.Parallel()
		w := newWorld(t, store)
		for round := range 3 {
			w.put(fmt.Sprint("round", round), 2+round, 1000*round, drivers)
			var runs []*project.Process
			for i := range 4 {
				args := []string{"materialize"}
				if i == round {
					args = append(args, "--full")
				}
				runs = append(runs, w.Start("", args...))
			}
			succeeded := 0
			for _, x := range runs {
				r := x.Wait()
				if r.Code == 0 {
					succeeded++
					continue
				}
				w.failed(r, busy)
			}
			if succeeded == 0 {
				t.Fatal("every run was refused")
			}
			w.equal() // without one more run
			for _, r := range w.runs() {
				// Cut off by a command that was done and stayed for it long enough: it was made again.
				if r.State != "succeeded" && r.State != "cancelled" {
					t.Errorf("run %+v", r)
				}
			}
		}
	})
}

// TestRunsBesideServer: the runs of a server and those of a command that does not know of it exclude each other, and
// who reads meanwhile notices nothing.
func TestRunsBesideServer(t *testing.T) {
	t.Parallel()
	store := onlinetest.StartRedis(t) + project.Patient
	w := newWorld(t, store)
	w.addBeside(store)
	w.Must("materialize")
	s := w.serve(stop(failpoint.RunAfterWrite))

	// The command is in the way of the server.
	r := s.read()
	w.put("second", 2, 0, drivers)
	first := w.Start(stop(failpoint.RunAfterWrite), "materialize", "--env", beside)
	first.AwaitStop()
	w.fails([]string{busy}, "materialize") // by the server
	r.answered()
	if r := first.Resume(); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	w.equal()
	r.check()

	// The server is in the way of the command.
	w.put("third", 4, 0, drivers)
	asked := w.Start("", "materialize")
	s.AwaitStop()
	w.fails([]string{busy}, "materialize", "--env", beside)
	if asked.Ended() {
		t.Errorf("the server answered: %+v", asked.Wait())
	}
	s.ResumeUntil("the command ends", asked.Ended)
	if r := asked.Wait(); r.Code != 0 {
		t.Fatalf("%+v", r)
	}

	// Both at once, again and again.
	for round := range 3 {
		w.put(fmt.Sprint("race", round), 5+round, 0, drivers)
		both := []*project.Process{w.Start("", "materialize"), w.Start("", "materialize", "--env", beside)}
		s.ResumeUntil("the command ends", both[0].Ended)
		for _, x := range both {
			if r := x.Wait(); r.Code != 0 {
				w.failed(r, busy)
			}
		}
		w.Must("materialize", "--env", beside) // what was refused to one may be left by both
		w.equal()
	}
}

// TestServersAtOnce: two servers of one project, each asked to run, over and over.
func TestServersAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onlinetest.StartRedis(t)+project.Patient)
	w.Must("materialize")
	servers := []*server{w.serve(""), w.serve("")}
	readers := []*reader{servers[0].read(), servers[1].read()}
	for round := range 4 {
		w.put(fmt.Sprint("round", round), 2+round, 0, drivers)
		var asked sync.WaitGroup
		for i, s := range servers {
			asked.Go(func() {
				if err := s.materialize(round%2 == i); err != nil && !isBusy(err) {
					t.Errorf("server %d: %v", i, err)
				}
			})
		}
		asked.Wait()
		w.equal()
	}
	for _, r := range readers {
		r.check()
		if _, refusals := r.counts(); refusals > 0 {
			t.Errorf("%d lookups were refused: %s", refusals, r.last)
		}
	}
}

// materialize asks the server itself for a run.
func (s *server) materialize(full bool) error {
	_, err := s.client.Materialize(s.t.Context(), client.MaterializeRequest{Full: full}, nil)
	return err
}

func isBusy(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Code == client.CodeConflict && strings.Contains(failed.Message, busy)
}
