package calls

import (
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/codes"
)

// HTTP returns the method of one path over HTTP; "" is what has no path of its own.
func (w *Watcher) HTTP(method, path string) *Method {
	name := "http." + strings.TrimPrefix(strings.TrimPrefix(path, "/"), "v1/")
	if path == "" {
		name = "http.other"
	}
	return w.method(name, tracedHTTP(method, path))
}

// BeginHTTP begins a call, and returns the request with it as its context. The id is told in the answer's header.
func (m *Method) BeginHTTP(w http.ResponseWriter, r *http.Request) (*Call, *http.Request) {
	given := ""
	if values := r.Header.Values(Header); len(values) == 1 {
		given = values[0]
	}
	c := m.begin(r.Context(), given)
	if m.watcher.Tracer != nil {
		c.beginSpan(propagation.HeaderCarrier(r.Header))
	}
	w.Header().Set(Header, c.id.String())
	return c, r.WithContext(c)
}

// EndHTTP ends a call with what it was answered.
func (c *Call) EndHTTP(r *http.Request, code codes.Code) {
	c.end(code, func(*Call) string { return r.RemoteAddr })
}
