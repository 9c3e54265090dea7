package server

import (
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
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
)

// drainTime is how long calls under way may take after the server was told to stop.
const drainTime = 25 * time.Second

// ServeOptions are settings of Serve.
type ServeOptions struct {
	GRPC, HTTP  string    // addresses, in place of the configuration's; port 0 takes a free one
	Definitions string    // where to take definitions from, in place of the configuration's
	Now         time.Time // fixed read time; zero: the clock's. Schedules rest while it is fixed.
	Insecure    bool      // may listen beyond loopback without authentication or without TLS
	Logger      *slog.Logger
	// Ready is called once, when lookups are answered; may be nil.
	Ready func(Addresses)
}

// Addresses is where a server listens. While it runs they are in .provender/serve.json of the project.
type Addresses struct {
	GRPC string `json:"grpc"`
	HTTP string `json:"http"`
	PID  int    `json:"pid"`
}

// Serve answers on the project's addresses and runs its schedules until ctx ends, then lets calls under way finish.
func Serve(ctx context.Context, p *Project, opts ServeOptions) (err error) {
	if _, err := p.Registry(ctx); err != nil {
		return err
	}
	d, err := openDoor(ctx, p, opts.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	var n *node
	err = whileHeld(ctx, func() error {
		if p.isEmbedded() && p.held(ctx) {
			return p.heldByOther()
		}
		n, err = openNode(ctx, p, opts.Now, d, opts.Logger)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()

	s := &server{node: n, opts: opts, door: d, health: health.NewServer()}
	if err := s.takeDefinitions(ctx); err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	defer s.forget()
	s.follow.presence = newPresence(n.state, p.storeName())
	defer s.leave(ctx)
	return s.run(ctx)
}

// leave tells runs elsewhere that this server answers no more.
func (s *server) leave(ctx context.Context) {
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	if err := s.follow.presence.leave(brief); err != nil {
		s.logger.Warn("runs elsewhere don't know that this server has stopped", "error", err)
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

// server is a node with everything that runs beside it.
type server struct {
	*node
	opts      ServeOptions
	door      *door
	health    *health.Server
	stopping  atomic.Bool
	addresses Addresses
	listeners []net.Listener // of gRPC
	http      net.Listener
}

func (s *server) listen(ctx context.Context) (err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, l := range s.listeners {
			_ = l.Close()
		}
	}()
	tcp := func(flag, override, configured string) (net.Listener, error) {
		addr := configured
		if override != "" {
			addr = override
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			e := problem.New(problem.Unavailable, "listen on %s: %w", addr, err)
			e.Suggestion = fmt.Sprintf("choose another address with --%s, or in provender.yaml under server", flag)
			return nil, e
		}
		if err := s.door.safe(l.Addr(), s.opts.Insecure || s.project.Config.Server.Insecure); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		return l, nil
	}
	l, err := tcp("grpc", s.opts.GRPC, s.project.Config.Server.GRPC)
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, l)
	switch l, err := s.project.listen(); {
	case err == nil:
		s.listeners = append(s.listeners, l)
	case !errors.Is(err, errClaimed):
		return err
	}
	if s.http, err = tcp("http", s.opts.HTTP, s.project.Config.Server.HTTP); err != nil {
		return err
	}
	s.addresses = Addresses{GRPC: s.listeners[0].Addr().String(), HTTP: s.http.Addr().String(), PID: os.Getpid()}
	if err := s.remember(); err != nil {
		_ = s.http.Close()
		return err
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

func (s *server) run(ctx context.Context) error {
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	web := &http.Server{
		Handler: s.routes(), ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
	}

	s.follow.look(ctx) // so that readiness is known from the first answer on
	group, ctx := errgroup.WithContext(ctx)
	if s.opts.Now.IsZero() {
		s.startSchedules(ctx, group)
	} else {
		s.logger.Info("schedules rest while the read time is fixed", "now", s.opts.Now)
	}
	if r := s.definitions.Load(); r != nil {
		group.Go(func() error { r.Run(ctx); return nil })
	}
	s.follow.observe = s.publishHealth
	group.Go(func() error { s.follow.run(ctx); return nil })
	group.Go(func() error { s.metrics.Run(ctx); return nil })
	if s.door.keeper != nil {
		group.Go(func() error { s.door.keeper.Run(ctx); return nil })
	}
	for _, l := range s.listeners {
		group.Go(func() error {
			if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve gRPC: %w", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		serve := func() error { return web.Serve(s.http) }
		if s.door.tls != nil {
			web.TLSConfig = s.door.tls.server()
			serve = func() error { return web.ServeTLS(s.http, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		s.logger.Info("stopping: calls under way finish", "within", drainTime)
		s.stopping.Store(true)
		s.health.Shutdown()
		grace, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		var drained sync.WaitGroup
		drained.Go(func() { s.drain(grace) })
		defer drained.Wait()
		return web.Shutdown(grace)
	})
	s.publishHealth()
	if s.opts.Ready != nil {
		s.opts.Ready(s.addresses)
	}
	return group.Wait()
}

// ready returns why lookups can't be answered, nil where they can.
func (s *server) ready() error {
	if s.stopping.Load() {
		return errors.New("the server is stopping")
	}
	if err := s.follow.storeState.err(); err != nil {
		return errors.New("the online store does not answer")
	}
	return nil
}

func (s *server) publishHealth() {
	status := healthpb.HealthCheckResponse_SERVING
	if s.ready() != nil {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", status)
}

// routes answers whether the process lives, whether it can be sent requests, its metrics, and the API in JSON.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /health", ready) // as Feast's servers call it
	mux.Handle("GET /metrics", s.door.gate.Handler("GET /metrics", s.metrics.Handler()))
	if r, secret := s.definitions.Load(), s.project.Config.Definitions.WebhookSecret; r != nil && secret != "" {
		mux.Handle(definitionsHook, r.Hook(secret))
	}
	mux.Handle("/", rpc.Handler(s.services, rpc.HTTPOptions{
		MaxBody: s.project.Config.Limits.RequestMessage, Gate: s.door.gate, Logger: s.logger,
	}))
	return mux
}
