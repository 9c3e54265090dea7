package server

import (
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/redis"
	"github.com/provender-dev/provender/registry/definition"
)

const embeddedScheme = "embedded://"

// isEmbedded reports whether the project's online store belongs to one process at a time.
func (p *Project) isEmbedded() bool { return strings.HasPrefix(p.Config.Online, embeddedScheme) }

// storeName is the address of the project's online store: scheme, host and path, without user, password and options.
func (p *Project) storeName() string {
	scheme, rest, _ := strings.Cut(p.Config.Online, "://")
	rest, _, _ = strings.Cut(rest, "?")
	if scheme == "embedded" {
		return embeddedScheme + rest
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// openOnline opens the project's online store. Unavailable where it does not answer, or, embedded, where another
// process holds it.
func (p *Project) openOnline(logger *slog.Logger) (online.Store, error) {
	scheme, _, _ := strings.Cut(p.Config.Online, "://")
	switch scheme {
	case "embedded":
		store, _ := definition.ParseEmbedded(p.Config.Online) // LoadConfig has told its problems
		path := filepath.FromSlash(store.Path)
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.Dir, path)
		}
		return embedded.Open(path, embedded.Options{CacheBytes: store.Cache, MaxBytes: store.MaxSize, Logger: logger})
	case "redis", "rediss":
		return redis.Open(p.Config.Online, redis.Options{Logger: logger})
	default:
		err := problem.New(problem.Invalid, "this version of Provender has no online store for %s:// URLs", scheme)
		err.Suggestion = "write online: embedded://PATH, redis://HOST:PORT or rediss://HOST:PORT in provender.yaml"
		return nil, err
	}
}
