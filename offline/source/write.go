package source

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source/object"
)

// Writer writes one object, which appears under its name at Commit, whole, in place of what was there, or not at all.
// Not for concurrent use. Memory: the part that is being filled and those on their way, about 50 MiB up to 16 GB.
type Writer interface {
	io.Writer
	// Commit makes the object visible; nothing more may be written. After an error the object is as it was, or, where the
	// store's last answer got lost, as it shall be.
	Commit(ctx context.Context) error
	// Abort removes what was sent. After Commit, or a second time, it does nothing, so that it can be deferred. Where it
	// can't reach the store, and on Azure always, the store discards the parts by its own rules.
	Abort() error
}

// IsURL reports whether a name is the URL of an object (s3://bucket/key) rather than a path on local disk.
func IsURL(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, `/\.`)
}

// Create begins an object at a URL: s3://bucket/key, gs://bucket/object or az://container/blob. ctx is that of all
// writes. Credentials come from the environment.
func Create(ctx context.Context, url string) (Writer, error) {
	b, err := openKey(url)
	if err != nil {
		return nil, err
	}
	return &writer{Writer: object.NewWriter(ctx, b.store, b.key), bucket: b, ctx: ctx}, nil
}

// smallObject is one that is fetched whole.
const smallObject = 1 << 20

// OpenObject opens the object at a URL, pinned to its present version: every read fails, naming it, once it is another.
// ctx is that of all reads. An object that is not there is a problem of class NotFound.
func OpenObject(ctx context.Context, url string) (*Handle, error) {
	b, err := openKey(url)
	if err != nil {
		return nil, err
	}
	o, err := b.store.Head(ctx, b.key)
	if err != nil {
		defer b.client.Close()
		if object.KindOf(err) == object.Missing {
			// Without a body, the answer does not tell a missing bucket from a missing object.
			if _, lerr := b.store.List(ctx, b.key, true, ""); object.KindOf(lerr) == object.NoBucket {
				return nil, b.explain(b.url(b.key), b.key, lerr)
			}
			return nil, problem.New(problem.NotFound, "%s does not exist", b.url(b.key))
		}
		return nil, b.explain(b.url(b.key), b.key, err)
	}
	file := File{Path: b.url(b.key), Size: o.Size, Identity: identityOf(o)}
	h := newRemote(ctx, b, b.key, file, object.NewBudget(aheadBytes/4, aheadRequests/4), true)
	if o.Size <= smallObject {
		h.Prefetch(ctx, []Range{{0, o.Size}}) // in one request, however small the steps in which it is read
	}
	return h, nil
}

// openKey makes ready the bucket of a URL that names an object.
func openKey(url string) (*bucket, error) {
	b, err := openBucket(url)
	if err == nil && (b.key == "" || strings.HasSuffix(b.key, "/")) {
		return nil, problem.New(problem.Invalid, "%s names no object in the bucket", b.url(b.key))
	}
	return b, err
}

type writer struct {
	*object.Writer
	bucket *bucket
	ctx    context.Context
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, w.explain(err)
}

func (w *writer) Commit(ctx context.Context) error {
	err := w.Writer.Commit(ctx)
	if err == nil {
		w.bucket.client.Close()
	}
	return w.explain(err)
}

// abortTime is how long an end may take, which has to work when the context has ended.
const abortTime = 20 * time.Second

func (w *writer) Abort() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortTime)
	defer cancel()
	err := w.Writer.Abort(ctx)
	w.bucket.client.Close()
	return w.explain(err)
}

func (w *writer) explain(err error) error {
	if err == nil {
		return nil
	}
	return w.bucket.explain(w.bucket.url(w.bucket.key), w.bucket.key, err)
}
