package server

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// vitals answer whether the process lives, whether it has started, and whether it can be sent requests: over HTTP, and as
// gRPC's health services. Safe for concurrent use.
type vitals struct {
	health   *health.Server
	began    time.Time            // of the server
	node     atomic.Pointer[node] // nil until what it needs has answered
	failure  atomic.Pointer[lack] // why there is no node yet; nil: it is being opened
	started  atomic.Bool
	stopping atomic.Bool
}

// The health services; that of the empty name is ready, too.
const (
	serviceLive    = "live"
	serviceStarted = "started"
	serviceReady   = "ready"
)

func newVitals() *vitals { return &vitals{health: health.NewServer(), began: time.Now()} }

// lack is why a server can't be sent requests.
type lack struct {
	text  string // for everybody
	cause error  // for those at the admin address; may be nil
}

// ready returns why lookups can't be answered, nil where they can.
func (v *vitals) ready() *lack {
	n := v.node.Load()
	switch {
	case v.stopping.Load():
		return &lack{text: "the server is stopping"}
	case n == nil:
		if failure := v.failure.Load(); failure != nil {
			return failure
		}
		return &lack{text: "the server is starting"}
	}
	if err := n.follow.storeState.err(); err != nil {
		return &lack{"the online store does not answer", err}
	}
	return nil
}

// begun returns why lookups could not be answered yet, nil once they could.
func (v *vitals) begun() *lack {
	if v.started.Load() {
		return nil
	}
	why := v.ready()
	if why == nil {
		v.started.Store(true)
	}
	return why
}

// publish tells those who watch over gRPC.
func (v *vitals) publish() {
	set := func(service string, why *lack) {
		status := healthpb.HealthCheckResponse_SERVING
		if why != nil {
			status = healthpb.HealthCheckResponse_NOT_SERVING
		}
		v.health.SetServingStatus(service, status)
	}
	ready := v.ready()
	set("", ready)
	set(serviceReady, ready)
	set(serviceStarted, v.begun())
	set(serviceLive, nil)
}

// stop says that no more requests are to be sent.
func (v *vitals) stop() {
	v.stopping.Store(true)
	v.publish()
}

// routes adds the three answers to mux; with causes, where only those who run the server can ask.
func (v *vitals) routes(mux *http.ServeMux, causes bool) {
	mux.HandleFunc("GET /livez", answer(func() *lack { return nil }, causes))
	mux.HandleFunc("GET /startedz", answer(v.begun, causes))
	mux.HandleFunc("GET /readyz", answer(v.ready, causes))
}

func answer(why func() *lack, causes bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		lacks := why()
		switch {
		case lacks == nil:
			fmt.Fprintln(w, "ok")
		case causes && lacks.cause != nil:
			http.Error(w, lacks.text+": "+lacks.cause.Error(), http.StatusServiceUnavailable)
		default:
			http.Error(w, lacks.text, http.StatusServiceUnavailable)
		}
	}
}
