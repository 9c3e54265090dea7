package rpc

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/problem"
)

// rule says who may make a call: who has one of the roles, or is an admin.
type rule struct {
	roles   []auth.Role
	free    bool // for everybody, unproven
	changes bool // is recorded in the audit log
}

var (
	free        = rule{free: true}
	lookup      = rule{roles: []auth.Role{auth.ReadOnline}}
	read        = rule{roles: []auth.Role{auth.ReadOffline}}
	definitions = rule{roles: []auth.Role{auth.ReadOffline, auth.ReadOnline, auth.Apply}} // a lookup needs to know what there is
	planning    = rule{roles: []auth.Role{auth.ReadOffline, auth.Apply}}
	operate     = rule{roles: []auth.Role{auth.Write}, changes: true}
	change      = rule{roles: []auth.Role{auth.Apply}, changes: true}
	administer  = rule{changes: true} // for admins alone
)

// rules has every call, of gRPC by method, of HTTP by method and path. What is not here is refused.
var rules = map[string]rule{
	"/grpc.health.v1.Health/Check":                                   free,
	"/grpc.health.v1.Health/List":                                    free,
	"/grpc.health.v1.Health/Watch":                                   free,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      free,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": free,

	"/provender.v1.OnlineService/GetFeatures":           lookup,
	"/provender.v1.OnlineService/StreamFeatures":        lookup,
	"/feast.serving.ServingService/GetOnlineFeatures":   lookup,
	"/feast.serving.ServingService/GetFeastServingInfo": free, // a version alone
	"/GrpcFeatureServer/GetOnlineFeatures":              lookup,

	"/provender.v1.OperationsService/Materialize":     operate,
	"/provender.v1.OperationsService/PlanMaterialize": read,
	"/provender.v1.OperationsService/ListRuns":        read,
	"/provender.v1.OperationsService/GetRun":          read,
	"/provender.v1.OperationsService/CancelRun":       operate,
	"/provender.v1.OperationsService/RetryRun":        operate,
	"/provender.v1.OperationsService/PauseSchedules":  operate,
	"/provender.v1.OperationsService/ResumeSchedules": operate,
	"/provender.v1.OperationsService/GetStatus":       read,
	"/provender.v1.OperationsService/Verify":          {roles: []auth.Role{auth.ReadOffline, auth.Write}}, // and with repair, auth.Write
	"/provender.v1.OperationsService/Prune":           operate,

	"/provender.v1.RegistryService/ListDefinitions": definitions,
	"/provender.v1.RegistryService/GetDefinition":   definitions,
	"/provender.v1.RegistryService/ListRevisions":   planning,
	"/provender.v1.RegistryService/GetRevision":     planning,
	"/provender.v1.RegistryService/PlanDefinitions": planning,
	"/provender.v1.RegistryService/PlanRollback":    planning,
	"/provender.v1.RegistryService/ApplyPlan":       change,

	"/provender.v1.OfflineService/GetHistoricalFeatures": read,
	"/provender.v1.OfflineService/Explain":               read,

	"/arrow.flight.protocol.FlightService/Handshake":      read, // as those that follow, but for DoExchange, it answers that it is not there
	"/arrow.flight.protocol.FlightService/ListFlights":    read,
	"/arrow.flight.protocol.FlightService/GetFlightInfo":  read,
	"/arrow.flight.protocol.FlightService/PollFlightInfo": read,
	"/arrow.flight.protocol.FlightService/GetSchema":      read,
	"/arrow.flight.protocol.FlightService/DoGet":          read,
	"/arrow.flight.protocol.FlightService/DoPut":          read,
	"/arrow.flight.protocol.FlightService/DoAction":       read,
	"/arrow.flight.protocol.FlightService/ListActions":    read,
	"/arrow.flight.protocol.FlightService/DoExchange":     read,

	"/provender.v1.AdminService/CreateToken": administer,
	"/provender.v1.AdminService/ListTokens":  {},
	"/provender.v1.AdminService/RevokeToken": administer,

	"GET /openapi.json":                 free,
	"POST /v1/features:get":             lookup,
	"POST /get-online-features":         lookup,
	"GET /v1/services":                  definitions,
	"GET /v1/services/{name}":           definitions,
	"GET /v1/definitions":               definitions,
	"GET /v1/definitions/{kind}/{name}": definitions,
	"GET /v1/revisions":                 planning,
	"GET /v1/runs":                      read,
	"GET /v1/status":                    read,
	"GET /metrics":                      read,
	"GET /status":                       read,
	"GET /debug/pprof/":                 {},
}

// Tokens finds who has a token; *tokens.Keeper does. The error is Unauthenticated where nobody has it.
type Tokens interface {
	Find(ctx context.Context, token string) (auth.Principal, error)
}

// Gate lets calls pass by who makes them, and records what they change and what is refused. A nil one lets all pass.
type Gate struct {
	Tokens       Tokens                 // nil: callers need not prove who they are
	Certificates map[string][]auth.Role // by a name in the certificate
	Audit        *auth.Audit            // nil: none
	Logger       *slog.Logger           // gets what callers are not shown
}

// ServerOptions returns what a server needs beside those of the function ServerOptions, which come first.
func (g *Gate) ServerOptions() []grpc.ServerOption {
	if g == nil || g.Tokens == nil && g.Audit == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream)}
}

func (g *Gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	r, known := rules[info.FullMethod]
	who, err := g.pass(ctx, info.FullMethod, r, known)
	if err != nil {
		return nil, err
	}
	if g.Tokens != nil && !r.free {
		ctx = auth.With(ctx, who)
	}
	resp, err := handler(ctx, req)
	if g.Audit != nil && (r.changes || problem.CodeOf(err) == problem.Denied) {
		g.record(ctx, who, info.FullMethod, req, err)
	}
	return resp, err
}

func (g *Gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	r, known := rules[info.FullMethod]
	who, err := g.pass(stream.Context(), info.FullMethod, r, known)
	if err != nil {
		return err
	}
	if r.free {
		return handler(srv, stream)
	}
	passed := &passedStream{ServerStream: stream, gate: g, method: info.FullMethod, ctx: stream.Context()}
	if g.Tokens != nil {
		passed.ctx = auth.With(passed.ctx, who)
	}
	err = handler(srv, passed)
	if g.Audit != nil && (r.changes || passed.repairs() || problem.CodeOf(err) == problem.Denied) {
		g.record(passed.ctx, who, info.FullMethod, passed.first, err)
	}
	return err
}

// passedStream is a stream of a caller that may go on as long as it could begin.
type passedStream struct {
	grpc.ServerStream
	gate   *Gate
	method string
	ctx    context.Context //nolint:containedctx // a stream's is there
	first  any             // message
	begun  bool
}

// Context implements grpc.ServerStream.
func (s *passedStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *passedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if !s.begun {
		s.begun = true
		if message, ok := m.(proto.Message); ok { // others are lookups, whose memory is used again
			s.first = message
		}
		return nil
	}
	_, err := s.gate.pass(s.ServerStream.Context(), s.method, rules[s.method], true)
	return err
}

// repairs reports whether the call changes something although most of its kind do not.
func (s *passedStream) repairs() bool {
	m, ok := s.first.(interface{ GetRepair() bool })
	return ok && m.GetRepair()
}

// pass returns who makes a call over gRPC, or why it is refused, which is recorded.
func (g *Gate) pass(ctx context.Context, method string, r rule, known bool) (auth.Principal, error) {
	if r.free {
		return auth.Principal{}, nil
	}
	var conn *auth.Connection
	from := peer.Peer{}
	if p, ok := peer.FromContext(ctx); ok {
		from = *p
		conn, _ = p.AuthInfo.(*auth.Connection)
	}
	if g.Tokens == nil {
		return unproven(conn), nil
	}
	who, err := g.identify(ctx, metadata.ValueFromIncomingContext(ctx, "authorization"), conn)
	if err == nil && (!known || !slices.ContainsFunc(r.roles, who.May) && !who.May(auth.Admin)) {
		err = auth.Denied(who, method, r.roles)
	}
	if err != nil {
		address := ""
		if from.Addr != nil {
			address = from.Addr.String()
		}
		g.refused(who, address, method, err)
	}
	return who, err
}

// unproven is the caller where none has to prove who it is.
func unproven(conn *auth.Connection) auth.Principal {
	if conn != nil && conn.Owner {
		return owner
	}
	return auth.Principal{}
}

// owner is who can reach into the project's folder, or into this process.
var owner = auth.Principal{Name: "owner", Roles: []auth.Role{auth.Admin}}

// identify returns who calls: by the token in the values of the header authorization, else by the certificate of the
// connection, which may be nil. A certificate that nothing is said of has no roles.
func (g *Gate) identify(ctx context.Context, header []string, conn *auth.Connection) (auth.Principal, error) {
	switch {
	case conn != nil && conn.Owner:
		return owner, nil
	case len(header) > 1:
		return auth.Principal{}, problem.New(problem.Unauthenticated, "the header authorization comes more than once")
	case len(header) == 1:
		scheme, token, _ := strings.Cut(header[0], " ")
		if !strings.EqualFold(scheme, "bearer") {
			return auth.Principal{}, &problem.Error{
				Code: problem.Unauthenticated, Message: "the header authorization has no token", Suggestion: "send Bearer TOKEN",
			}
		}
		return g.Tokens.Find(ctx, strings.TrimSpace(token))
	case conn != nil && len(conn.Certificate) > 0:
		if !time.Now().Before(conn.Expires) {
			return auth.Principal{}, problem.New(problem.Unauthenticated, "the certificate of %s has expired since the connection began", conn.Certificate[0])
		}
		for _, name := range conn.Certificate {
			if roles, ok := g.Certificates[name]; ok {
				return auth.Principal{Name: name, Roles: roles}, nil
			}
		}
		return auth.Principal{Name: conn.Certificate[0]}, nil
	}
	return auth.Principal{}, &problem.Error{
		Code: problem.Unauthenticated, Message: "this server must know who calls",
		Suggestion: "send a token: commands take it from PROVENDER_TOKEN, others from the header authorization: Bearer TOKEN",
	}
}

// Handler is h for those who may: pattern names the rule.
func (g *Gate) Handler(pattern string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed, err := g.passHTTP(pattern, r)
		if err != nil {
			WriteError(w, r, g.Logger, err)
			return
		}
		h.ServeHTTP(w, passed)
	})
}

// call is an endpoint's call for those who may.
func (g *Gate) call(pattern string, call func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	if g == nil || g.Tokens == nil {
		return call
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		passed, err := g.passHTTP(pattern, r)
		if err != nil {
			return err
		}
		return call(w, passed)
	}
}

// passHTTP returns a request with who makes it, or why it is refused, which is recorded.
func (g *Gate) passHTTP(pattern string, r *http.Request) (*http.Request, error) {
	rule, known := rules[pattern]
	if rule.free || g == nil || g.Tokens == nil {
		return r, nil
	}
	var conn *auth.Connection
	if r.TLS != nil {
		conn = auth.Verified(r.TLS.VerifiedChains)
	}
	who, err := g.identify(r.Context(), r.Header.Values("Authorization"), conn)
	if err == nil && (!known || !slices.ContainsFunc(rule.roles, who.May) && !who.May(auth.Admin)) {
		err = auth.Denied(who, pattern, rule.roles)
	}
	if err != nil {
		g.refused(who, r.RemoteAddr, pattern, err)
		return nil, err
	}
	return r.WithContext(auth.With(r.Context(), who)), nil
}

// refused records a refusal. That nobody could tell is none.
func (g *Gate) refused(who auth.Principal, from, call string, err error) {
	if code := problem.CodeOf(err); code == problem.Unauthenticated || code == problem.Denied {
		g.Audit.Refusal(auth.Event{Who: who.Name, From: from, Call: call, Outcome: outcome(err), Error: err.Error()}, time.Now())
	}
}

// record records a change, or that a part of a call was refused.
func (g *Gate) record(ctx context.Context, who auth.Principal, method string, req any, err error) {
	e := auth.Event{Who: who.Name, Call: method, Outcome: outcome(err)}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		e.From = p.Addr.String()
	}
	if m, ok := req.(proto.Message); ok {
		e.Request = asked(m.ProtoReflect())
	}
	if err != nil {
		e.Error = statusOf(err, func(string, error) {}).Message() // a cause that callers are not shown may hold a secret
	}
	if problem.CodeOf(err) == problem.Denied {
		g.Audit.Refusal(e, time.Now())
		return
	}
	g.Audit.Change(e)
}

func outcome(err error) string {
	if err == nil {
		return "OK"
	}
	return statusOf(err, func(string, error) {}).Code().String()
}

// What the audit log has of a request.
const (
	auditItems = 50
	auditText  = 200
)

// asked tells the fields of a request, long ones cut.
func asked(m protoreflect.Message) []slog.Attr {
	var attrs []slog.Attr
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		name := string(f.Name())
		switch v := m.Get(f); {
		case f.IsList():
			attrs = append(attrs, slog.Any(name, items(f, v.List())))
		case f.Kind() == protoreflect.MessageKind:
			text := "…"
			if at, ok := v.Message().Interface().(*timestamppb.Timestamp); ok {
				text = at.AsTime().Format(time.RFC3339Nano)
			}
			attrs = append(attrs, slog.String(name, text))
		case f.Kind() == protoreflect.BytesKind:
			attrs = append(attrs, slog.Int(name+"_bytes", len(v.Bytes())))
		case f.Kind() == protoreflect.StringKind:
			attrs = append(attrs, slog.String(name, cut(v.String())))
		default:
			attrs = append(attrs, slog.Any(name, v.Interface()))
		}
	}
	return attrs
}

func items(f protoreflect.FieldDescriptor, list protoreflect.List) []string {
	if f.Kind() != protoreflect.StringKind {
		return []string{"…"}
	}
	texts := make([]string, 0, min(list.Len(), auditItems+1))
	for i := range list.Len() {
		if i == auditItems {
			return append(texts, "…")
		}
		texts = append(texts, cut(list.Get(i).String()))
	}
	return texts
}

func cut(s string) string {
	if len(s) <= auditText {
		return s
	}
	return strings.ToValidUTF8(s[:auditText], "") + "…"
}
