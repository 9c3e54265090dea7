// Package redis is the online store in Redis, one server or a cluster: one hash per entity, one field per generation.
// docs/format/redis.md has the keys and the bytes.
package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/redisurl"
	"github.com/provender-dev/provender/online"
)

// Options are settings of a store. The zero value means the defaults.
type Options struct {
	DialTimeout  time.Duration // default 2 s
	ReadTimeout  time.Duration // of one answer; default 2 s
	WriteTimeout time.Duration // of one request; default 2 s
	PoolTimeout  time.Duration // waiting for a connection; default 1 s
	PoolSize     int           // connections, per node of a cluster; default go-redis's: 10 per CPU, 5 in a cluster
	DropRate     int           // keys per second that DropGeneration looks at; default 50,000
	Dir          string        // where relative paths in the URL begin
	Logger       *slog.Logger  // default slog.Default
	Watch        online.Watch  // nil: nobody is told of reads
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
	if o.Watch == nil {
		o.Watch = func(online.Outcome, time.Duration) {}
	}
	return o
}

// Store implements online.Store. Safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // the same client, nil where it is none of a cluster
	url     *redisurl.URL
	name    string // of the servers, for messages
	opts    Options
	markers markers

	lanes  lanes // of reads
	reads  sharer
	calls  sync.Pool             // of *call
	owner  atomic.Pointer[owner] // nil before Claim
	asked  atomic.Pointer[owner] // what Claim was last asked for
	closed atomic.Bool
}

var _ online.Store = (*Store)(nil)

// masterAge is how long a connection to a sentinel's master is used before the sentinels are asked again who that is.
const masterAge = time.Second

// Open returns a store for a URL of internal/redisurl. It does not connect yet.
func Open(url string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	u, problems := redisurl.Parse(url)
	if len(problems) > 0 {
		return nil, badURL(problems)
	}
	client, err := connect(u, opts)
	if err != nil {
		return nil, err
	}
	s := &Store{client: client, url: u, name: u.Servers(), opts: opts}
	switch client := client.(type) {
	case *redis.ClusterClient:
		s.cluster = client
		s.markers = &slotMarkers{store: s}
	case *redis.Client:
		s.markers = &oneMarker{client: client}
		s.lanes.options = client.Options()
		s.reads.exec, s.reads.wait, s.reads.watch = s.lanes.exchange, s.lanes.options.PoolTimeout, opts.Watch
		s.reads.still.timeout = s.lanes.options.ReadTimeout
		if u.Kind == redisurl.Sentinel {
			s.lanes.maxAge = masterAge
		}
	}
	return s, nil
}

func badURL(problems []redisurl.Problem) error {
	p := &problem.Error{Code: problem.Invalid, Message: "online store: ", Suggestion: problems[0].Hint}
	for i, found := range problems {
		if i > 0 {
			p.Message += "; "
		}
		p.Message += found.Message
	}
	return p
}

// Close closes the connections. A second Close does nothing.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.lanes.close()
	return s.client.Close()
}

// begin returns whose keys to use: Unavailable before a Claim that succeeded, which waits for the server.
func (s *Store) begin(ctx context.Context) (*owner, error) {
	if s.closed.Load() {
		return nil, online.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := s.owner.Load()
	if o == nil {
		p := problem.New(problem.Unavailable, "online store: Redis at %s has not answered yet", s.name)
		p.RetryAfter = time.Second
		return nil, p
	}
	return o, nil
}

// Ping reports whether the server, or every primary of a cluster, answers.
func (s *Store) Ping(ctx context.Context) error {
	if s.closed.Load() {
		return online.ErrClosed
	}
	return s.failure(ctx, "ping", s.eachNode(ctx, func(ctx context.Context, node *redis.Client) error {
		return node.Ping(ctx).Err()
	}))
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
	o := newOwner(registryID, prefix)
	s.asked.Store(o)
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
	return online.Identity{Incarnation: incarnation, Session: s.session(ctx)}, nil
}

// checkEviction warns where the server may drop keys to make room: an entity without its key looks like one that never
// was. A server that does not tell is left alone.
func (s *Store) checkEviction(ctx context.Context) {
	nodes, _ := s.about(ctx, "memory")
	for _, node := range nodes {
		if policy := node.fields["maxmemory_policy"]; policy != "" && policy != noEviction {
			s.opts.Logger.Warn("Redis may drop rows to make room, and lookups would not find them: "+
				"set maxmemory-policy to noeviction", "server", node.addr, "maxmemory-policy", policy)
		}
	}
}

const noEviction = "noeviction"
