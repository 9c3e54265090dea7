package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/load"
	"github.com/provender-dev/provender/test/project"
)

// pair is two servers of one registry and one store, in folders of their own, as on two machines.
type pair struct {
	*world
	folders []*project.Project
	servers []*project.Server
	history *load.History
	ready   [2]atomic.Bool // as a balancer has it, which looks now and then
}

func newPair(t *testing.T) *pair {
	t.Helper()
	store := onlinetest.StartRedis(t) + project.Patient
	p := &pair{history: load.NewHistory(drivers)}
	lake := project.New(t, store)
	registry := filepath.Join(t.TempDir(), "registry.db")
	for _, folder := range []*project.Project{lake, project.New(t, store), project.New(t, store)} {
		folder.Write("provender.yaml", fmt.Sprintf("version: 1\nproject: test\nregistry: sqlite://%s\nonline: %s\nroots: {lake: %s}\nserver: {drain_delay: 1s}\n",
			registry, store, filepath.Join(lake.Dir, "data")))
		folder.Write("definitions.yaml", strings.Replace(project.Definitions, "data/**", `"lake:**"`, 1))
		p.folders = append(p.folders, folder)
	}
	p.folders = p.folders[1:]
	p.world = worldOf(t, lake)
	p.Must("materialize")
	p.history.Put(1, 0, drivers)
	p.history.Settle()
	for _, folder := range p.folders {
		p.servers = append(p.servers, folder.ServeAt(testenv.FreeAddress(t), testenv.FreeAddress(t), ""))
	}
	ctx, stop := context.WithCancel(t.Context())
	looked := make(chan struct{})
	addrs := []string{p.servers[0].HTTP, p.servers[1].HTTP}
	look := func() {
		for i, addr := range addrs {
			resp, err := http.Get("http://" + addr + "/readyz")
			if err == nil {
				_ = resp.Body.Close()
			}
			p.ready[i].Store(err == nil && resp.StatusCode == http.StatusOK)
		}
	}
	look()
	go func() {
		defer close(looked)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	}()
	t.Cleanup(func() { stop(); <-looked })
	return p
}

// load asks both servers, over gRPC as a client that knows them, over HTTP as one behind a balancer.
func (p *pair) load() []*load.Load {
	p.t.Helper()
	config := load.Config{History: p.history, Callers: 8, Pace: 200, Seed: testenv.Seed(p.t), Deadline: longDeadline}
	web := config
	for range config.Callers {
		conn, err := load.Dial(p.servers[0].GRPC, p.servers[1].GRPC)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { _ = conn.Close() })
		config.Asks = append(config.Asks, load.Client(client.New(conn, client.WithoutRepeats())))
	}
	var next atomic.Int64
	addrs := []string{p.servers[0].HTTP, p.servers[1].HTTP}
	balanced := &http.Transport{MaxIdleConnsPerHost: config.Callers, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		for range addrs {
			if i := next.Add(1) % 2; p.ready[i].Load() {
				var d net.Dialer
				return d.DialContext(ctx, network, addrs[i])
			}
		}
		return nil, errors.New("no server is ready")
	}}
	p.t.Cleanup(balanced.CloseIdleConnections)
	web.Asks = []load.Ask{load.HTTP(&http.Client{Transport: balanced}, "http://provender.test")}
	loads := []*load.Load{load.Start(config), load.Start(web)}
	for _, l := range loads {
		p.t.Cleanup(func() { l.Stop() })
		goesOn(p.t, l)
	}
	return loads
}

// goesOn waits for answers of calls that begin now.
func goesOn(t *testing.T, loads ...*load.Load) {
	t.Helper()
	for _, l := range loads {
		before, _ := l.Counts()
		testenv.Until(t, "lookups are answered", func() bool { n, _ := l.Counts(); return n > before+50 })
	}
}

// restart starts a server again at its addresses, and waits until clients are back there.
func (p *pair) restart(i int) {
	p.t.Helper()
	p.servers[i] = p.folders[i].ServeAt(p.servers[i].GRPC, p.servers[i].HTTP, "")
	testenv.Until(p.t, "the balancer sees that the server is ready", p.ready[i].Load)
	// Ten for each connection: one that has not yet come back would have nobody while the other server restarts.
	testenv.Until(p.t, "clients are back", func() bool { return p.servers[i].Metric(`provender_lookups_total{code="OK"}`) > 80 })
}

// TestRestarts restarts two servers by turns under load: no call fails.
func TestRestarts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	loads := p.load()
	for round := range 4 {
		i := round % 2
		p.servers[i].Signal(syscall.SIGTERM)
		if r := p.servers[i].Wait(); r.Code != 0 {
			t.Fatalf("the server ended with %+v", r)
		}
		goesOn(t, loads...)
		p.restart(i)
		goesOn(t, loads...)
	}
	for _, l := range loads {
		all := l.Stop()
		t.Logf("%s", &all)
		if all.Failed()+all.Wrong+all.Missing > 0 {
			t.Errorf("%s: %v", &all, all.Refusals)
		}
	}
}

// TestRestartInRun: a server that is told to stop in the middle of a run ends well, nobody's lookup fails, and the next run
// does it all. So does one that is killed, but for the lookups that it had taken.
func TestRestartInRun(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for i, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p.servers[0].Signal(syscall.SIGTERM)
		p.servers[0].Wait()
		p.servers[0] = p.folders[0].ServeAt(p.servers[0].GRPC, p.servers[0].HTTP, stop(failpoint.RunAfterWrite))
		testenv.Until(t, "the balancer sees that the server is ready", p.ready[0].Load)
		loads := p.load()
		version := 2 + i
		p.history.Put(version, 0, drivers)
		p.put(fmt.Sprint("more", version), version, 0, drivers)
		run := p.folders[0].Start("", "materialize")
		p.servers[0].AwaitStop()
		p.servers[0].Signal(end)
		if end == syscall.SIGTERM {
			if r := p.servers[0].Resume(); r.Code != 0 {
				t.Errorf("the server ended with %+v", r)
			}
		} else {
			p.servers[0].Wait()
		}
		for _, l := range loads {
			l.FaultEnds()
		}
		run.Wait() // done, or told that the server has gone
		goesOn(t, loads...)
		p.restart(0)
		p.folders[1].Must("materialize")
		p.history.Settle()
		goesOn(t, loads...)
		for _, l := range loads {
			_, steady, _ := l.Recovery()
			all := l.Stop()
			t.Logf("%s: last failure %s, %s", end, steady, &all)
			if all.Wrong+all.Missing > 0 || end == syscall.SIGTERM && all.Failed() > 0 || steady > recovery {
				t.Errorf("%s: last failure %s, %s: %v", end, steady, &all, all.Refusals)
			}
		}
		p.clean()
	}
}
