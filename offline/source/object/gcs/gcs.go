// Package gcs talks to Google Cloud Storage through its JSON interface.
package gcs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/provender-dev/provender/offline/source/object"
)

// scope is what a token is asked for.
const scope = "https://www.googleapis.com/auth/devstorage.read_write"

// Options say which bucket and where it is. What is empty comes from the environment.
type Options struct {
	Bucket   string
	Endpoint string // URL of a server other than Google's, which gets no credentials; else STORAGE_EMULATOR_HOST
}

// Bucket is a bucket of Google Cloud Storage.
type Bucket struct {
	client   *object.Client
	name     string
	endpoint *url.URL
	emulator bool

	mu     sync.Mutex
	tokens oauth2.TokenSource // nil before the first request, and where there are no credentials
	asked  bool
}

// New returns a bucket. Nothing is sent yet.
func New(client *object.Client, o Options, getenv func(string) string) (*Bucket, error) {
	b := &Bucket{client: client, name: o.Bucket}
	if strings.ContainsAny(o.Bucket, "/\\?#%@: ") {
		return nil, &object.ConfigError{Message: fmt.Sprintf("%q is not the name of a bucket", o.Bucket)}
	}
	endpoint := cmp.Or(o.Endpoint, getenv("STORAGE_EMULATOR_HOST"))
	b.emulator = endpoint != ""
	if b.emulator && !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	var err error
	b.endpoint, err = object.Endpoint(cmp.Or(endpoint, "https://storage.googleapis.com"))
	return b, err
}

// String names the bucket for messages.
func (b *Bucket) String() string { return "gs://" + b.name }

// Server names the server for messages.
func (b *Bucket) Server() string { return b.endpoint.Host }

// url returns the address of an object, of all for "", below a prefix of the interface.
func (b *Bucket) url(prefix, key string, query url.Values) *url.URL {
	u := *b.endpoint
	raw := u.EscapedPath() + prefix + "/b/" + url.PathEscape(b.name) + "/o"
	u.Path += prefix + "/b/" + b.name + "/o"
	if key != "" {
		raw += "/" + url.PathEscape(key)
		u.Path += "/" + key
	}
	u.RawPath = raw
	u.RawQuery = query.Encode()
	return &u
}

const (
	api       = "/storage/v1"
	uploadAPI = "/upload/storage/v1"
)

func (b *Bucket) request(method string, u *url.URL, header http.Header, body []byte) object.Request {
	return object.Request{Method: method, URL: u, Header: header, Body: body, Sign: b.sign}
}

// sign adds a token, where there are credentials.
func (b *Bucket) sign(ctx context.Context, r *http.Request) error {
	if b.emulator {
		return nil
	}
	tokens := b.source()
	if tokens == nil {
		return nil
	}
	token, err := tokens.Token()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		// Its text may hold what was sent.
		return &object.ConfigError{Message: "no token for the Google credentials; `gcloud auth application-default print-access-token` shows what is wrong"}
	}
	token.SetAuthHeader(r)
	return nil
}

// source finds the credentials once; nil where there are none, as public buckets allow.
func (b *Bucket) source() oauth2.TokenSource {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.asked {
		b.asked = true
		// Tokens outlive the request that asks for the first one.
		if found, err := google.FindDefaultCredentials(context.Background(), scope); err == nil {
			b.tokens = found.TokenSource
		}
	}
	return b.tokens
}

// resource is an object as the interface tells it.
type resource struct {
	Name       string
	Size       string
	Generation string
	CRC32C     string
	Created    string `json:"timeCreated"` // of the generation
}

func (r *resource) object() (object.Object, error) {
	size, err := strconv.ParseInt(r.Size, 10, 64)
	if err != nil || size < 0 || r.Generation == "" {
		return object.Object{}, object.Malformed(errors.New("an object has no size or generation"))
	}
	return object.Object{
		Key: r.Name, Size: size, Version: r.Generation, Folder: strings.HasSuffix(r.Name, "/"),
		Modified: object.ParseModified(r.Created),
	}, nil
}

func decode(resp *http.Response, to any) error {
	body, err := object.ReadAll(resp)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, to); err != nil {
		return object.Malformed(err)
	}
	return nil
}

// List returns one page.
func (b *Bucket) List(ctx context.Context, prefix string, shallow bool, token string) (object.Page, error) {
	query := url.Values{"maxResults": {strconv.Itoa(b.client.Policy().Page)}, "fields": {"items(name,size,generation,timeCreated),prefixes,nextPageToken"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if shallow {
		query.Set("delimiter", "/")
	}
	if token != "" {
		query.Set("pageToken", token)
	}
	var page object.Page
	err := b.client.Do(ctx, b.request(http.MethodGet, b.url(api, "", query), nil, nil), func(resp *http.Response) error {
		var l struct {
			Items         []resource
			Prefixes      []string
			NextPageToken string
		}
		if err := decode(resp, &l); err != nil {
			return err
		}
		page = object.Page{Folders: l.Prefixes, Next: l.NextPageToken}
		for i := range l.Items {
			o, err := l.Items[i].object()
			if err != nil {
				return err
			}
			page.Objects = append(page.Objects, o)
		}
		return nil
	})
	return page, err
}

// Head asks for an object's size and generation.
func (b *Bucket) Head(ctx context.Context, key string) (object.Object, error) {
	var o object.Object
	query := url.Values{"fields": {"name,size,generation,timeCreated"}}
	err := b.client.Do(ctx, b.request(http.MethodGet, b.url(api, key, query), nil, nil), func(resp *http.Response) error {
		var r resource
		err := decode(resp, &r)
		if err == nil {
			o, err = r.object()
		}
		return err
	})
	return o, err
}

// Get opens a range of one generation.
func (b *Bucket) Get(ctx context.Context, key, version string, offset, n int64) (io.ReadCloser, error) {
	query := url.Values{"alt": {"media"}, "ifGenerationMatch": {version}}
	header := http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)},
		// Objects stored with gzip are sent as they are, not unpacked.
		"Accept-Encoding": {"gzip"},
	}
	return b.client.Open(ctx, b.request(http.MethodGet, b.url(api, key, query), header, nil), func(resp *http.Response) error {
		if got := resp.Header.Get("X-Goog-Generation"); got != "" && got != version {
			return &object.Error{Kind: object.Changed, Status: resp.StatusCode}
		}
		return object.CheckRange(resp, offset, n)
	})
}

// Put writes an object at once.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	query := url.Values{"uploadType": {"media"}, "name": {key}}
	header := http.Header{"Content-Type": {contentType}}
	return b.client.Do(ctx, b.request(http.MethodPost, b.url(uploadAPI, "", query), header, body), nothing)
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := b.client.Do(ctx, b.request(http.MethodDelete, b.url(api, key, nil), nil, nil), nothing)
	if object.KindOf(err) == object.Missing {
		return nil
	}
	return err
}

func nothing(*http.Response) error { return nil }
