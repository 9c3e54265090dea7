package server

import (
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/provender-dev/provender/internal/redisurl"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/redis"
	"github.com/provender-dev/provender/registry/definition"
)

const embeddedScheme = "embedded://"

// isEmbedded reports whether the project's online store belongs to one process at a time.
func (p *Project) isEmbedded() bool { return strings.HasPrefix(p.Config.Online, embeddedScheme) }

// storeName is the address of the project's online store, without user, password and parameters.
func (p *Project) storeName() string {
	if p.isEmbedded() {
		return embeddedScheme + p.embeddedURL().Path
	}
	u, problems := redisurl.Parse(p.Config.Online)
	if len(problems) > 0 {
		scheme, _, _ := strings.Cut(p.Config.Online, "://") // the configuration was checked
		return scheme + "://"
	}
	return u.Name()
}

// embeddedURL is what the project says of its embedded store.
func (p *Project) embeddedURL() definition.Embedded {
	store, _ := definition.ParseEmbedded(p.Config.Online) // LoadConfig has told its problems
	return store
}

// embeddedDir is the folder of the project's embedded store.
func (p *Project) embeddedDir() string {
	path := filepath.FromSlash(p.embeddedURL().Path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.Dir, path)
	}
	return path
}

// clusterBatch is how many rows a batch for a cluster has: rows of one slot travel together, and a cluster has 16,384.
const clusterBatch = 1 << 16

// batchRows is how many rows a batch has, 0 for the default.
func (p *Project) batchRows() int {
	if u, _ := redisurl.Parse(p.Config.Online); u != nil && u.Kind == redisurl.Cluster {
		return clusterBatch
	}
	return 0
}

// openOnline opens the project's online store. Unavailable where it does not answer, or, embedded, where another
// process holds it. watch is told of its reads, nil for nobody.
func (p *Project) openOnline(watch online.Watch, logger *slog.Logger) (online.Store, error) {
	if p.isEmbedded() {
		store := p.embeddedURL()
		return embedded.Open(p.embeddedDir(), embedded.Options{
			CacheBytes: store.Cache, MaxBytes: store.MaxSize, Watch: watch, Logger: logger,
		})
	}
	return redis.Open(p.Config.Online, redis.Options{Dir: p.Dir, Watch: watch, Logger: logger})
}
