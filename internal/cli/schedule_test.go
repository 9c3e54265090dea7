package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
)

// scheduledShop makes a project whose view has a schedule, with settings of `materialize` and an online store ("": its
// own).
func scheduledShop(t *testing.T, schedule, settings, online string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	provender(t, "init", dir)
	edit(t, filepath.Join(dir, "provender.yaml"), func(s string) string {
		if online != "" {
			s = strings.Replace(s, "embedded://.provender/online", online, 1)
		}
		return s + "materialize: " + settings + "\n"
	})
	edit(t, filepath.Join(dir, "definitions", "customers.yaml"), func(s string) string {
		return strings.Replace(s, "kind: FeatureView\n", "kind: FeatureView\nschedule: \""+schedule+"\"\n", 1)
	})
	provender(t, "apply", "--yes", "-C", dir)
	return dir
}

func edit(t *testing.T, path string, change func(string) string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(raw))
	if changed == string(raw) {
		t.Fatalf("%s is as it was", path)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

// scheduledRuns lists the runs of schedules that are over, newest first.
func scheduledRuns(t *testing.T, c *client.Client) []client.Run {
	t.Helper()
	runs, err := c.Runs(t.Context(), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(runs, func(r client.Run) bool {
		return r.Trigger != "schedule" || r.State == "running" || r.State == "queued"
	})
}

// hooked takes the messages of a webhook.
type hooked struct {
	mu       sync.Mutex
	messages []map[string]any
}

func (h *hooked) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var m map[string]any
	err := json.NewDecoder(r.Body).Decode(&m)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		m = map[string]any{"event": err.Error()}
	}
	h.messages = append(h.messages, m)
}

func (h *hooked) message(i int) map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.messages[i]
}

func (h *hooked) events() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := []string{}
	for _, m := range h.messages {
		events = append(events, m["event"].(string))
	}
	return events
}

// A view that fails is retried, told once, also over a restart of the server, and told again when it has recovered.
func TestScheduleFails(t *testing.T) {
	hook := new(hooked)
	receiver := httptest.NewServer(hook)
	defer receiver.Close()
	dir := scheduledShop(t, "@every 2s", "{retries: 2, backoff: 10ms, webhook: \""+receiver.URL+"/hunter2\"}", "")
	bad := filepath.Join(dir, "data", "customer_orders", "bad.parquet")
	if err := os.WriteFile(bad, []byte("this is no Parquet"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, dir)
	c := s.dial(t)
	testenv.Until(t, "failed", func() bool { return len(hook.events()) > 0 })
	runs := scheduledRuns(t, c)
	if len(runs) < 3 {
		t.Fatalf("runs %+v", runs)
	}
	// The third failure in a row, whether a slow machine has made another tick come in between or not.
	third := runs[len(runs)-3]
	m := hook.message(0)
	if m["run"] != float64(third.ID) || m["view"] != "customer_orders" || m["project"] != "shop" || m["error"] != third.Error ||
		third.State != "failed" || !strings.Contains(third.Error, "bad.parquet") {
		t.Errorf("message %v, of run %+v", m, third)
	}
	if log := s.log.String(); !strings.Contains(log, "attempt=2") {
		t.Errorf("nothing was retried\n%s", log)
	}
	before := 0
	testenv.Until(t, "the next tick", func() bool { before = len(scheduledRuns(t, c)); return before > 4 })
	if err := s.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.process.Wait()

	s = startServe(t, dir)
	c = s.dial(t)
	testenv.Until(t, "failures after a restart", func() bool { return len(scheduledRuns(t, c)) >= before+4 })
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, "recovered", func() bool { return len(hook.events()) > 1 })
	s.stop(t)
	if diff := cmp.Diff([]string{"failed", "recovered"}, hook.events()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if log := s.log.String(); strings.Contains(log, "hunter2") {
		t.Errorf("the webhook's URL is logged\n%s", log)
	}
}

var ranTick = regexp.MustCompile(`msg="scheduled run" .*tick=(\S+)`)

// ticks are those that a server has run.
func (s *service) ticks() []string {
	var ticks []string
	for _, m := range ranTick.FindAllStringSubmatch(s.log.String(), -1) {
		ticks = append(ticks, m[1])
	}
	return ticks
}

// Of several servers one runs a tick; when one dies the other goes on; both rest when the schedule is paused, and one
// of them makes up for what was missed.
func TestScheduleOfSeveralServers(t *testing.T) {
	dir := scheduledShop(t, "@every 1s", "{backoff: 1s}", onlinetest.StartRedis(t))
	first, second := startServe(t, dir), startServe(t, dir)
	c := second.dial(t)
	testenv.Until(t, "ticks", func() bool { return len(first.ticks())+len(second.ticks()) >= 6 })

	provender(t, "pause", "customer_orders", "-C", dir)
	for _, s := range []*service{first, second} {
		testenv.Until(t, "pause", func() bool { return strings.Contains(s.log.String(), "schedule is paused") })
		testenv.Until(t, "end of the tick under way", func() bool {
			return strings.Contains(s.metrics(t), `provender_scheduler_calls{state="running"} 0`+"\n")
		})
	}
	provender(t, "materialize", "-C", dir) // nobody has the lease
	paused, at := len(scheduledRuns(t, c)), time.Now()
	testenv.Until(t, "ticks that are missed", func() bool { return time.Since(at) > 3*time.Second })
	if runs := len(scheduledRuns(t, c)); runs != paused {
		t.Errorf("%d runs while the schedule rests", runs-paused)
	}
	provender(t, "resume", "-C", dir)
	testenv.Until(t, "resumed", func() bool { return len(scheduledRuns(t, c)) > paused+1 })

	if err := first.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.process.Wait()
	alone := len(second.ticks())
	testenv.Until(t, "ticks of the server that is left", func() bool { return len(second.ticks()) > alone+1 })
	runs := scheduledRuns(t, c)
	second.stop(t)

	ticks := append(first.ticks(), second.ticks()...)
	slices.Sort(ticks)
	if once := slices.Compact(slices.Clone(ticks)); len(once) != len(ticks) {
		t.Errorf("ticks were run twice: %v", ticks)
	}
	for _, r := range runs {
		if r.State != "succeeded" && !strings.Contains(r.Error, "interrupted") { // by the end of the first server
			t.Errorf("run %+v", r)
		}
	}
}
