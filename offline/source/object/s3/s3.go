// Package s3 talks to Amazon S3 and to what speaks its protocol.
package s3

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/provender-dev/provender/offline/source/object"
)

// Options say which bucket and where it is. What is empty comes from the environment.
type Options struct {
	Bucket    string
	Endpoint  string // URL of a server other than Amazon's; else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
	Region    string // else AWS_REGION, AWS_DEFAULT_REGION, the profile's, us-east-1
	PathStyle string // "true": the bucket goes into the path; "false": into the host; "": what the server most likely wants
}

// Bucket is a bucket of S3.
type Bucket struct {
	client      *object.Client
	credentials *credentialsChain
	name        string
	endpoint    *url.URL // nil: Amazon's of the region
	pathStyle   bool
	region      atomic.Pointer[string]
}

// New returns a bucket. Nothing is sent yet.
func New(client *object.Client, o Options, getenv func(string) string) (*Bucket, error) {
	b := &Bucket{client: client, name: o.Bucket}
	if strings.ContainsAny(o.Bucket, "/\\?#%@: ") {
		return nil, &object.ConfigError{Message: fmt.Sprintf("%q is not the name of a bucket", o.Bucket)}
	}
	if endpoint := cmp.Or(o.Endpoint, getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL")); endpoint != "" {
		var err error
		if b.endpoint, err = object.Endpoint(endpoint); err != nil {
			return nil, err
		}
	}
	switch o.PathStyle {
	case "true":
		b.pathStyle = true
	case "false":
	case "":
		// A dot in the name would not fit a certificate of *.s3.amazonaws.com.
		b.pathStyle = b.endpoint != nil || strings.Contains(o.Bucket, ".")
	default:
		return nil, &object.ConfigError{Message: "path_style is true or false"}
	}
	region := cmp.Or(o.Region, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), profileRegion(getenv), "us-east-1")
	if !isRegion(region) {
		return nil, &object.ConfigError{Message: "the region is not a name like eu-central-1"}
	}
	b.region.Store(&region)
	b.credentials = newCredentials(getenv, b.endpoint == nil || strings.HasSuffix(b.endpoint.Hostname(), ".amazonaws.com"))
	return b, nil
}

// isRegion reports whether s is a region's name, which becomes part of a host's.
func isRegion(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// url returns the address of a key, "" for the bucket itself.
func (b *Bucket) url(key string, query url.Values) *url.URL {
	u := &url.URL{Scheme: "https"}
	if b.endpoint != nil {
		*u = *b.endpoint
	} else {
		region := *b.region.Load()
		u.Host = "s3." + region + ".amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			u.Host += ".cn"
		}
	}
	path := u.Path
	if b.pathStyle {
		path += "/" + b.name
	} else {
		u.Host = b.name + "." + u.Host
	}
	u.Path = path + "/" + key
	u.RawPath = s3utils.EncodePath(u.Path)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u
}

// request returns a request that is signed at each try.
func (b *Bucket) request(method, key string, query url.Values, header http.Header, body []byte) object.Request {
	sum := sha256.Sum256(body)
	return object.Request{
		Method: method, URL: b.url(key, query), Header: header, Body: body,
		Sign: func(ctx context.Context, r *http.Request) error {
			value, err := b.credentials.get(ctx)
			if err != nil {
				return err
			}
			r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
			// The signer takes the request by value and fills the header, which is shared.
			signer.SignV4(*r, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, *b.region.Load())
			return nil
		},
	}
}

// moved takes note of where the bucket is, and reports whether it is worth asking there what failed in region asked.
func (b *Bucket) moved(asked *string, err error) bool {
	var e *object.Error
	if !errors.As(err, &e) || !isRegion(e.Region) || e.Region == *asked {
		return false
	}
	if e.Kind != object.Elsewhere && e.Status != http.StatusBadRequest {
		return false
	}
	b.region.CompareAndSwap(asked, &e.Region) // or another request has learned it already
	return true
}

// do sends a request, again where the bucket turns out to be in another region.
func (b *Bucket) do(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte, read func(*http.Response) error) error {
	region := b.region.Load()
	err := b.client.Do(ctx, b.request(method, key, query, header, body), read)
	if b.moved(region, err) {
		err = b.client.Do(ctx, b.request(method, key, query, header, body), read)
	}
	return err
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	EncodingType          string
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct {
		Key          string
		ETag         string
		Size         *int64
		LastModified string
	}
	CommonPrefixes []struct{ Prefix string }
}

// List returns one page.
func (b *Bucket) List(ctx context.Context, prefix string, shallow bool, token string) (object.Page, error) {
	query := url.Values{"list-type": {"2"}, "encoding-type": {"url"}, "max-keys": {strconv.Itoa(b.client.Policy().Page)}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if shallow {
		query.Set("delimiter", "/")
	}
	if token != "" {
		query.Set("continuation-token", token)
	}
	var page object.Page
	err := b.do(ctx, http.MethodGet, "", query, nil, nil, func(resp *http.Response) error {
		body, err := object.ReadAll(resp)
		if err != nil {
			return err
		}
		page, err = parseListing(body)
		return err
	})
	return page, err
}

func parseListing(body []byte) (object.Page, error) {
	var page object.Page
	var l listing
	if err := xml.Unmarshal(body, &l); err != nil {
		return page, object.Malformed(err)
	}
	if l.IsTruncated != (l.NextContinuationToken != "") {
		return page, object.Malformed(errors.New("it does not tell whether more follows"))
	}
	page.Next = l.NextContinuationToken
	decode := func(s string) (string, error) { return s, nil }
	if strings.EqualFold(l.EncodingType, "url") {
		decode = url.QueryUnescape
	}
	for _, c := range l.Contents {
		key, err := decode(c.Key)
		if err != nil {
			return page, object.Malformed(err)
		}
		if c.ETag == "" || c.Size == nil || *c.Size < 0 {
			return page, object.Malformed(fmt.Errorf("%q has no size or ETag", key))
		}
		page.Objects = append(page.Objects, object.Object{
			Key: key, Size: *c.Size, Version: strings.Trim(c.ETag, `"`), Folder: folderMarker(key, *c.Size),
			Modified: object.ParseModified(c.LastModified),
		})
	}
	for _, p := range l.CommonPrefixes {
		prefix, err := decode(p.Prefix)
		if err != nil {
			return page, object.Malformed(err)
		}
		page.Folders = append(page.Folders, prefix)
	}
	return page, nil
}

// folderMarker recognizes what consoles and Hadoop write to make an empty folder visible.
func folderMarker(key string, size int64) bool {
	return strings.HasSuffix(key, "/") || size == 0 && strings.HasSuffix(key, "_$folder$")
}

// Head asks for an object's size and version.
func (b *Bucket) Head(ctx context.Context, key string) (object.Object, error) {
	o := object.Object{Key: key}
	err := b.do(ctx, http.MethodHead, key, nil, nil, nil, func(resp *http.Response) error {
		if resp.ContentLength < 0 || resp.Header.Get("ETag") == "" {
			return object.Malformed(errors.New("it has no size or ETag"))
		}
		o.Size, o.Version = resp.ContentLength, strings.Trim(resp.Header.Get("ETag"), `"`)
		o.Folder = folderMarker(key, o.Size)
		o.Modified = object.ParseModified(resp.Header.Get("Last-Modified"))
		return nil
	})
	return o, err
}

// Get opens a range of one version.
func (b *Bucket) Get(ctx context.Context, key, version string, offset, n int64) (io.ReadCloser, error) {
	header := http.Header{
		"Range":    {fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)},
		"If-Match": {`"` + version + `"`},
	}
	open := func() (io.ReadCloser, error) {
		return b.client.Open(ctx, b.request(http.MethodGet, key, nil, header, nil), func(resp *http.Response) error {
			if got := strings.Trim(resp.Header.Get("ETag"), `"`); got != version {
				return &object.Error{Kind: object.Changed, Status: resp.StatusCode}
			}
			return object.CheckRange(resp, offset, n)
		})
	}
	region := b.region.Load()
	body, err := open()
	if b.moved(region, err) {
		body, err = open()
	}
	return body, err
}

// Put writes an object at once.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	return b.do(ctx, http.MethodPut, key, nil, nil, body, nothing)
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := b.do(ctx, http.MethodDelete, key, nil, nil, nil, nothing)
	if object.KindOf(err) == object.Missing {
		return nil
	}
	return err
}

func nothing(*http.Response) error { return nil }

// profileRegion returns the region of the profile in the shared configuration file.
func profileRegion(getenv func(string) string) string {
	region, _ := profileKey(getenv, "region")
	return region
}

// authority is host:port for messages.
func (b *Bucket) authority() string {
	u := b.url("", nil)
	if u.Port() == "" {
		return u.Hostname()
	}
	return net.JoinHostPort(u.Hostname(), u.Port())
}

// String names the bucket for messages.
func (b *Bucket) String() string { return "s3://" + b.name }

// Server names the server for messages.
func (b *Bucket) Server() string { return b.authority() }

// partNumber is what S3 counts from 1.
func partNumber(n int) string { return strconv.Itoa(n + 1) }
