// Package fault lets the real program meet what goes wrong around it: other runs at once, processes that stand still, a
// Redis that fails in every way, full disks, files that change while they are read, clocks that are wrong. After each
// fault one more run, and online equals offline and a model of what the files say.
package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/load"
	"github.com/provender-dev/provender/test/project"
)

func TestMain(m *testing.M) { project.Main(m) }

// drivers are enough for several batches of a run.
const drivers = 5000

// world is a project and what its files say. Every row has a version: rows of a greater one are dated later, and the
// values tell driver and version.
type world struct {
	*project.Project
	t     *testing.T
	base  time.Time        // when version 0 became true
	files map[string][]int // version per driver in each file of the source; 0 for none
}

// newWorld is a project with one file of all drivers, version 1, applied and not yet materialized.
func newWorld(t *testing.T, store string) *world {
	t.Helper()
	return worldOf(t, project.New(t, store))
}

func worldOf(t *testing.T, p *project.Project) *world {
	t.Helper()
	w := &world{Project: p, t: t, base: time.Now().Add(-24 * time.Hour).Truncate(time.Microsecond), files: map[string][]int{}}
	w.put("first", 1, 0, drivers)
	w.Must("apply", "--yes")
	return w
}

// row is a driver's row of a version.
func (w *world) row(driver, version int) project.Row {
	r := project.Row{
		Driver: int64(driver), At: w.base.Add(time.Duration(version) * time.Minute), Written: w.base, Trips: trips(driver, version),
	}
	if rating, ok := load.Rating(version); ok {
		r.Rating = &rating
	}
	return r
}

const versions = load.Versions

func trips(driver, version int) int64 { return load.Trips(driver, version) }

// put writes a file with a version of some drivers.
func (w *world) put(name string, version, from, to int) {
	w.t.Helper()
	have := make([]int, to)
	var rows []project.Row
	for d := from; d < to; d++ {
		have[d] = version
		rows = append(rows, w.row(d, version))
	}
	w.Put(name, rows)
	w.files[name] = have
}

// remove removes a file.
func (w *world) remove(name string) {
	w.t.Helper()
	w.Remove(name)
	delete(w.files, name)
}

// newest is the version that the files have of every driver, 0 where they have none; of one driver more than there are.
func (w *world) newest() []int {
	var newest []int
	for _, have := range w.files {
		newest = append(newest, make([]int, max(0, len(have)-len(newest)))...)
		for d, v := range have {
			newest[d] = max(newest[d], v)
		}
	}
	return append(newest, 0)
}

// clean checks that one more run succeeds, and that what is online then is what the files say, to the program and to us.
func (w *world) clean() {
	w.t.Helper()
	w.Must("materialize")
	w.equal()
}

// equal checks that what is online is what the files say.
func (w *world) equal() {
	w.t.Helper()
	w.Must("verify", "--full")
	w.wantVersions(w.newest())
	if st := w.status(); st.State != "ok" {
		w.t.Errorf("status %+v", st)
	}
}

// wantVersions checks the values online, cell by cell; where there are very many, the first and the last.
func (w *world) wantVersions(want []int) {
	w.t.Helper()
	wrong := 0
	for first := 0; first < len(want); first += drivers {
		if first > 0 && first+drivers < len(want) {
			continue
		}
		chunk := want[first:min(len(want), first+drivers)]
		for i, got := range w.get(first, len(chunk)) {
			d, v := first+i, chunk[i]
			expected := cells{Trips: cell{Status: "NOT_FOUND"}, Rating: cell{Status: "NOT_FOUND"}}
			if v > 0 {
				expected.Trips = cell{Value: json.RawMessage(fmt.Sprint(trips(d, v))), Status: "PRESENT"}
				expected.Rating = cell{Status: "NULL"}
				if v%3 > 0 {
					expected.Rating = cell{Value: json.RawMessage(fmt.Sprint(v)), Status: "PRESENT"}
				}
			}
			if !got.equal(expected) {
				if wrong++; wrong < 5 {
					w.t.Errorf("driver %d is %s, want %s", d, got, expected)
				}
			}
		}
	}
	if wrong > 0 {
		w.t.Fatalf("%d of %d drivers are wrong", wrong, len(want))
	}
}

type cell struct {
	Value  json.RawMessage `json:"value"`
	Status string          `json:"status"`
}

type cells struct {
	Trips  cell `json:"trips"`
	Rating cell `json:"rating"`
}

func (c cells) String() string {
	return fmt.Sprintf("%s %s, %s %s", c.Trips.Status, c.Trips.Value, c.Rating.Status, c.Rating.Value)
}

func (c cells) equal(d cells) bool { return c.Trips.equal(d.Trips) && c.Rating.equal(d.Rating) }

func (c cell) equal(d cell) bool {
	return c.Status == d.Status && (d.Value == nil && string(c.Value) == "null" || string(c.Value) == string(d.Value))
}

// get looks n drivers up.
func (w *world) get(first, n int) []cells {
	w.t.Helper()
	entities := "driver\n"
	for d := range n {
		entities += fmt.Sprintln(first + d)
	}
	w.Write("entities.csv", entities)
	var answer struct {
		Rows []struct{ Features cells }
	}
	w.decode(w.Must("get", "--features", "stats:trips,stats:rating", "--entities", "entities.csv", "-o", "json"), &answer)
	if len(answer.Rows) != n {
		w.t.Fatalf("%d rows for %d entities", len(answer.Rows), n)
	}
	out := make([]cells, n)
	for i, r := range answer.Rows {
		out[i] = r.Features
	}
	return out
}

func (w *world) decode(text string, into any) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
}

// status is what the program says of the view.
type status struct {
	State        string
	Error        string
	Generation   uint64
	T            time.Time
	PendingFiles int      `json:"pending_files"`
	LastRun      *runInfo `json:"last_run"`
}

// runInfo is what the program says of a run.
type runInfo struct {
	ID         int64
	State      string
	Generation uint64
	T          time.Time
	Error      string
}

func (w *world) status() status {
	w.t.Helper()
	var r struct{ Views []status }
	w.decode(w.Must("status", "-o", "json"), &r)
	if len(r.Views) != 1 {
		w.t.Fatalf("status of %d views", len(r.Views))
	}
	return r.Views[0]
}

// runs lists every run, the newest first.
func (w *world) runs() []runInfo {
	w.t.Helper()
	var r struct{ Runs []runInfo }
	w.decode(w.Must("runs", "--limit", "0", "-o", "json"), &r)
	return r.Runs
}

// fails runs a command that fails with exit code 1, for a reason that its message has all parts of.
func (w *world) fails(parts []string, args ...string) {
	w.t.Helper()
	w.failed(w.Run(args...), parts...)
}

// failed checks that a command has failed, for a reason that its message has all parts of.
func (w *world) failed(r project.Result, parts ...string) {
	w.t.Helper()
	if r.Code != 1 || strings.Contains(r.Stderr, "panic") || strings.Contains(r.Stderr, "goroutine ") {
		w.t.Fatalf("exit code %d, want 1\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, part := range parts {
		if !strings.Contains(r.Stderr, part) {
			w.t.Errorf("the message lacks %q:\n%s", part, r.Stderr)
		}
	}
}

// recordedNothing checks that T and generation are as they were, and that files are still to be read: what failed since
// has recorded nothing. It returns the status.
func (w *world) recordedNothing(before status) status {
	w.t.Helper()
	now := w.status()
	if !now.T.Equal(before.T) || now.Generation != before.Generation || now.PendingFiles == 0 {
		w.t.Errorf("status %+v, before %+v", now, before)
	}
	return now
}

// server is the project's own server, in a process.
type server struct {
	*project.Server
	t      *testing.T
	client *client.Client
	addr   string // of gRPC
}

// serve starts the server, with failpoints armed, and waits until it is ready.
func (w *world) serve(failpoints string) *server {
	w.t.Helper()
	s := &server{t: w.t, Server: w.Serve(failpoints)}
	s.addr = s.GRPC
	var err error
	if s.client, err = client.Dial(w.t.Context(), s.addr); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.client.Close() })
	return s
}

// reader looks drivers up without a pause. To it no driver is ever absent, no value wrong, and none goes back.
type reader struct {
	s    *server
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	answers  int
	refusals int
	last     string // refusal
	behind   bool   // values may go back
	seen     [readers]int64
	wrong    []string
}

// readers is how many drivers a reader looks up: the first ones.
const readers = 100

// read begins to read.
func (s *server) read() *reader {
	r := &reader{s: s, stop: make(chan struct{})}
	ids := make([]int64, readers)
	for d := range ids {
		ids[d] = int64(d)
	}
	request := client.Request{Features: []string{"stats:trips"}, Keys: []client.Key{client.Int64s("driver", ids...)}}
	r.done.Go(func() {
		pause := time.NewTicker(2 * time.Millisecond) // the machine has others to serve
		defer pause.Stop()
		for {
			select {
			case <-r.stop:
				return
			case <-pause.C:
			}
			r.take(s.client.GetFeatures(s.t.Context(), request))
		}
	})
	s.t.Cleanup(r.end)
	return r
}

func (r *reader) end() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.done.Wait()
}

// take judges an answer.
func (r *reader) take(answer *client.Response, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.refusals++
		r.last = err.Error()
		if failed := (*client.Error)(nil); !errors.As(err, &failed) || failed.Code != client.CodeUnavailable {
			r.wrong = append(r.wrong, "not unavailable: "+err.Error())
		}
		return
	}
	r.answers++
	column := answer.Columns[0]
	for d := range answer.Rows {
		switch v := column.Int64(d); {
		case column.Status(d) != client.Present:
			r.wrong = append(r.wrong, fmt.Sprintf("driver %d is %s", d, column.Status(d)))
		case v/versions != int64(d):
			r.wrong = append(r.wrong, fmt.Sprintf("driver %d has trips %d", d, v))
		case v < r.seen[d] && !r.behind:
			r.wrong = append(r.wrong, fmt.Sprintf("driver %d went back from %d to %d", d, r.seen[d], v))
		default:
			r.seen[d] = max(r.seen[d], v)
		}
	}
}

// mayGoBack tells whether values may go back for now: to a store that went back, until that is noticed, and where what
// was written was never recorded.
func (r *reader) mayGoBack(may bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behind = may
}

func (r *reader) counts() (answers, refusals int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers, r.refusals
}

// answered waits for answers that were asked for from now on.
func (r *reader) answered() {
	r.s.t.Helper()
	before, _ := r.counts()
	testenv.Until(r.s.t, "lookups are answered", func() bool { n, _ := r.counts(); return n > before+1 })
}

// refused waits for a lookup that is refused.
func (r *reader) refused() {
	r.s.t.Helper()
	_, before := r.counts()
	testenv.Until(r.s.t, "lookups are refused", func() bool { _, n := r.counts(); return n > before })
}

// lost waits until lookups are refused because the store has lost its data.
func (r *reader) lost() {
	r.s.t.Helper()
	testenv.Until(r.s.t, "the loss is noticed", func() bool {
		r.refused()
		r.mu.Lock()
		defer r.mu.Unlock()
		return strings.Contains(r.last, "lost its data")
	})
}

// check ends the reading and tells what was wrong.
func (r *reader) check() {
	r.s.t.Helper()
	r.end()
	if len(r.wrong) > 0 {
		wrong := slices.Compact(r.wrong)
		r.s.t.Errorf("%d wrong of %d answers, %d refusals (the last: %s): %s", len(r.wrong), r.answers, r.refusals, r.last,
			strings.Join(wrong[:min(len(wrong), 5)], "; "))
	}
	if r.answers == 0 {
		r.s.t.Error("no lookup was answered")
	}
}
