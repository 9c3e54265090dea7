package embedded

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/problem"
)

// measureBytes is how much may be written before the store's files are measured again.
const measureBytes = 4 << 20

// room keeps a store within Options.MaxBytes.
type room struct {
	most int64

	mu      sync.Mutex
	used    int64 // on disk, when it was measured
	written int64 // since
	known   bool
}

// take counts n bytes as about to be written, or refuses them. Once there is no room the files are measured every time:
// compactions and dropped generations make some.
func (r *room) take(db *pebble.DB, n int) error {
	if r.most <= 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known || r.written >= measureBytes || r.used+r.written+int64(n) > r.most {
		r.used, r.written, r.known = int64(db.Metrics().DiskSpaceUsage()), 0, true
	}
	if r.used+r.written+int64(n) > r.most {
		e := problem.New(problem.Exhausted, "the online store takes %s on disk, and its max_size is %s: no more rows are written",
			humanize.IBytes(uint64(r.used)), humanize.IBytes(uint64(r.most)))
		e.Suggestion = "raise max_size in the URL under online: in provender.yaml, or materialize fewer views"
		return e
	}
	r.written += int64(n)
	return nil
}
