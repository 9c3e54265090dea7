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

	reads  sharer
	calls  sync.Pool             // of *call
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
	s := &Store{client: client, name: name, opts: opts}
	s.reads.exec, s.reads.wait = s.exchange, opts.PoolTimeout
	return s, nil
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
	return online.Identity{Incarnation: incarnation, Session: s.info(ctx, "server", "run_id")}, nil
}

// info returns one line of what the server tells of itself, "" where it does not.
func (s *Store) info(ctx context.Context, section, name string) string {
	text, err := s.client.Info(ctx, section).Result()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), name+":"); found {
			return value
		}
	}
	return ""
}

// checkEviction warns where the server may drop keys to make room: an entity without its key looks like one that never
// was. A server that does not tell is left alone.
func (s *Store) checkEviction(ctx context.Context) {
	if policy := s.info(ctx, "memory", "maxmemory_policy"); policy != "" && policy != "noeviction" {
		s.opts.Logger.Warn("Redis may drop rows to make room, and lookups would not find them: "+
			"set maxmemory-policy to noeviction", "server", s.name, "maxmemory-policy", policy)
	}
}

// CreateGeneration writes a generation's marker.
func (s *Store) CreateGeneration(ctx context.Context, gen online.Generation) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	return s.failure(ctx, "create a generation", s.client.Set(ctx, o.markerKey(gen.ID), o.marker(0), 0).Err())
}

// raiseScript sets the marker KEYS[1] of owner ARGV[1] to run ARGV[2] unless it has a later one; 0 where there is none.
var raiseScript = redis.NewScript(`
local owner, run = string.match(redis.call('GET', KEYS[1]) or '', '^(.*)\n(%d+)$')
if owner ~= ARGV[1] then return 0 end
if tonumber(run) < tonumber(ARGV[2]) then redis.call('SET', KEYS[1], owner .. '\n' .. ARGV[2]) end
return 1`)

// removeScript removes KEYS[1] where it still has the value ARGV[1].
var removeScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`)

// Checkpoint records in a generation's marker that the writes of all runs up to c.Run were acknowledged.
func (s *Store) Checkpoint(ctx context.Context, c online.Checkpoint) error {
	o, err := s.begin(ctx)
	if err != nil {
		return err
	}
	found, err := raiseScript.Run(ctx, s.client, []string{o.markerKey(c.ID)}, o.registryID, c.Run).Int()
	if err == nil && found == 0 {
		return online.ErrGenerationLost
	}
	return s.failure(ctx, "record a run", err)
}

// CheckGenerations returns those generations whose marker is gone, another registry's, or from before their checkpoint.
func (s *Store) CheckGenerations(ctx context.Context, expected []online.Checkpoint) (lost []online.GenerationID, err error) {
	o, err := s.begin(ctx)
	if err != nil || len(expected) == 0 {
		return nil, err
	}
	ids := make([]online.GenerationID, len(expected))
	for i, c := range expected {
		ids[i] = c.ID
	}
	markers, err := s.markers(ctx, o, ids)
	if err != nil {
		return nil, err
	}
	for i, c := range expected {
		run, ok := o.parseMarker(markers[i])
		if ok && run >= c.Run {
			continue
		}
		lost = append(lost, c.ID)
		if ok {
			err := removeScript.Run(ctx, s.client, []string{o.markerKey(c.ID)}, markers[i]).Err()
			if err != nil {
				return nil, s.failure(ctx, "remove the marker of a generation", err)
			}
		}
	}
	return lost, nil
}

// mustExist returns ErrGenerationLost where a generation has no marker.
func (s *Store) mustExist(ctx context.Context, o *owner, ids ...online.GenerationID) error {
	if len(ids) == 0 {
		return nil
	}
	markers, err := s.markers(ctx, o, ids)
	if err != nil {
		return err
	}
	for _, m := range markers {
		if _, ok := o.parseMarker(m); !ok {
			return online.ErrGenerationLost
		}
	}
	return nil
}

// markers returns what the markers of generations hold, "" where there is none.
func (s *Store) markers(ctx context.Context, o *owner, ids []online.GenerationID) ([]string, error) {
	pipe := s.client.Pipeline()
	markers := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		markers[i] = pipe.Get(ctx, o.markerKey(id))
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	values := make([]string, len(ids))
	for i, m := range markers {
		value, err := m.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, s.failure(ctx, "read the marker of a generation", err)
		}
		values[i] = value
	}
	return values, nil
}

// failure says what an error of the server means to the caller. It is nil for nil.
func (s *Store) failure(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ended(ctx) != nil:
		return fmt.Errorf("online store: %s: %w", op, ended(ctx))
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

// ended returns why ctx has ended, nil where it has not. A connection's deadline may pass a moment before the context's
// own timer tells.
func ended(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// isReply reports whether err is an answer of the server's.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
