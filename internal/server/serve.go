package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/internal/rpc/calls"
	"github.com/provender-dev/provender/internal/tracing"
	"github.com/provender-dev/provender/internal/version"
)

// drainTime is how long calls under way may take after the server was told to stop.
const drainTime = 25 * time.Second

// ServeOptions are settings of Serve.
type ServeOptions struct {
	GRPC, HTTP  string    // addresses, in place of the configuration's; port 0 takes a free one
	Admin       string    // as these, or definition.AdminOff
	Definitions string    // where to take definitions from, in place of the configuration's
	Now         time.Time // fixed read time; zero: the clock's. Schedules rest while it is fixed.
	Insecure    bool      // may listen beyond loopback without authentication or without TLS
	Logger      *slog.Logger
	// Ready is called once, when lookups are answered; may be nil.
	Ready func(Addresses)
}

// Addresses is where a server listens. While it runs they are in .provender/serve.json of the project.
type Addresses struct {
	GRPC  string `json:"grpc"`
	HTTP  string `json:"http"`
	Admin string `json:"admin,omitempty"` // "": nowhere
	PID   int    `json:"pid"`
}

// Serve answers on the project's addresses and runs its schedules until ctx ends, then lets calls under way finish. While the
// registry is away it waits: it lives, and says that it can't be sent requests yet.
func Serve(ctx context.Context, p *Project, opts ServeOptions) (err error) {
	if _, running := p.addresses(); running && p.isEmbedded() && p.held(ctx) {
		return p.heldByOther()
	}
	opts.Logger = slog.New(calls.LogHandler(opts.Logger.Handler()))
	limitMemory(os.DirFS("/"), os.Getenv, opts.Logger)
	traces, err := tracing.New(ctx, os.Getenv, version.String(), opts.Logger)
	if err != nil {
		return err
	}
	defer traces.Close()
	d, err := openDoor(p, opts.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	s := &server{project: p, opts: opts, logger: opts.Logger, door: d, vitals: newVitals(), traces: traces}
	s.page = newStatusPage(p, s.vitals, opts.Now, opts.Logger)
	if err := s.listen(ctx); err != nil {
		return err
	}
	defer s.forget()
	err = s.run(ctx)
	s.page.close()
	if s.node != nil {
		s.leave(ctx)
		err = errors.Join(err, s.close())
	}
	return err
}

// leave tells runs elsewhere that this server answers no more.
func (n *node) leave(ctx context.Context) {
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	if err := n.follow.presence.leave(brief); err != nil {
		n.logger.Warn("runs elsewhere don't know that this server has stopped", "error", err)
	}
}

// heldByOther tells who has the embedded store: a server, which stays, or a command, which may be done soon.
func (p *Project) heldByOther() error {
	if at, running := p.addresses(); running {
		err := problem.New(problem.Conflict, "another process serves project %s: process %d, gRPC on %s, HTTP on %s",
			p.Config.Project, at.PID, at.GRPC, at.HTTP)
		err.Suggestion = "stop it, or use it: commands in this folder find it by themselves"
		return err
	}
	err := problem.New(problem.Unavailable, "a command holds the online store of project %s", p.Config.Project)
	err.Suggestion = "start the server when it is done"
	return err
}

// addresses returns where the project's server listens, false where none runs.
func (p *Project) addresses() (at Addresses, running bool) {
	raw, err := os.ReadFile(p.addressFile())
	if err != nil || json.Unmarshal(raw, &at) != nil || at.PID <= 0 {
		return Addresses{}, false
	}
	return at, !errors.Is(syscall.Kill(at.PID, 0), syscall.ESRCH)
}

func (p *Project) addressFile() string { return filepath.Join(p.Dir, stateFolder, "serve.json") }

// server is a node, once there is one, and what stands around it.
type server struct {
	*node
	project   *Project
	opts      ServeOptions
	logger    *slog.Logger
	door      *door
	vitals    *vitals
	traces    *tracing.Tracing
	page      *statusPage
	addresses Addresses
	tcp       *lentListener // of gRPC
	socket    net.Listener  // the project's own; nil where another server of the folder has it
	http      net.Listener
	api       atomic.Pointer[http.ServeMux] // over HTTP, once there is a node
	admin     *admin                        // nil: there is none
	unfollow  context.CancelFunc            // ends what calls under way need of the node
}

// listen takes the addresses, so that what is wrong with them is told at once.
func (s *server) listen(ctx context.Context) (err error) {
	var taken []net.Listener
	defer func() {
		if err == nil {
			return
		}
		for _, l := range taken {
			_ = l.Close()
		}
	}()
	configured := &s.project.Config.Server
	listen := func(flag, addr string) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			e := problem.New(problem.Unavailable, "listen on %s: %w", addr, err)
			e.Suggestion = fmt.Sprintf("choose another address with --%s, or as server.%s in provender.yaml", flag, flag)
			return nil, e
		}
		if err := s.door.safe(l.Addr(), s.opts.Insecure || configured.Insecure); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		taken = append(taken, l)
		return l, nil
	}
	if s.admin, err = s.listenAdmin(listen); err != nil {
		return err
	}
	l, err := listen("grpc", cmp.Or(s.opts.GRPC, configured.GRPC))
	if err != nil {
		return err
	}
	s.tcp = &lentListener{Listener: l}
	if s.http, err = listen("http", cmp.Or(s.opts.HTTP, configured.HTTP)); err != nil {
		return err
	}
	s.addresses = Addresses{GRPC: l.Addr().String(), HTTP: s.http.Addr().String(), PID: os.Getpid()}
	if s.admin != nil {
		s.addresses.Admin = s.admin.Addr().String()
	}
	return nil
}

// remember writes the addresses where scripts find them.
func (s *server) remember() error {
	raw, err := json.Marshal(s.addresses)
	if err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	path := s.project.addressFile()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	if err := os.WriteFile(path+".tmp", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	return nil
}

// forget removes the addresses, unless another server has written its own since.
func (s *server) forget() {
	raw, err := os.ReadFile(s.project.addressFile())
	var written Addresses
	if err == nil && json.Unmarshal(raw, &written) == nil && written == s.addresses {
		_ = os.Remove(s.project.addressFile())
	}
}

// run answers until ctx ends: first how the server is, and once there is a node everything.
func (s *server) run(ctx context.Context) error {
	s.vitals.publish()
	waiting := s.waitingServer()
	web, admin := s.web(s.closing(s.routes())), s.web(nil)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return served("gRPC", waiting.Serve(s.tcp.lend())) })
	group.Go(func() error { return served("HTTP", s.door.serve(web, s.http)) })
	if s.admin != nil {
		group.Go(func() error { return served("the admin address", s.serveAdmin(admin)) })
	}
	group.Go(func() error {
		err := s.open(ctx)
		waiting.Stop()
		if err == nil {
			err = s.begin(ctx, group)
		}
		if ctx.Err() != nil { // that is why it did not open
			err = nil
		}
		if err == nil {
			<-ctx.Done()
		}
		return errors.Join(err, s.end(web), admin.Close())
	})
	return group.Wait()
}

// begin answers calls, and runs what runs beside them.
func (s *server) begin(ctx context.Context, group *errgroup.Group) error {
	healthpb.RegisterHealthServer(s.grpc, s.vitals.health)
	reflection.Register(s.grpc)
	if s.opts.Now.IsZero() {
		s.startSchedules(ctx, group)
	} else {
		s.logger.Info("schedules rest while the read time is fixed", "now", s.opts.Now)
	}
	if r := s.definitions.Load(); r != nil {
		group.Go(func() error { r.Run(ctx); return nil })
	}
	s.follow.observe = s.vitals.publish
	// Calls that finish see what those before them saw: a store that was lost, generations that were swapped.
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	s.unfollow = unfollow
	group.Go(func() error { s.follow.run(following); return nil })
	group.Go(func() error { s.metrics.Run(ctx); return nil })
	group.Go(func() error { s.page.traffic.run(ctx, s.metrics); return nil })
	if s.door.keeper != nil {
		group.Go(func() error { s.door.keeper.Run(ctx); return nil })
	}
	for _, l := range []net.Listener{s.tcp.take(), s.socket} {
		if l != nil {
			group.Go(func() error { return served("gRPC", s.grpc.Serve(l)) })
		}
	}
	s.api.Store(s.apiRoutes())
	if s.admin != nil {
		s.admin.routes.Store(s.adminRoutes())
	}
	s.vitals.node.Store(s.node)
	s.vitals.publish()
	if err := s.remember(); err != nil {
		return err
	}
	if s.opts.Ready != nil {
		s.opts.Ready(s.addresses)
	}
	return nil
}

// end lets calls under way finish. How the server is can be asked until they have.
func (s *server) end(web *http.Server) error {
	s.vitals.stop()
	if s.vitals.node.Load() == nil {
		return errors.Join(s.tcp.Close(), web.Close())
	}
	defer s.unfollow()
	// First balancers hear of it, while connections are still taken; then connections end.
	delay := s.project.Config.Server.DrainDelay
	s.logger.Info("stopping: not ready any more; calls under way finish", "connections_taken_for", delay, "within", drainTime)
	<-time.After(delay)
	grace, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var drained sync.WaitGroup
	drained.Go(func() { s.drain(grace) })
	defer drained.Wait()
	return web.Shutdown(grace)
}

// closing ends a connection of HTTP with the answer to its next request once the server is stopping: a client that is told
// so sends the one after elsewhere, while one whose idle connection is closed may have sent it already.
func (s *server) closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.vitals.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// served is why a listener is served no more, nil where it was told to end.
func served(what string, err error) error {
	if err == nil || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", what, err)
}

func (s *server) web(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
	}
}

// routes are those over HTTP: how the server is, and the API once it can be called.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	s.vitals.routes(mux, false)
	mux.HandleFunc("GET /health", answer(s.vitals.ready, false)) // as Feast's servers call it
	// Where callers must prove who they are, they can once there is an API.
	if !s.door.proven {
		mux.Handle(statusPath, s.page.handler(nil, false, false))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if api := s.api.Load(); api != nil {
			api.ServeHTTP(w, r)
			return
		}
		rpc.WriteError(w, r, s.logger, errStarting)
	})
	return mux
}

// apiRoutes are the metrics, the page of how the server is, and the API in JSON.
func (s *server) apiRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.door.gate.Handler("GET /metrics", s.metrics.Handler()))
	mux.Handle(statusPath, s.page.handler(s.door.gate, false, false))
	if r, secret := s.definitions.Load(), s.project.Config.Definitions.WebhookSecret; r != nil && secret != "" {
		mux.Handle(definitionsHook, r.Hook(secret))
	}
	mux.Handle("/", rpc.Handler(s.services, rpc.HTTPOptions{
		MaxBody: s.project.Config.Limits.RequestMessage, Gate: s.door.gate, Logger: s.logger,
	}))
	return mux
}
