package server

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/registry/definition"
)

// maxProfile bounds how long a profile is taken.
const maxProfile = 5 * time.Minute

// admin is an address for those who run the server. It answers from before the stores are opened until the last call has
// finished.
type admin struct {
	net.Listener
	open   bool                          // callers need not prove who they are: only this machine can ask
	routes atomic.Pointer[http.ServeMux] // once there is a node
}

// listenAdmin returns nil where there is to be no such address. One that nobody asked for is given up where it is taken: several
// servers may share a machine.
func (s *server) listenAdmin(listen func(flag, addr string) (net.Listener, error)) (*admin, error) {
	configured := &s.project.Config.Server
	addr := cmp.Or(s.opts.Admin, configured.Admin)
	if addr == definition.AdminOff {
		return nil, nil //nolint:nilnil // none is no failure
	}
	l, err := listen("admin", addr)
	if err != nil && s.opts.Admin == "" && configured.AdminByDefault {
		s.logger.Warn("there is no admin address", "error", err)
		return nil, nil //nolint:nilnil // none is no failure
	}
	if err != nil {
		return nil, err
	}
	return &admin{Listener: l, open: auth.Loopback(l.Addr())}, nil
}

// serveAdmin answers until web is closed.
func (s *server) serveAdmin(web *http.Server) error {
	early := http.NewServeMux()
	s.vitals.routes(early, s.admin.open)
	if s.admin.open {
		profiles(early, nil)
	}
	if s.admin.open || !s.door.proven {
		early.Handle(statusPath, s.page.handler(nil, s.admin.open, true))
	}
	early.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		rpc.WriteError(w, r, s.logger, errStarting)
	})
	web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if routes := s.admin.routes.Load(); routes != nil {
			routes.ServeHTTP(w, r)
			return
		}
		early.ServeHTTP(w, r)
	})
	web.WriteTimeout = maxProfile + time.Minute
	if s.admin.open {
		return web.Serve(s.admin)
	}
	return s.door.serve(web, s.admin)
}

// adminRoutes are those of a server that has started.
func (s *server) adminRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	s.vitals.routes(mux, s.admin.open)
	gate := s.door.gate
	if s.admin.open {
		gate = nil
	}
	profiles(mux, gate)
	mux.Handle("GET /metrics", gate.Handler("GET /metrics", s.metrics.Handler()))
	mux.Handle(statusPath, s.page.handler(gate, s.admin.open, true))
	return mux
}

// profiles adds what Go tells of the process, but for its command line, which may have a secret. Contention is sampled only
// while somebody asks for it.
func profiles(mux *http.ServeMux, gate *rpc.Gate) {
	const at = "GET /debug/pprof/"
	handle := func(name string, h http.HandlerFunc) { mux.Handle(at+name, gate.Handler(at, h)) }
	handle("", pprof.Index)
	handle("profile", bounded(pprof.Profile))
	handle("symbol", pprof.Symbol)
	handle("trace", bounded(pprof.Trace))
	handle("mutex", bounded(whileAsked(pprof.Handler("mutex"), func(on bool) {
		runtime.SetMutexProfileFraction(rate(on, mutexSample))
	})))
	handle("block", bounded(whileAsked(pprof.Handler("block"), func(on bool) {
		runtime.SetBlockProfileRate(rate(on, int(blockSample)))
	})))
}

const (
	mutexSample = 10               // one of so many contentions
	blockSample = time.Microsecond // one event per so much time spent blocked
)

func rate(on bool, sample int) int {
	if on {
		return sample
	}
	return 0
}

// bounded refuses profiles that take too long.
func bounded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if seconds, _ := strconv.ParseFloat(r.FormValue("seconds"), 64); seconds > maxProfile.Seconds() {
			http.Error(w, fmt.Sprintf("seconds is more than %v", maxProfile.Seconds()), http.StatusBadRequest)
			return
		}
		h(w, r)
	}
}

// whileAsked turns sampling on for as long as somebody waits for a profile, which ?seconds= makes one do.
func whileAsked(h http.Handler, sample func(on bool)) http.HandlerFunc {
	var mu sync.Mutex
	asking := 0
	change := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		asking += by
		sample(asking > 0)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		change(1)
		defer change(-1)
		h.ServeHTTP(w, r)
	}
}
