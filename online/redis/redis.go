// Package redis is the online store in a Redis server: one hash per entity, one field per generation.
// docs/format/redis.md has the keys and the bytes.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

// Options are settings of a store. The zero value means the defaults.
type Options struct {
	DialTimeout  time.Duration // default 2 s
	ReadTimeout  time.Duration // of one answer; default 2 s
	WriteTimeout time.Duration // of one request; default 2 s
	PoolTimeout  time.Duration // waiting for a connection; default 1 s
	PoolSize     int           // connections; default 10 per CPU
	DropRate     int           // keys per second that DropGeneration looks at; default 50,000
	Logger       *slog.Logger  // default slog.Default
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{
		{&o.DialTimeout, 2 * time.Second},
		{&o.ReadTimeout, 2 * time.Second},
		{&o.WriteTimeout, 2 * time.Second},
		{&o.PoolTimeout, time.Second},
	} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if o.DropRate <= 0 {
		o.DropRate = 50_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Store implements online.Store. Safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	name   string // of the server, for messages
	opts   Options

	owner  atomic.Pointer[owner] // nil before Claim
	closed atomic.Bool
}

// owner is whose keys the store reads and writes.
type owner struct{ registryID, prefix string }

var _ online.Store = (*Store)(nil)

// Open returns a store for redis://[user:password@]host[:port][/db] or, over TLS, rediss://…. It does not connect yet.
func Open(url string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	client, name, err := connect(url, opts)
	if err != nil {
		return nil, err
	}
	return &Store{client: client, name: name, opts: opts}, nil
}

// connect is the one place that knows of the kinds of server.
func connect(url string, opts Options) (client redis.UniversalClient, name string, err error) {
	scheme, _, _ := strings.Cut(url, "://")
	if scheme != "redis" && scheme != "rediss" {
		return nil, "", problem.New(problem.Invalid, "online store: want redis://host:port/db or rediss://host:port/db")
	}
	from, err := redis.ParseURL(url)
	if err != nil {
		// What is wrong may be the password: neither the URL nor the parser's message is shown.
		return nil, "", &problem.Error{
			Code:       problem.Invalid,
			Message:    "online store: the URL can't be read; want " + scheme + "://[user:password@]host[:port][/db]",
			Suggestion: "percent-encode special characters of the password",
		}
	}
	if scheme == "rediss" {
		from.TLSConfig.MinVersion = tls.VersionTLS12
	}
	silence()
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{from.Addr},
		DB:                    from.DB,
		Username:              from.Username,
		Password:              from.Password,
		TLSConfig:             from.TLSConfig,
		Protocol:              2, // replies are parsed here
		DialTimeout:           opts.DialTimeout,
		ReadTimeout:           opts.ReadTimeout,
		WriteTimeout:          opts.WriteTimeout,
		PoolTimeout:           opts.PoolTimeout,
		PoolSize:              opts.PoolSize,
		MaxRetries:            1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}), from.Addr, nil
}

// silence keeps the client from writing to stderr: what it would say comes back as errors.
var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Close closes the connections. A second Close does nothing.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.client.Close()
}

// begin returns whose keys to use.
func (s *Store) begin(ctx context.Context) (*owner, error) {
	if s.closed.Load() {
		return nil, online.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := s.owner.Load()
	if o == nil {
		return nil, errors.New("online store: used before it was claimed")
	}
	return o, nil
}

// Ping reports whether the server answers.
func (s *Store) Ping(ctx context.Context) error {
	if s.closed.Load() {
		return online.ErrClosed
	}
	return s.failure(ctx, "ping", s.client.Ping(ctx).Err())
}

// Claim writes or checks the marker of prefix, and warns of a server that may drop keys on its own.
func (s *Store) Claim(ctx context.Context, registryID, prefix string) (online.Identity, error) {
	if s.closed.Load() {
		return online.Identity{}, online.ErrClosed
	}
	if !validPrefix(prefix) {
		return online.Identity{}, problem.New(problem.Invalid,
			"online store: prefix %q: want 1 to 32 letters, digits, - or _", prefix)
	}
	o := &owner{registryID: registryID, prefix: prefix}
	incarnation := rand.Text()
	_, err := s.client.SetNX(ctx, o.claimKey(), o.claimValue(incarnation), 0).Result()
	if err != nil {
		return online.Identity{}, s.failure(ctx, "claim the prefix", err)
	}
	// Reading back tells the same whether this call wrote it, a repeat of it after a broken connection, or another.
	id, err := s.readClaim(ctx, o)
	if err != nil {
		return online.Identity{}, err
	}
	id.Created = id.Incarnation == incarnation
	s.owner.Store(o)
	s.checkEviction(ctx)
	return id, nil
}

// Identity reads the marker again: ErrGenerationLost where it is gone, ErrForeignStore where it is another's.
func (s *Store) Identity(ctx context.Context) (online.Identity, error) {
	o, err := s.begin(ctx)
	if err != nil {
		return online.Identity{}, err
	}
	return s.readClaim(ctx, o)
}

func (s *Store) readClaim(ctx context.Context, o *owner) (online.Identity, error) {
	value, err := s.client.Get(ctx, o.claimKey()).Result()
	if errors.Is(err, redis.Nil) {
		return online.Identity{}, online.ErrGenerationLost
	}
	if err != nil {
		return online.Identity{}, s.failure(ctx, "read the marker", err)
	}
	incarnation, ours := strings.CutPrefix(value, o.claimValue(""))
	if !ours {
		return online.Identity{}, online.ErrForeignStore
	}
	return online.Identity{Incarnation: incarnation}, nil
}

// checkEviction warns where the server may drop keys to make room: an entity without its key looks like one that never
// was. A server that does not tell is left alone.
func (s *Store) checkEviction(ctx context.Context) {
	info, err := s.client.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	for line := range strings.Lines(info) {
		policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if found && policy != "noeviction" {
			s.opts.Logger.Warn("Redis may drop rows to make room, and lookups would not find them: "+
				"set maxmemory-policy to noeviction", "server", s.name, "maxmemory-policy", policy)
		}
	}
}

// CreateGeneration writes a generation's marker.
func (s *Store) CreateGeneration(ctx context.Context, gen online.Generation) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	return s.failure(ctx, "create a generation", s.client.Set(ctx, o.markerKey(gen.ID), o.registryID, 0).Err())
}

// CheckGenerations returns those of ids whose marker is gone, or another registry's.
func (s *Store) CheckGenerations(ctx context.Context, ids []online.GenerationID) (lost []online.GenerationID, err error) {
	o, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	return s.lost(ctx, o, ids)
}

func (s *Store) lost(ctx context.Context, o *owner, ids []online.GenerationID) (lost []online.GenerationID, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	pipe := s.client.Pipeline()
	markers := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		markers[i] = pipe.Get(ctx, o.markerKey(id))
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	for i, m := range markers {
		switch value, err := m.Result(); {
		case errors.Is(err, redis.Nil), err == nil && value != o.registryID:
			lost = append(lost, ids[i])
		case err != nil:
			return nil, s.failure(ctx, "read the marker of a generation", err)
		}
	}
	return lost, nil
}

// failure says what an error of the server means to the caller. It is nil for nil.
func (s *Store) failure(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("online store: %s: %w", op, ctx.Err())
	case errors.Is(err, redis.ErrClosed):
		return online.ErrClosed
	}
	p := &problem.Error{Code: problem.Unavailable, RetryAfter: time.Second, Err: err}
	text := err.Error()
	switch {
	case !isReply(err):
		p.Message = fmt.Sprintf("online store: %s: Redis at %s does not answer: %v", op, s.name, err)
	case strings.HasPrefix(text, "OOM "):
		p.Code = problem.Exhausted
		p.Message = fmt.Sprintf("online store: %s: Redis at %s has no memory left (maxmemory)", op, s.name)
	case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "NOPERM"):
		p.Code = problem.Precondition
		p.Message = fmt.Sprintf("online store: %s: Redis at %s refuses: %v", op, s.name, err)
		p.Suggestion = "check user and password in the store's URL, and the user's rights"
	default:
		p.Message = fmt.Sprintf("online store: %s: Redis at %s: %v", op, s.name, err)
	}
	return p
}

// isReply reports whether err is an answer of the server's.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
