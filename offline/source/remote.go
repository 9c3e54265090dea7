package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/offline/source/object/azure"
	"github.com/provender-dev/provender/offline/source/object/gcs"
	"github.com/provender-dev/provender/offline/source/object/s3"
)

// Schemes of object stores.
const (
	schemeS3    = "s3"
	schemeGS    = "gs"
	schemeAZ    = "az"
	schemeAZ2   = "azblob"
	knownScheme = "s3, gs and az"
)

// options are the parameters that a scheme's URLs may have. None holds a secret.
var options = map[string][]string{
	schemeS3:  {"endpoint", "region", "path_style"},
	schemeGS:  {"endpoint"},
	schemeAZ:  {"account", "endpoint"},
	schemeAZ2: {"account", "endpoint"},
}

// location is a URL, read. Keys are taken as they are: nothing in them is an escape.
type location struct {
	scheme, bucket, key string
	options             url.Values
}

// parseURL reads scheme://bucket/key?option=value. Its errors do not repeat the URL, in which somebody may have put a
// password.
func parseURL(text string) (location, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	l := location{scheme: strings.ToLower(scheme)}
	known, ok := options[l.scheme]
	if !ok {
		return l, unknownScheme(scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	l.bucket, l.key, _ = strings.Cut(rest, "/")
	if l.bucket == "" {
		return l, problem.New(problem.Invalid, "%s:// names no bucket: write %s://bucket/path", scheme, scheme)
	}
	if strings.Contains(l.bucket, "@") || strings.Contains(l.bucket, ":") {
		return l, &problem.Error{
			Code: problem.Invalid, Message: scheme + "://: the bucket's name holds an @ or a :",
			Suggestion: "credentials come from the environment, never from a URL; name a server with ?endpoint=",
		}
	}
	var err error
	if l.options, err = url.ParseQuery(query); err != nil {
		return l, problem.New(problem.Invalid, "%s://%s: what follows ? is not a list of options", scheme, l.bucket)
	}
	for name, values := range l.options {
		if !slices.Contains(known, name) || len(values) > 1 {
			e := problem.New(problem.Invalid, "%s://%s: the URL has an option that is unknown or given twice", scheme, l.bucket)
			e.Suggestion = "options of " + scheme + " URLs are " + strings.Join(known, ", ")
			return l, e
		}
	}
	return l, nil
}

func unknownScheme(scheme string) error {
	if strings.ContainsAny(scheme, "@:/?= ") || len(scheme) > 20 {
		scheme = "…"
	}
	return problem.New(problem.Invalid, "%s://: no object store goes by that name; there are %s", scheme, knownScheme)
}

// bucket is a bucket, and the prefix of a root in it.
type bucket struct {
	store interface {
		object.Bucket
		fmt.Stringer
		Server() string
	}
	client *object.Client
	scheme string
	prefix string // of every key: "" or ending in /
	key    string // of the URL itself
}

// openBucket makes ready the bucket of a URL. Nothing is sent.
func openBucket(text string) (*bucket, error) {
	l, err := parseURL(text)
	if err != nil {
		return nil, err
	}
	b := &bucket{client: object.NewClient(object.DefaultPolicy), scheme: l.scheme, key: l.key}
	if prefix := strings.TrimRight(l.key, "/"); prefix != "" {
		b.prefix = prefix + "/"
	}
	switch l.scheme {
	case schemeS3:
		b.store, err = s3.New(b.client, s3.Options{
			Bucket: l.bucket, Endpoint: l.options.Get("endpoint"), Region: l.options.Get("region"), PathStyle: l.options.Get("path_style"),
		}, os.Getenv)
	case schemeGS:
		b.store, err = gcs.New(b.client, gcs.Options{Bucket: l.bucket, Endpoint: l.options.Get("endpoint")}, os.Getenv)
	default:
		b.scheme = schemeAZ
		b.store, err = azure.New(b.client, azure.Options{
			Container: l.bucket, Account: l.options.Get("account"), Endpoint: l.options.Get("endpoint"),
		}, os.Getenv)
	}
	if err != nil {
		return nil, problem.New(problem.Invalid, "%s://%s: %w", l.scheme, l.bucket, err)
	}
	return b, nil
}

// url names a key for messages.
func (b *bucket) url(key string) string { return b.store.String() + "/" + key }

// fix says what to do about credentials that are missing or refused.
func (b *bucket) fix() string {
	switch b.scheme {
	case schemeS3:
		return "check AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list and read the bucket"
	case schemeGS:
		return "check GOOGLE_APPLICATION_CREDENTIALS or run `gcloud auth application-default login`; it takes the role Storage Object User"
	}
	return "check AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or the identity; it takes the role Storage Blob Data Contributor"
}

// explain turns a failure of a store into what a user can act on; name is what the user calls the object.
func (b *bucket) explain(name, key string, err error) error {
	var known *problem.Error
	var config *object.ConfigError
	switch {
	case errors.As(err, &known):
		return err
	case ended(err):
		return fmt.Errorf("%s: %w", name, err)
	case errors.As(err, &config):
		return problem.New(problem.Precondition, "%s: %s: %w", name, b.store, err)
	}
	where := b.url(key)
	if where != name {
		where = name + ": " + where
	}
	e := &problem.Error{Code: problem.Precondition, Err: err}
	switch object.KindOf(err) {
	case object.NoBucket:
		e.Message = fmt.Sprintf("%s: there is no bucket %s at %s", name, b.store, b.store.Server())
		e.Suggestion = "check its name, its region and the endpoint"
	case object.Denied:
		e.Message = fmt.Sprintf("%s: access denied by %s (%v)", where, b.store.Server(), err)
		e.Suggestion = b.fix()
	case object.Elsewhere:
		e.Message = fmt.Sprintf("%s: %s says that the bucket is elsewhere (%v)", where, b.store.Server(), err)
		e.Suggestion = "check the endpoint: no redirect is followed"
		if b.scheme == schemeS3 {
			e.Suggestion = "set AWS_REGION, or ?region= in the URL"
		}
	case object.Missing:
		e.Message = where + " does not exist"
	case object.Temporary:
		e.Code, e.Message = problem.Unavailable, fmt.Sprintf("%s: %s does not answer: %v", where, b.store.Server(), err)
	default:
		var answer *object.Error
		e.Message = fmt.Sprintf("%s: %v", where, err)
		if !errors.As(err, &answer) {
			e.Code = problem.Unavailable
			e.Suggestion = fmt.Sprintf("check that %s is the right server and can be reached from here", b.store.Server())
		}
	}
	return e
}

// ended reports whether a context's end is what failed. A timeout of the network, which is called the same, is not.
func ended(err error) bool {
	var network *net.OpError
	return (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && !errors.As(err, &network)
}

// inRoot adds the root's name to a failure of its URL.
func inRoot(root string, err error) error {
	var p *problem.Error
	if !errors.As(err, &p) {
		return err
	}
	e := *p
	e.Message = fmt.Sprintf("root %q: %s", root, p.Message)
	return &e
}

// identityOf is a file's identity: its version and its size.
func identityOf(o object.Object) string { return o.Version + " " + strconv.FormatInt(o.Size, 10) }

// pinned is the object that an identity was made of.
func pinned(key string, file File) object.Object {
	version := file.Identity[:max(0, strings.LastIndexByte(file.Identity, ' '))]
	return object.Object{Key: key, Size: file.Size, Version: version}
}

// remoteFile is one version of an object.
type remoteFile struct {
	ctx    context.Context
	file   File
	bucket *bucket
	key    string
	reader *object.Reader
	own    bool // the bucket is this file's alone
}

func openRemote(ctx context.Context, at place, file File, budget *object.Budget) (*Handle, error) {
	return newRemote(ctx, at.bucket, at.bucket.prefix+at.rel, file, budget, false), nil
}

func newRemote(ctx context.Context, b *bucket, key string, file File, budget *object.Budget, own bool) *Handle {
	reader := object.NewReader(b.store, b.client.Policy(), budget, pinned(key, file))
	return newHandle(file, &remoteFile{ctx: ctx, file: file, bucket: b, key: key, reader: reader, own: own})
}

func (r *remoteFile) ReadAt(p []byte, offset int64) (int, error) { return r.readAt(r.ctx, p, offset) }

func (r *remoteFile) readAt(ctx context.Context, p []byte, offset int64) (int, error) {
	n, err := r.reader.ReadAt(ctx, p, offset)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	kind := object.KindOf(err)
	if kind == object.Changed {
		// What is gone is no longer what it was either, and some stores say so.
		if _, herr := r.bucket.store.Head(ctx, r.key); object.KindOf(herr) == object.Missing {
			kind = object.Missing
		}
	}
	switch kind {
	case object.Changed:
		return n, changed(r.file.Path, "has changed since it was listed", err)
	case object.Missing:
		return n, changed(r.file.Path, "is gone since it was listed", err)
	}
	return n, r.bucket.explain(r.file.Path, r.key, err)
}

func (r *remoteFile) under(ctx context.Context) io.ReaderAt { return &remoteUnder{r, ctx} }

// remoteUnder is a remoteFile read under another context.
type remoteUnder struct {
	*remoteFile
	ctx context.Context
}

func (r *remoteUnder) ReadAt(p []byte, offset int64) (int, error) { return r.readAt(r.ctx, p, offset) }

func (r *remoteFile) prefetch(ctx context.Context, ranges []Range) {
	r.reader.Prefetch(ctx, spans(ranges))
}

func (r *remoteFile) forget(ranges []Range) { r.reader.Forget(spans(ranges)) }

func spans(ranges []Range) []object.Span {
	list := make([]object.Span, len(ranges))
	for i, r := range ranges {
		list[i] = object.Span(r)
	}
	return list
}

func (r *remoteFile) check() error { return nil }

func (r *remoteFile) close() error {
	r.reader.Close()
	if r.own {
		r.bucket.client.Close()
	}
	return nil
}
