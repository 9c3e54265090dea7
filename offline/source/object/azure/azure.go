// Package azure talks to Azure Blob Storage.
package azure

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/offline/source/object"
)

// version of the protocol.
const version = "2021-12-02"

// Options say which container and where it is. What is empty comes from the environment.
type Options struct {
	Container string
	Account   string // else that of AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT
	Endpoint  string // URL of the blob service; else the connection string's, AZURE_STORAGE_BLOB_ENDPOINT, the account's
}

// Bucket is a container of Azure Blob Storage.
type Bucket struct {
	client    *object.Client
	container string
	endpoint  *url.URL
	signer    signer
}

// New returns a container. Nothing is sent yet.
func New(client *object.Client, o Options, getenv func(string) string) (*Bucket, error) {
	b := &Bucket{client: client, container: o.Container}
	if strings.ContainsAny(o.Container, "/\\?#%@: ") {
		return nil, &object.ConfigError{Message: fmt.Sprintf("%q is not the name of a container", o.Container)}
	}
	s, err := readSettings(getenv)
	if err != nil {
		return nil, err
	}
	if o.Account != "" && o.Account != s.account {
		// A key or signature of one account is not sent to another.
		s = settings{account: o.Account, suffix: s.suffix}
	}
	endpoint := cmp.Or(o.Endpoint, s.endpoint)
	if endpoint == "" {
		if s.account == "" {
			return nil, &object.ConfigError{Message: "no storage account: set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING"}
		}
		if strings.ContainsFunc(s.account, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) {
			return nil, &object.ConfigError{Message: "the storage account's name has other characters than a-z and 0-9"}
		}
		endpoint = cmp.Or(s.protocol, "https") + "://" + s.account + ".blob." + cmp.Or(s.suffix, "core.windows.net")
	}
	if b.endpoint, err = object.Endpoint(endpoint); err != nil {
		return nil, err
	}
	if o.Endpoint != "" && !trusted(b.endpoint.Hostname()) {
		return nil, &object.ConfigError{Message: "?endpoint= leads to a host that is not Azure's, which could pass on what signs requests: " +
			"set AZURE_STORAGE_BLOB_ENDPOINT, or BlobEndpoint in AZURE_STORAGE_CONNECTION_STRING"}
	}
	b.signer, err = s.signer(b.endpoint)
	return b, err
}

// trusted reports whether a URL in a project may name a host: tokens and signatures are good at the account itself, and
// for any host the environment says, which is not written by whoever writes definitions.
func trusted(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, domain := range []string{".core.windows.net", ".storage.azure.net", ".core.chinacloudapi.cn", ".core.usgovcloudapi.net"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// String names the container for messages.
func (b *Bucket) String() string { return "az://" + b.container }

// Server names the server for messages.
func (b *Bucket) Server() string { return b.endpoint.Host }

// url returns the address of a blob, of the container for "".
func (b *Bucket) url(key string, query url.Values) *url.URL {
	u := *b.endpoint
	raw := u.EscapedPath() + "/" + url.PathEscape(b.container)
	u.Path += "/" + b.container
	if key != "" {
		raw += "/" + url.PathEscape(key)
		u.Path += "/" + key
	}
	u.RawPath = raw
	u.RawQuery = query.Encode()
	return &u
}

func (b *Bucket) do(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte, read func(*http.Response) error) error {
	return b.client.Do(ctx, b.request(method, key, query, header, body), read)
}

func (b *Bucket) request(method, key string, query url.Values, header http.Header, body []byte) object.Request {
	return object.Request{
		Method: method, URL: b.url(key, query), Header: header, Body: body,
		Sign: func(ctx context.Context, r *http.Request) error {
			r.Header.Set("X-Ms-Version", version)
			return b.signer.sign(ctx, r)
		},
	}
}

// name is a blob's name; what XML can't hold comes percent-encoded.
type name struct {
	Encoded bool   `xml:"Encoded,attr"`
	Text    string `xml:",chardata"`
}

func (n name) decode() (string, error) {
	if !n.Encoded {
		return n.Text, nil
	}
	return url.PathUnescape(n.Text)
}

type listing struct {
	XMLName xml.Name `xml:"EnumerationResults"`
	Blobs   struct {
		Blob []struct {
			Name       name
			Properties struct {
				Size         *int64 `xml:"Content-Length"`
				ETag         string `xml:"Etag"`
				Modified     string `xml:"Last-Modified"`
				ResourceType string
			}
			Metadata struct {
				Folder string `xml:"hdi_isfolder"`
			}
		}
		BlobPrefix []struct{ Name name }
	}
	NextMarker *string
}

// List returns one page.
func (b *Bucket) List(ctx context.Context, prefix string, shallow bool, token string) (object.Page, error) {
	query := url.Values{"restype": {"container"}, "comp": {"list"}, "maxresults": {strconv.Itoa(b.client.Policy().Page)}, "include": {"metadata"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if shallow {
		query.Set("delimiter", "/")
	}
	if token != "" {
		query.Set("marker", token)
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
	if l.NextMarker == nil {
		return page, object.Malformed(errors.New("it does not tell whether more follows"))
	}
	page.Next = *l.NextMarker
	for _, blob := range l.Blobs.Blob {
		key, err := blob.Name.decode()
		if err != nil {
			return page, object.Malformed(err)
		}
		if blob.Properties.ETag == "" || blob.Properties.Size == nil || *blob.Properties.Size < 0 {
			return page, object.Malformed(fmt.Errorf("%q has no size or ETag", key))
		}
		page.Objects = append(page.Objects, object.Object{
			Key: key, Size: *blob.Properties.Size, Version: strings.Trim(blob.Properties.ETag, `"`),
			Folder: strings.HasSuffix(key, "/") || strings.EqualFold(blob.Properties.ResourceType, "directory") ||
				strings.EqualFold(blob.Metadata.Folder, "true"),
			Modified: object.ParseModified(blob.Properties.Modified),
		})
	}
	for _, p := range l.Blobs.BlobPrefix {
		folder, err := p.Name.decode()
		if err != nil {
			return page, object.Malformed(err)
		}
		page.Folders = append(page.Folders, folder)
	}
	return page, nil
}

// Head asks for a blob's size and version.
func (b *Bucket) Head(ctx context.Context, key string) (object.Object, error) {
	o := object.Object{Key: key}
	err := b.do(ctx, http.MethodHead, key, nil, nil, nil, func(resp *http.Response) error {
		if resp.ContentLength < 0 || resp.Header.Get("ETag") == "" {
			return object.Malformed(errors.New("it has no size or ETag"))
		}
		o.Size, o.Version = resp.ContentLength, strings.Trim(resp.Header.Get("ETag"), `"`)
		o.Folder = strings.HasSuffix(key, "/") || strings.EqualFold(resp.Header.Get("X-Ms-Meta-Hdi_isfolder"), "true") ||
			strings.EqualFold(resp.Header.Get("X-Ms-Resource-Type"), "directory")
		o.Modified = object.ParseModified(resp.Header.Get("Last-Modified"))
		return nil
	})
	return o, err
}

// Get opens a range of one version.
func (b *Bucket) Get(ctx context.Context, key, etag string, offset, n int64) (io.ReadCloser, error) {
	header := http.Header{
		"Range":    {fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)},
		"If-Match": {`"` + etag + `"`},
	}
	return b.client.Open(ctx, b.request(http.MethodGet, key, nil, header, nil), func(resp *http.Response) error {
		if got := strings.Trim(resp.Header.Get("ETag"), `"`); got != etag {
			return &object.Error{Kind: object.Changed, Status: resp.StatusCode}
		}
		return object.CheckRange(resp, offset, n)
	})
}

// Put writes a blob at once.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	return b.do(ctx, http.MethodPut, key, nil, http.Header{"X-Ms-Blob-Type": {"BlockBlob"}}, body, nothing)
}

// Delete removes a blob.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := b.do(ctx, http.MethodDelete, key, nil, nil, nil, nothing)
	if object.KindOf(err) == object.Missing {
		return nil
	}
	return err
}

func nothing(*http.Response) error { return nil }
