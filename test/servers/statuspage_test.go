package servers

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/postgres"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/test/project"
)

// shows waits until the page has all of some texts.
func (s *starting) shows(texts ...string) string {
	s.t.Helper()
	var page string
	testenv.Until(s.t, "the page shows "+strings.Join(texts, ", "), func() bool {
		if s.Ended() {
			s.t.Fatalf("the server ended: %+v", s.Wait())
		}
		_, page = ask(s.admin, "/status")
		for _, text := range texts {
			if !strings.Contains(page, text) {
				return false
			}
		}
		return true
	})
	return page
}

// The page tells what a person needs, with whatever is in names and errors as text, to those who GET it.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	m := machine{project.New(t, project.Embedded)}
	const script = "<script>alert(1)</script>"
	m.Write("definitions.yaml", strings.Replace(project.Definitions, "name: stats\n",
		"name: stats\ndescription: \"rides "+script+"\"\nschedule: \"0 0 1 1 *\"\n", 1))
	m.Put("1", []project.Row{{Driver: 1, At: time.Now().Add(-50 * time.Hour), Written: time.Now().Add(-50 * time.Hour), Trips: 5}})
	m.Must("apply", "--yes")
	s := m.begin(t)
	s.until("/readyz", http.StatusOK)
	s.shows("was never materialized", "operate.md#states", `<span class="state warn">never</span>`)
	m.Must("materialize")
	if code, status := s.lookup(); code != "" || status != http.StatusOK {
		t.Fatalf("a lookup: %s, %d", code, status)
	}
	s.shows(`<span class="state good">ok</span>`, "Nothing is known to be wrong", "Ready: lookups are answered",
		"since it began to answer", "revision 1", "0 0 1 1 *", `<span class="state good">succeeded</span>`, "2 PRESENT", "online store", "registry",
		`<a href="metrics">`, `<a href="debug/pprof/">`, `<meta http-equiv="refresh" content="10">`, "2 d 2 h")
	if err := os.WriteFile(m.Path("<script>2"), []byte("PAR1"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := m.Run("materialize"); r.Code == 0 {
			t.Fatalf("%+v", r)
		}
	}
	m.Must("pause", "stats")
	page := s.shows(`<span class="state bad">failed</span>`, "the last run failed", "operate.md#provenderviewfailed", "&lt;script&gt;2.parquet",
		"rides &lt;script&gt;", "its schedule rests, paused by", "operate.md#provenderschedulepaused", `class="number">2</td>`)
	if strings.Contains(page, "<script") {
		t.Errorf("a script:\n%s", page)
	}

	for _, addr := range []string{s.http, s.admin} {
		for method, want := range map[string]int{
			http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodDelete: 405, http.MethodOptions: 405,
		} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+"/status?refresh=off", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %d, want %d", method, resp.StatusCode, want)
			}
			policy := resp.Header.Get("Content-Security-Policy")
			if want == 200 && (resp.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-")) {
				t.Errorf("%s: %v", method, resp.Header)
			}
		}
	}
	_, still := ask(s.admin, "/status?refresh=off")
	_, web := ask(s.http, "/status")
	if strings.Contains(still, "http-equiv") || !strings.Contains(web, "http-equiv") || strings.Contains(web, "pprof") {
		t.Errorf("it refreshes itself, or leads to profiles:\n%s\n%s", still, web)
	}
	if found := regexp.MustCompile(`(?:src|href|action)="(?:https?:)?//[^"]*"`).FindAllString(page, -1); len(found) == 0 {
		t.Error("no link leads to what to do")
	} else {
		for _, l := range found {
			if !strings.HasPrefix(l, `href="https://github.com/provender-dev/provender/blob/main/docs/how-to/operate.md#`) {
				t.Errorf("it takes something from elsewhere: %s", l)
			}
		}
	}
}

// The page is there while the server waits for its registry, and when that hangs or the store is away, it says so and shows
// what is known.
func TestStatusPageWithoutAnswers(t *testing.T) {
	t.Parallel()
	database := postgres.Start(t)
	site := newSite(t, database.Database(t))
	redis := onlinetest.StartRedisServer(t)
	site.online = redis.URL
	m := site.machine()
	m.Must("apply", "--yes")
	m.Must("materialize")
	database.Kill(t)
	s := m.begin(t)
	var seen []string
	seen = append(seen, s.shows("Not ready: the registry does not answer: open registry postgres://", "begins by itself", "operate.md#provenderregistrydown"))
	if code, page := ask(s.http, "/status"); code != http.StatusOK || !strings.Contains(page, "Not ready: the registry does not answer<") {
		t.Errorf("over HTTP: %d %s", code, page)
	}
	database.Restart(t)
	seen = append(seen, s.shows("Ready: lookups are answered", `<span class="state good">ok</span>`))

	database.Freeze(t)
	seen = append(seen, s.shows("Ready: lookups are answered", "<strong>stats</strong>", "Views are as they were", "no answer within 2s", "Runs are as they were"))
	seen = append(seen, s.shows("The registry does not answer: lookups are answered by what was known", "since 20"))
	database.Thaw(t)
	s.shows("Nothing is known to be wrong")

	redis.Kill()
	seen = append(seen, s.shows("Not ready: the online store does not answer", `<span class="state bad">unknown</span>`, "operate.md#provenderonlinestoredown"))
	redis.Restart(t)
	seen = append(seen, s.shows("Ready: lookups are answered"))
	for _, page := range seen {
		if strings.Contains(page, postgres.Password) {
			t.Errorf("it shows a password:\n%s", page)
		}
	}
	s.Signal(15)
	if r := s.Wait(); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}
