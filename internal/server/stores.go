package server

import (
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/provender-dev/provender/internal/redisurl"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/embedded"
	"github.com/provender-dev/provender/online/redis"
)

const embeddedScheme = "embedded://"

// isEmbedded reports whether the project's online store belongs to one process at a time.
func (p *Project) isEmbedded() bool { return strings.HasPrefix(p.Config.Online, embeddedScheme) }

// storeName is the address of the project's online store, without user, password and parameters.
func (p *Project) storeName() string {
	if p.isEmbedded() {
		return p.Config.Online
	}
	u, problems := redisurl.Parse(p.Config.Online)
	if len(problems) > 0 {
		scheme, _, _ := strings.Cut(p.Config.Online, "://") // the configuration was checked
		return scheme + "://"
	}
	return u.Name()
}

// embeddedDir is the folder of the project's embedded store.
func (p *Project) embeddedDir() string {
	path := filepath.FromSlash(strings.TrimPrefix(p.Config.Online, embeddedScheme))
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.Dir, path)
	}
	return path
}

// openOnline opens the project's online store. Unavailable where it does not answer, or, embedded, where another
// process holds it.
func (p *Project) openOnline(logger *slog.Logger) (online.Store, error) {
	if p.isEmbedded() {
		return embedded.Open(p.embeddedDir(), embedded.Options{Logger: logger})
	}
	return redis.Open(p.Config.Online, redis.Options{Dir: p.Dir, Logger: logger})
}
