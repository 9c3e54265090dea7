package object

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/provender-dev/provender/internal/version"
)

// Client sends the requests of a driver. Safe for concurrent use.
type Client struct {
	http   *http.Client
	policy Policy
}

// NewClient returns a client with its own connections.
func NewClient(policy Policy) *Client {
	dialer := &net.Dialer{Timeout: policy.Dial, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &Client{policy: policy, http: &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			ForceAttemptHTTP2:   false,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
			// The bytes asked for are the bytes wanted.
			DisableCompression: true,
		},
		// A signature is for one host, and a range must not be answered by another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Policy returns the client's.
func (c *Client) Policy() Policy { return c.policy }

// refusedError is an endpoint that must not be talked to.
type refusedError struct{ address string }

func (e *refusedError) Error() string {
	return e.address + " is a link-local or metadata address, which no object store has"
}

// refuseLinkLocal keeps requests away from the addresses where clouds hand out credentials, whatever name led there.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	if metadata(ip) {
		return &refusedError{host}
	}
	return nil
}

// metadataAddresses are those outside the link-local ranges: AWS on IPv6, Alibaba Cloud, Azure, Oracle Cloud.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
}

// Addresses of IPv6 that gateways take to the address of IPv4 within them, which begins at a byte.
var translated = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"): 12, // NAT64
	netip.MustParsePrefix("2002::/16"):    2,  // 6to4
}

func metadata(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for prefix, at := range translated {
		if prefix.Contains(ip) {
			b := ip.As16()
			ip = netip.AddrFrom4([4]byte(b[at : at+4]))
			break
		}
	}
	return ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() || slices.Contains(metadataAddresses, ip)
}

// metadataHost is metadata for the host of a URL, which a proxy may be the one to look up.
func metadataHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	return err == nil && metadata(ip) || host == "metadata.google.internal" || host == "metadata"
}

// Endpoint reads the URL of a store's server, and refuses what can't be one.
func Endpoint(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &ConfigError{"the endpoint is not an http:// or https:// URL"}
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &ConfigError{"the endpoint may have no user, query or fragment"}
	}
	if host := u.Hostname(); metadataHost(host) {
		return nil, &ConfigError{"the endpoint " + (&refusedError{host}).Error()}
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// Request is one request, which may be sent several times.
type Request struct {
	Method string
	URL    *url.URL
	Header http.Header // may be nil
	Body   []byte
	// Sign adds what proves who asks, at each try. May be nil.
	Sign func(ctx context.Context, r *http.Request) error
	// Accept lists statuses besides 2xx that are answers, not failures.
	Accept []int
}

// Do sends a request until an answer could be read. The answer's body is closed afterwards.
func (c *Client) Do(ctx context.Context, req Request, read func(*http.Response) error) error {
	return c.policy.Retry(ctx, func() error { return c.Once(ctx, req, read) })
}

// Once sends a request one time.
func (c *Client) Once(ctx context.Context, req Request, read func(*http.Response) error) error {
	resp, err := c.send(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := read(resp); err != nil {
		return err
	}
	// What is left is read so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return nil
}

// Open sends a request until an answer begins; the caller reads and closes the body.
func (c *Client) Open(ctx context.Context, req Request, check func(*http.Response) error) (io.ReadCloser, error) {
	var body io.ReadCloser
	err := c.policy.Retry(ctx, func() error {
		resp, err := c.send(ctx, req)
		if err != nil {
			return err
		}
		if err := check(resp); err != nil {
			_ = resp.Body.Close()
			return err
		}
		body = resp.Body
		return nil
	})
	return body, err
}

// send returns an answer that is none of a failure. A failure is told without the request's URL, which may hold a secret.
func (c *Client) send(ctx context.Context, req Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(c.policy.Idle, func() { cancel(errStalled) })
	release := func() {
		watch.Stop()
		cancel(context.Canceled)
	}
	resp, err := c.roundTrip(ctx, req, func() { watch.Reset(c.policy.Idle) })
	if err != nil {
		release()
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			return nil, cause
		}
		return nil, stripURL(err)
	}
	resp.Body = &watched{ReadCloser: resp.Body, ctx: ctx, alive: func() { watch.Reset(c.policy.Idle) }, release: release}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	for _, s := range req.Accept {
		if resp.StatusCode == s {
			return resp, nil
		}
	}
	defer resp.Body.Close()
	return nil, answer(resp)
}

func (c *Client) roundTrip(ctx context.Context, req Request, alive func()) (*http.Response, error) {
	var body io.Reader
	if len(req.Body) > 0 {
		body = &counted{bytes.NewReader(req.Body), alive}
	}
	r, err := http.NewRequestWithContext(ctx, req.Method, "http://unset", body)
	if err != nil {
		return nil, err
	}
	u := *req.URL
	if host := u.Hostname(); metadataHost(host) { // a bucket's name may be part of it
		return nil, &refusedError{host}
	}
	r.URL, r.Host, r.ContentLength = &u, u.Host, int64(len(req.Body))
	for k, v := range req.Header {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", version.Agent("provender"))
	if req.Sign != nil {
		if err := req.Sign(ctx, r); err != nil {
			return nil, err
		}
	}
	return c.http.Do(r)
}

// stripURL takes the URL out of what net/http says.
func stripURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// counted is a request's body that tells when bytes go.
type counted struct {
	*bytes.Reader
	alive func()
}

func (c *counted) Read(p []byte) (int, error) {
	c.alive()
	return c.Reader.Read(p)
}

// WriteTo hides that of bytes.Reader, which would tell once.
func (c *counted) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// watched is an answer's body that tells when bytes come.
type watched struct {
	io.ReadCloser
	ctx     context.Context
	alive   func()
	release func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.alive()
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(w.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.release()
	return err
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "server closed idle connection") || strings.Contains(err.Error(), "malformed HTTP") ||
		strings.Contains(err.Error(), "transport connection broken")
}

// maxAnswer bounds an answer that is held in memory: a page of a listing has a few hundred kilobytes.
const maxAnswer = 32 << 20

// ReadAll reads an answer that is short.
func ReadAll(resp *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return b, err
}

// answer makes an error of a response that is a failure.
func answer(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // a failure's words are not worth another failure
	return Answer(resp, body)
}

// Answer makes an error of a response that is a failure, and of its body.
func Answer(resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode, Region: resp.Header.Get("X-Amz-Bucket-Region")}
	e.Code, e.Message = words(body)
	if e.Code == "" {
		e.Code = cut(resp.Header.Get("X-Ms-Error-Code"), 60)
	}
	e.Kind = kindOf(e)
	if e.Kind == Denied {
		e.Message = "" // some servers repeat what they were sent
	}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && after > 0 {
		return &askedError{e, time.Duration(after) * time.Second}
	}
	return e
}

// CheckRange holds an answer against the n bytes at offset that were asked for.
func CheckRange(resp *http.Response, offset, n int64) error {
	if resp.StatusCode == http.StatusOK && offset == 0 && resp.ContentLength == n {
		return nil // the whole object, which is what was asked for
	}
	var first, last int64
	if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d", &first, &last); err != nil ||
		resp.StatusCode != http.StatusPartialContent || first != offset || last != offset+n-1 {
		return Malformed(fmt.Errorf("%d bytes at offset %d were asked for, the answer has status %d and %q",
			n, offset, resp.StatusCode, cut(resp.Header.Get("Content-Range"), 60)))
	}
	return nil
}

func words(body []byte) (code, message string) {
	var x struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	var j struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string }
		}
	}
	switch {
	case xml.Unmarshal(body, &x) == nil:
		code, message = x.Code, x.Message
	case json.Unmarshal(body, &j) == nil:
		message = j.Error.Message
		if len(j.Error.Errors) > 0 {
			code = j.Error.Errors[0].Reason
		}
	}
	return cut(code, 60), cut(message, 200)
}

// cut keeps the first line, printable and short.
func cut(s string, n int) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

func kindOf(e *Error) Kind {
	switch e.Code {
	case "NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted":
		return NoBucket
	case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ServerBusy", "OperationTimedOut",
		"OperationAborted", "ConditionalRequestConflict":
		return Temporary
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect":
		return Elsewhere
	case "InvalidAccessKeyId", "ExpiredToken", "RequestTimeTooSkewed", "InvalidToken", "SignatureDoesNotMatch":
		return Denied
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		if strings.Contains(e.Message, "bucket does not exist") {
			return NoBucket
		}
		return Missing
	case http.StatusUnauthorized, http.StatusForbidden:
		return Denied
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable, http.StatusNotModified:
		return Changed
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return Elsewhere
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Temporary
	}
	return Other
}
