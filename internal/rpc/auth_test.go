package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/auth/tokens"
	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/testenv/pki"
	"github.com/provender-dev/provender/materialize"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

// errPassed is the answer of what stands behind the gate.
var errPassed = problem.New(problem.Precondition, "passed")

// behind stands behind the gate: what it does not answer itself panics, which a server survives.
type behind struct{ Operations }

func (behind) Run(context.Context, materialize.Request, func(materialize.Progress)) ([]materialize.Run, error) {
	return nil, errPassed
}

func (behind) Retry(context.Context, int64, string, func(materialize.Progress)) ([]materialize.Run, error) {
	return nil, errPassed
}

func (behind) Verify(
	context.Context, materialize.VerifyRequest, func(materialize.Progress),
) ([]materialize.VerifyReport, error) {
	return nil, errPassed
}

func (behind) Prune(context.Context, bool, func(materialize.Progress)) ([]materialize.Pruned, error) {
	return nil, errPassed
}

// entrance is a server with a gate, over gRPC and HTTP, and tokens of every kind.
type entrance struct {
	gate   *Gate
	tokens *tokens.Store
	server *grpc.Server
	conn   *grpc.ClientConn
	web    *web
	http   *httptest.Server
	audit  bytes.Buffer
}

func newEntrance(t *testing.T) *entrance {
	t.Helper()
	db, err := database.Open("sqlite://registry.db", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	e := &entrance{}
	if e.tokens, err = tokens.Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	keeper, err := tokens.NewKeeper(t.Context(), e.tokens, quiet)
	if err != nil {
		t.Fatal(err)
	}
	e.gate = &Gate{Tokens: keeper, Audit: auth.NewAudit(&e.audit, func(err error) { t.Error(err) }), Logger: quiet}
	services := Services{
		Lookups: struct{ Lookups }{}, Operations: behind{}, Revisions: struct{ Revisions }{},
		History: struct{ History }{}, Tokens: struct{ TokenStore }{},
		Snapshot: func() *registry.Snapshot { return nil },
	}
	e.server = grpc.NewServer(append(ServerOptions(quiet, nil), e.gate.ServerOptions()...)...)
	Register(e.server, services)
	healthpb.RegisterHealthServer(e.server, health.NewServer())
	reflection.Register(e.server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(l) }()
	t.Cleanup(func() {
		e.server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if e.conn, err = grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.conn.Close() })
	options := HTTPOptions{Gate: e.gate, Logger: quiet}
	e.web = &web{Services: services, HTTPOptions: options}
	e.http = httptest.NewServer(Handler(services, options))
	t.Cleanup(e.http.Close)
	return e
}

// token makes a token that is valid until ends.
func (e *entrance) token(t *testing.T, name string, ends time.Time, roles ...auth.Role) string {
	t.Helper()
	made := tokens.Token{Name: name, Roles: roles, Created: time.Now().Add(-time.Hour), CreatedBy: "test", Expires: ends}
	secret, err := e.tokens.Create(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// invoke calls a method over gRPC with an empty request.
func (e *entrance) invoke(t *testing.T, method string, info grpc.MethodInfo, header []string) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, h := range header {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h)
	}
	if !info.IsClientStream && !info.IsServerStream {
		return status.Code(e.conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}))
	}
	stream, err := e.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: info.IsClientStream, ServerStreams: info.IsServerStream}, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
		return status.Code(err)
	}
	return codes.OK
}

// visit calls an endpoint over HTTP, and returns the code that is told.
func (e *entrance) visit(t *testing.T, point endpoint, header []string) codes.Code {
	t.Helper()
	path := strings.NewReplacer("{kind}", "entity", "{name}", "x").Replace(point.path)
	r, err := http.NewRequestWithContext(t.Context(), point.method, e.http.URL+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Authorization"] = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusUnauthorized:
		if response.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: no WWW-Authenticate", path)
		}
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	default:
		return codes.OK
	}
}

// TestAccess makes every call with every role and with credentials that are none. testdata/access.golden says who may
// pass; a call that is not in the table of rules may not.
func TestAccess(t *testing.T) {
	e := newEntrance(t)
	later := time.Now().Add(time.Hour)
	byRole := map[auth.Role]string{}
	for _, r := range auth.Roles {
		byRole[r] = "Bearer " + e.token(t, string(r), later, r)
	}
	revoked := e.token(t, "revoked", later, auth.Admin)
	if _, err := e.tokens.Revoke(t.Context(), "revoked", "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	admin := byRole[auth.Admin]
	bad := map[string][]string{
		"none":         nil,
		"empty":        {""},
		"bare":         {strings.TrimPrefix(admin, "Bearer ")},
		"basic":        {"Basic " + strings.TrimPrefix(admin, "Bearer ")},
		"wrong":        {"Bearer pvd_" + strings.Repeat("A", 43)},
		"cut":          {admin[:len(admin)-1]},
		"longer":       {admin + "A"},
		"expired":      {"Bearer " + e.token(t, "expired", time.Now().Add(-time.Minute), auth.Admin)},
		"revoked":      {"Bearer " + revoked},
		"twice":        {admin, admin},
		"another case": {"Bearer " + strings.ToLower(strings.TrimPrefix(admin, "Bearer "))},
	}
	unruled := maps.Clone(rules)
	for _, own := range []string{"GET /metrics", "GET /status", "GET /debug/pprof/"} { // of the server itself
		delete(unruled, own)
	}
	var table strings.Builder
	check := func(call string, try func(header []string) codes.Code) {
		t.Helper()
		delete(unruled, call)
		if _, ok := rules[call]; !ok {
			t.Errorf("%s has no line in the table of rules", call)
		}
		var passed []string
		for _, r := range auth.Roles {
			switch try([]string{byRole[r]}) {
			case codes.PermissionDenied:
			case codes.Unauthenticated:
				t.Errorf("%s: the token of %s is not known", call, r)
			default:
				passed = append(passed, string(r))
			}
		}
		free := try(nil) != codes.Unauthenticated
		for what, header := range bad {
			if got := try(header); (got == codes.Unauthenticated) == free || got == codes.PermissionDenied {
				t.Errorf("%s with a credential that is %s: %s", call, what, got)
			}
		}
		if free {
			passed = []string{"everybody"}
		}
		fmt.Fprintf(&table, "%s: %s\n", call, strings.Join(passed, " "))
	}
	services := e.server.GetServiceInfo()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		methods := services[name].Methods
		slices.SortFunc(methods, func(a, b grpc.MethodInfo) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range methods {
			method := "/" + name + "/" + m.Name
			check(method, func(header []string) codes.Code { return e.invoke(t, method, m, header) })
		}
	}
	for _, point := range e.web.endpoints() {
		check(point.method+" "+point.path, func(header []string) codes.Code { return e.visit(t, point, header) })
	}
	for call := range unruled {
		t.Errorf("the table of rules has %s, which is no call", call)
	}
	const path = "testdata/access.golden"
	if *update {
		if err := os.WriteFile(path, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), table.String()); diff != "" {
		t.Errorf("-want +got; go test -update accepts it:\n%s", diff)
	}
}

// A call that has no rule is refused whoever makes it.
func TestDefaultDeny(t *testing.T) {
	e := newEntrance(t)
	admin := e.token(t, "admin", time.Time{}, auth.Admin)
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+admin))
	_, err := e.gate.unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/x.Y/Z"}, func(context.Context, any) (any, error) {
		t.Error("called")
		return nil, nil //nolint:nilnil // it is not called
	})
	if problem.CodeOf(err) != problem.Denied {
		t.Error(err)
	}
	h := e.gate.Handler("GET /nowhere", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/nowhere", nil)
	r.Header.Set("Authorization", "Bearer "+admin)
	if h.ServeHTTP(w, r); w.Code != http.StatusForbidden {
		t.Error(w.Code)
	}
}

// Verify with repair takes the role that changes take, and is recorded as one.
func TestVerifyRepair(t *testing.T) {
	e := newEntrance(t)
	api := pb.NewOperationsServiceClient(e.conn)
	for role, want := range map[auth.Role]codes.Code{
		auth.ReadOffline: codes.PermissionDenied, auth.Write: codes.FailedPrecondition, auth.Admin: codes.FailedPrecondition,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+e.token(t, string(role), time.Time{}, role))
		for _, repair := range []bool{false, true} {
			stream, err := api.Verify(ctx, &pb.VerifyRequest{Views: []string{"v"}, Repair: repair})
			if err == nil {
				_, err = stream.Recv()
			}
			expect := want
			if !repair {
				expect = codes.FailedPrecondition
			}
			if status.Code(err) != expect {
				t.Errorf("%s, repair %v: %v", role, repair, err)
			}
		}
	}
	e.server.GracefulStop() // a record follows the answer
	log := e.audit.String()
	for _, want := range []string{
		`"msg":"refused","who":"read-offline"`, `"msg":"change","who":"write"`, `"msg":"change","who":"admin"`,
		`"request":{"views":["v"],"repair":true},"outcome":"FailedPrecondition","error":"passed"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in\n%s", want, log)
		}
	}
	if n := strings.Count(log, "\n"); n != 3 {
		t.Errorf("%d records:\n%s", n, log)
	}
}

// Certificates are who they say by any of their names; a token that comes with one decides.
func TestCertificates(t *testing.T) {
	e := newEntrance(t)
	e.gate.Certificates = map[string][]auth.Role{"job": {auth.ReadOnline}, "spiffe://x/y": {auth.Apply}}
	ca := pki.New(t)
	for _, c := range []struct {
		leaf   pki.Leaf
		header []string
		name   string
		roles  []auth.Role
		code   problem.Code
	}{
		{pki.Leaf{Name: "job"}, nil, "job", []auth.Role{auth.ReadOnline}, 0},
		{pki.Leaf{Name: "job", URI: "spiffe://x/y"}, nil, "spiffe://x/y", []auth.Role{auth.Apply}, 0},
		{pki.Leaf{URI: "spiffe://x/y"}, nil, "spiffe://x/y", []auth.Role{auth.Apply}, 0},
		{pki.Leaf{Name: "other"}, nil, "other", nil, 0},
		{pki.Leaf{}, nil, "", nil, problem.Unauthenticated},
		{pki.Leaf{Name: "job", End: time.Now().Add(-time.Second)}, nil, "", nil, problem.Unauthenticated},
		{pki.Leaf{Name: "job"}, []string{"Bearer " + e.token(t, "t", time.Time{}, auth.Write)}, "t", []auth.Role{auth.Write}, 0},
		{pki.Leaf{Name: "job"}, []string{"Bearer wrong"}, "", nil, problem.Unauthenticated},
	} {
		pair := ca.Pair(t, c.leaf)
		state := tls.ConnectionState{}
		if pair.Leaf != nil {
			state.VerifiedChains = append(state.VerifiedChains, nil)
			state.VerifiedChains[0] = append(state.VerifiedChains[0], pair.Leaf)
		}
		got, err := e.gate.identify(t.Context(), c.header, auth.Verified(state.VerifiedChains))
		if c.code != 0 {
			if problem.CodeOf(err) != c.code {
				t.Errorf("%+v: %v", c.leaf, err)
			}
			continue
		}
		if err != nil || got.Name != c.name || !slices.Equal(got.Roles, c.roles) {
			t.Errorf("%+v: %+v, %v", c.leaf, got, err)
		}
	}
}

// A stream goes on only as long as its caller may.
func TestStreamRevoked(t *testing.T) {
	e := newEntrance(t)
	secret := e.token(t, "job", time.Time{}, auth.Write)
	valid := true
	e.gate.Tokens = finder(func() error {
		if valid {
			return nil
		}
		return problem.New(problem.Unauthenticated, "revoked")
	})
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+secret))
	stream := &passedStream{ServerStream: unending{ctx: ctx}, gate: e.gate, method: pb.OnlineService_StreamFeatures_FullMethodName, ctx: ctx}
	for range 3 {
		if err := stream.RecvMsg(nil); err != nil {
			t.Fatal(err)
		}
	}
	valid = false
	if err := stream.RecvMsg(nil); problem.CodeOf(err) != problem.Unauthenticated {
		t.Error(err)
	}
}

// finder finds a reader, or tells why not.
type finder func() error

func (f finder) Find(context.Context, string) (auth.Principal, error) {
	return auth.Principal{Name: "job", Roles: []auth.Role{auth.ReadOnline}}, f()
}

// unending is a stream with a message whenever it is asked.
type unending struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream's
}

func (s unending) Context() context.Context { return s.ctx }
func (s unending) RecvMsg(any) error        { return nil }

func BenchmarkGate(b *testing.B) {
	g := &Gate{Tokens: finder(func() error { return nil }), Logger: slog.New(slog.DiscardHandler)}
	info := &grpc.UnaryServerInfo{FullMethod: pb.OnlineService_GetFeatures_FullMethodName}
	ctx := metadata.NewIncomingContext(b.Context(), metadata.Pairs("authorization", "Bearer pvd_x", ":authority", "x", "user-agent", "y"))
	handler := func(context.Context, any) (any, error) { return nil, nil } //nolint:nilnil // nothing is measured of it
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.unary(ctx, nil, info, handler); err != nil {
			b.Fatal(err)
		}
	}
}
