package rpc

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
)

// httpStatus is the HTTP status of each gRPC code, as gRPC's own gateways have it.
var httpStatus = map[codes.Code]int{
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.FailedPrecondition: http.StatusBadRequest,
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.PermissionDenied:   http.StatusForbidden,
	codes.NotFound:           http.StatusNotFound,
	codes.Aborted:            http.StatusConflict,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
	codes.Canceled:           499, // the client has gone
	codes.DeadlineExceeded:   http.StatusGatewayTimeout,
	codes.Unavailable:        http.StatusServiceUnavailable,
	codes.Unimplemented:      http.StatusNotImplemented,
}

// WriteError answers an HTTP request with an error: its status by the same table as on gRPC, as google.rpc.Status in JSON
// (code, message, details), with Retry-After where the error says when to try again. A request that exceeds a limit by
// itself is 413, not 429. logger gets what callers are not shown.
func WriteError(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	s := statusOf(err, func(reference string, err error) { logHidden(r.Context(), logger, reference, r.URL.Path, err) })
	s = withRequest(r.Context(), s)
	code, ok := httpStatus[s.Code()]
	if !ok {
		code = http.StatusInternalServerError
	}
	if s.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			// Whole seconds, rounded up: the header has no others.
			seconds := (d.RetryDelay.AsDuration() + time.Second - 1) / time.Second
			w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		case *errdetails.BadRequest:
			if s.Code() == codes.ResourceExhausted { // the request is at fault: it will not do later either
				code = http.StatusRequestEntityTooLarge
			}
		}
	}
	var other *httpError
	if errors.As(err, &other) {
		code = other.status
	}
	body, err := protojson.Marshal(s.Proto())
	if err != nil {
		http.Error(w, s.Message(), code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client may have gone
}
