package stores

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
)

// Fault is what a proxy does to one request.
type Fault int

// The faults.
const (
	None        Fault = iota
	Error500          // 500 without a word
	SlowDown          // 503, as S3 says it
	TooMany           // 429
	Reset             // the connection is reset before an answer
	Lost              // the store does what it was asked, the answer is lost
	ResetBody         // half of the body, then a reset
	CutBody           // half of the body, then the end of the connection
	ShortLength       // half of the body, and a Content-Length that says it is all
	LongLength        // a Content-Length that promises more
	Stalled           // half of the body, then nothing
	Denied            // 403
)

// Proxy stands before a store, counts, and does harm.
type Proxy struct {
	URL string

	mu       sync.Mutex
	fault    func(r *http.Request) Fault
	requests []Seen
}

// Seen is one request that came by.
type Seen struct {
	Method, Path, Query, Range string
	Bytes                      int64 // of the answer's body
}

// NewProxy starts a proxy before a store.
func NewProxy(t testing.TB, s *Store) *Proxy {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	forward := &httputil.ReverseProxy{
		// The host stays: it is signed.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, forward) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.URL = server.URL
	return p
}

// Harm sets what is done to requests from now on; nil for nothing.
func (p *Proxy) Harm(fault func(r *http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// First harms the first n requests that match.
func (p *Proxy) First(n int, fault Fault, match func(r *http.Request) bool) {
	var mu sync.Mutex
	p.Harm(func(r *http.Request) Fault {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 || !match(r) {
			return None
		}
		n--
		return fault
	})
}

// Take returns the requests since the last call.
func (p *Proxy) Take() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.requests
	p.requests = nil
	return seen
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	p.mu.Lock()
	harm := p.fault
	p.mu.Unlock()
	fault := None
	if harm != nil {
		fault = harm(r)
	}
	seen := Seen{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Range: r.Header.Get("Range")}
	counted := &counter{ResponseWriter: w}
	defer func() {
		seen.Bytes = counted.n
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests = append(p.requests, seen)
	}()
	switch fault {
	case None:
		forward.ServeHTTP(counted, r)
		return
	case Error500, SlowDown, TooMany, Denied, Reset:
		_, _ = io.Copy(io.Discard, r.Body)
		refuse(counted, fault)
		return
	}
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if fault == Lost {
		reset(conn)
		return
	}
	half := body[:len(body)/2]
	length := len(body)
	switch fault {
	case ShortLength:
		length = len(half)
	case LongLength:
		half, length = body, len(body)+100
	}
	answer.Header().Set("Content-Length", strconv.Itoa(length))
	answer.Header().Del("Transfer-Encoding")
	answer.Header().Set("Connection", "close") // or the next request may go into a connection that is about to end
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 " + strconv.Itoa(answer.Code) + " " + http.StatusText(answer.Code) + "\r\n")
	_ = answer.Header().Write(&head)
	head.WriteString("\r\n")
	_, _ = conn.Write(append(head.Bytes(), half...))
	counted.n = int64(len(half))
	switch fault {
	case ResetBody:
		reset(conn)
	case Stalled:
		_, _ = buf.ReadByte() // until the client gives up
	}
}

func refuse(w http.ResponseWriter, fault Fault) {
	switch fault {
	case Error500:
		w.WriteHeader(http.StatusInternalServerError)
	case SlowDown:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>`)
	case TooMany:
		w.WriteHeader(http.StatusTooManyRequests)
	case Denied:
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>no, `+Secret+`</Message></Error>`)
	case Reset:
		if conn, _, err := w.(*counter).ResponseWriter.(http.Hijacker).Hijack(); err == nil {
			reset(conn)
		}
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// counter counts the bytes of an answer.
type counter struct {
	http.ResponseWriter
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// Unwrap lets a reverse proxy flush.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
