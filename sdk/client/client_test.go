package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

// recorded answers operations with what it was given, and keeps what it was asked.
type recorded struct {
	run    materialize.Request
	verify materialize.VerifyRequest
	views  []string
	limit  int
	id     int64
	from   string
	dryRun bool
	err    error
	hang   bool // until the caller is gone
}

var (
	run = materialize.Run{
		ID: 7, View: "a", Revision: 3, Generation: 4, Trigger: "command", By: "me@here:1", State: materialize.RunSucceeded,
		Full: true, Reason: "--full", T: noon, Started: noon.Add(1), Finished: noon.Add(2), Files: 8, RowsRead: 9, Written: 10,
		Older: 11, Held: 12, NullKeys: 13, Ties: 14, Error: "none",
		Asked: state.Asked{To: noon.Add(3), Full: true}, Attempt: 15, RetryOf: 6, Queued: noon.Add(4), BytesRead: 16, BytesWritten: 17,
		Rejects: []state.Reject{{Reason: "value", Rows: 18, Samples: []string{"x", "y"}}, {Reason: "null key", Rows: 13}},
		Phases:  []state.PhaseTime{{Name: "list", Took: time.Second}}, CancelAsked: noon.Add(5), CancelBy: "you@there:2",
		RequestID: "once",
	}
	wantRun = client.Run{
		ID: 7, View: "a", Revision: 3, Generation: 4, Trigger: "command", By: "me@here:1", State: "succeeded",
		Full: true, Reason: "--full", T: noon, Started: noon.Add(1), Finished: noon.Add(2), Files: 8, RowsRead: 9, Written: 10,
		Older: 11, Held: 12, NullKeys: 13, Ties: 14, Error: "none",
		AskedTo: noon.Add(3), AskedFull: true, Attempt: 15, RetryOf: 6, Queued: noon.Add(4), BytesRead: 16, BytesWritten: 17,
		Rejects: []client.Reject{{Reason: "value", Rows: 18, Samples: []string{"x", "y"}}, {Reason: "null key", Rows: 13}},
		Phases:  []client.Phase{{Name: "list", Took: time.Second}}, CancelAsked: noon.Add(5), CancelBy: "you@there:2",
		RequestID: "once",
	}
)

func (r *recorded) Run(
	ctx context.Context, req materialize.Request, progress func(materialize.Progress),
) ([]materialize.Run, error) {
	r.run = req
	for i := range 1000 {
		progress(materialize.Progress{View: "a", Stage: "read", Done: int64(i), Size: 999})
	}
	progress(materialize.Progress{View: "a", Stage: "swap"})
	if r.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []materialize.Run{run, {View: "b", State: materialize.RunFailed}}, r.err
}

func (r *recorded) RunsBefore(_ context.Context, views []string, _ int64, limit int) ([]materialize.Run, error) {
	r.views, r.limit = views, limit
	return []materialize.Run{run}, nil
}

func (r *recorded) Plan(_ context.Context, req materialize.Request) ([]materialize.RunPlan, error) {
	r.run = req
	return []materialize.RunPlan{
		{View: "a", T: noon, Full: true, Reason: "--full", Files: []materialize.PlannedFile{{Path: "p", Size: 1, Why: "new"}}},
		{View: "b", Error: "no"},
	}, nil
}

func (r *recorded) GetRun(_ context.Context, id int64) (materialize.Run, error) {
	r.id = id
	return run, r.err
}

func (r *recorded) Cancel(_ context.Context, id int64, from string) (materialize.Run, error) {
	r.id, r.from = id, from
	return run, nil
}

func (r *recorded) Retry(_ context.Context, id int64, requestID string, progress func(materialize.Progress)) ([]materialize.Run, error) {
	r.id, r.run.RequestID = id, requestID
	progress(materialize.Progress{View: "a", Stage: "read"})
	return []materialize.Run{run}, r.err
}

func (r *recorded) Prune(_ context.Context, dryRun bool, progress func(materialize.Progress)) ([]materialize.Pruned, error) {
	r.dryRun = dryRun
	progress(materialize.Progress{View: "a", Stage: "drop", Done: 1, Size: 2})
	return []materialize.Pruned{{Generation: 4, View: "a", Why: "retired"}, {Generation: 5, Why: "unknown"}}, r.err
}

func (r *recorded) Status(_ context.Context, views []string) ([]materialize.ViewStatus, error) {
	r.views = views
	return []materialize.ViewStatus{
		{
			View: "a", State: "ok", Generation: 4, Written: 5, T: noon, NewestEvent: noon.Add(-time.Hour), Lag: time.Hour,
			LastRun: &run, NextRun: noon.Add(time.Minute), Held: 6, PendingFiles: 7, Error: "none",
		},
		{View: "b", State: "never"},
	}, nil
}

func (r *recorded) Verify(
	_ context.Context, req materialize.VerifyRequest, progress func(materialize.Progress),
) ([]materialize.VerifyReport, error) {
	r.verify = req
	progress(materialize.Progress{View: "a", Stage: "read"})
	return []materialize.VerifyReport{{
		View: "a", T: noon, ReadTime: noon.Add(1), Entities: 1, Cells: 2, Equal: 3, Wrong: 4, Missing: 5, Extra: 6,
		Diffs: []materialize.Difference{{Entity: "a=1", Feature: "f", Online: "1 PRESENT", Offline: "NOT_FOUND"}}, Note: "n",
	}}, nil
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Calls on single runs, plans and prune.
func TestRuns(t *testing.T) {
	ops := new(recorded)
	c := dial(t, rpc.Services{Operations: ops}, io.Discard)

	plans, err := c.PlanMaterialize(t.Context(), client.MaterializeRequest{Views: []string{"a"}, To: noon, Full: true, AllowFuture: true})
	must(t, err)
	same(t, []client.RunPlan{
		{View: "a", T: noon, Full: true, Reason: "--full", Files: []client.PlannedFile{{Path: "p", Size: 1, Why: "new"}}},
		{View: "b", Error: "no"},
	}, plans)
	same(t, materialize.Request{Views: []string{"a"}, To: noon, Full: true, AllowFuture: true}, ops.run)

	one, err := c.Run(t.Context(), 7)
	must(t, err)
	same(t, wantRun, one)
	one, err = c.CancelRun(t.Context(), 8)
	must(t, err)
	same(t, wantRun, one)
	if ops.id != 8 || !strings.HasPrefix(ops.from, "127.0.0.1:") {
		t.Errorf("run %d cancelled from %q", ops.id, ops.from)
	}
	var stages []string
	progress := func(p client.Progress) { stages = append(stages, p.Stage) }
	runs, err := c.RetryRun(t.Context(), 9, progress)
	must(t, err)
	same(t, []client.Run{wantRun}, runs)
	gone, err := c.Prune(t.Context(), true, progress)
	must(t, err)
	removed := []client.Pruned{{Generation: 4, View: "a", Why: "retired"}, {Generation: 5, Why: "unknown"}}
	same(t, removed, gone)
	same(t, []string{"read", "drop"}, stages)
	if ops.id != 9 || !ops.dryRun {
		t.Errorf("asked %+v", ops)
	}

	// What was done before an error is told.
	ops.err = problem.New(problem.Conflict, "later")
	for what, call := range map[string]func() (int, error){
		"run":   func() (int, error) { _, err := c.Run(t.Context(), 1); return 0, err },
		"retry": func() (int, error) { runs, err := c.RetryRun(t.Context(), 1, nil); return len(runs), err },
		"prune": func() (int, error) { gone, err := c.Prune(t.Context(), false, nil); return len(gone), err },
	} {
		n, err := call()
		var e *client.Error
		if !errors.As(err, &e) || e.Code != client.CodeConflict || what != "run" && n == 0 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
}

func TestOperations(t *testing.T) {
	ops := new(recorded)
	c := dial(t, rpc.Services{Operations: ops}, io.Discard)

	var stages []string
	var last int64
	progress := func(p client.Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
		last = max(last, p.Done)
	}
	runs, err := c.Materialize(t.Context(), client.MaterializeRequest{
		Views: []string{"a", "b"}, To: noon, Full: true, AllowFuture: true,
	}, progress)
	must(t, err)
	same(t, []client.Run{wantRun, {View: "b", State: "failed"}}, runs)
	same(t, []string{"read", "swap"}, stages)
	same(t, int64(999), last)
	id := ops.run.RequestID
	same(t, materialize.Request{
		Views: []string{"a", "b"}, To: noon, Full: true, AllowFuture: true, Trigger: "command", RequestID: id,
	}, ops.run)
	if _, err := c.Materialize(t.Context(), client.MaterializeRequest{}, nil); err != nil || id == "" || ops.run.RequestID == id {
		t.Errorf("the next request has id %q after %q; %v", ops.run.RequestID, id, err)
	}

	// Joined failures: the records, then every text but that of an unknown error.
	ops.err = errors.Join(
		&problem.Error{Code: problem.Unavailable, Message: "view b: the store is away", Suggestion: "start it", RetryAfter: time.Minute},
		&problem.Error{Code: problem.Precondition, Message: "view c: not now"},
		errors.New("hunter2"),
	)
	runs, err = c.Materialize(t.Context(), client.MaterializeRequest{}, nil)
	e := asError(t, err)
	want := "view b: the store is away (start it)\nview c: not now\ninternal error; "
	if len(runs) != 2 || e.Code != client.CodeUnavailable || e.RetryAfter != time.Minute ||
		!strings.HasPrefix(e.Message, want) || strings.Contains(e.Message, "hunter2") {
		t.Errorf("%d runs, %+v", len(runs), e)
	}

	// A caller that goes stops the run.
	ops.hang = true
	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.Materialize(ctx, client.MaterializeRequest{}, func(client.Progress) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	reports, err := c.Verify(t.Context(), client.VerifyRequest{Views: []string{"a"}, Sample: 5, Full: true, Now: noon}, progress)
	must(t, err)
	same(t, []client.VerifyReport{{
		View: "a", T: noon, ReadTime: noon.Add(1), Entities: 1, Cells: 2, Equal: 3, Wrong: 4, Missing: 5, Extra: 6,
		Diffs: []client.Difference{{Entity: "a=1", Feature: "f", Online: "1 PRESENT", Offline: "NOT_FOUND"}}, Note: "n",
	}}, reports)
	same(t, materialize.VerifyRequest{Views: []string{"a"}, Sample: 5, Full: true, Now: noon}, ops.verify)

	runs, err = c.Runs(t.Context(), []string{"x"}, 3)
	must(t, err)
	same(t, []client.Run{wantRun}, runs)
	same(t, []string{"x"}, ops.views)
	same(t, 3, ops.limit)

	statuses, err := c.Status(t.Context(), []string{"y"})
	must(t, err)
	same(t, []client.ViewStatus{
		{
			View: "a", State: "ok", Generation: 4, Written: 5, T: noon, NewestEvent: noon.Add(-time.Hour), Lag: time.Hour,
			LastRun: &wantRun, NextRun: noon.Add(time.Minute), Held: 6, PendingFiles: 7, Error: "none",
		},
		{View: "b", State: "never"},
	}, statuses)
	same(t, []string{"y"}, ops.views)

	if _, err := c.Runs(t.Context(), nil, -1); asError(t, err).Field != "limit" {
		t.Error(err)
	}
	if _, err := c.GetFeatures(t.Context(), client.Request{}); asError(t, err).Code != client.CodeUnimplemented {
		t.Error(err)
	}
}

// revisions is a history of two; away, only the snapshot is left.
type revisions struct{ away bool }

func (r *revisions) Current(ctx context.Context) (registry.Revision, *registry.Definitions, error) {
	return r.At(ctx, 2)
}

func (r *revisions) At(_ context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	defs := definitions()
	switch {
	case r.away:
		return registry.Revision{}, nil, problem.New(problem.Unavailable, "the registry is away")
	case number > 2:
		return registry.Revision{}, nil, problem.New(problem.NotFound, "no revision %d", number)
	case number == 1:
		defs = &registry.Definitions{Entities: defs.Entities[:1]}
	}
	return registry.Revision{
		Number: number, Digest: "d", Applied: noon, By: "me@here", Commit: "c", Tool: "1.0", Summary: "1 added",
	}, defs, nil
}

func (r *revisions) HistoryBefore(ctx context.Context, _ int64, limit int) ([]registry.Revision, error) {
	two, _, _ := r.At(ctx, 2)
	one, _, _ := r.At(ctx, 1)
	revs := []registry.Revision{two, one}
	if limit > 0 && limit < len(revs) {
		revs = revs[:limit]
	}
	return revs, nil
}

func TestRegistry(t *testing.T) {
	snapshot, err := registry.Compile(2, definitions())
	must(t, err)
	store := new(revisions)
	c := dial(t, rpc.Services{Revisions: store, Snapshot: func() *registry.Snapshot { return snapshot }}, io.Discard)

	two := client.Revision{Number: 2, Digest: "d", Applied: noon, By: "me@here", Commit: "c", Tool: "1.0", Summary: "1 added"}
	rev, defs, err := c.Definitions(t.Context(), "", 0)
	must(t, err)
	same(t, two, rev)
	var names []string
	for _, d := range defs {
		names = append(names, string(d.Kind)+" "+d.Name)
	}
	same(t, []string{
		"Entity airport", "Entity driver", "Source lake", "FeatureView airport_hourly", "FeatureView airport_static",
		"FeatureView everything", "FeatureView never", "FeatureView training", "FeatureView world",
		"FeatureService delay_model", "FeatureService unready",
	}, names)
	want, err := json.Marshal(definitions().Entities[0])
	must(t, err)
	same(t, string(want), string(defs[0].JSON))

	_, defs, err = c.Definitions(t.Context(), client.Entity, 1)
	must(t, err)
	same(t, 1, len(defs))

	_, d, err := c.Definition(t.Context(), client.FeatureService, "delay_model", 0)
	must(t, err)
	same(t, "delay_model", d.Name)
	_, _, err = c.Definition(t.Context(), client.FeatureView, "wrld", 0)
	if e := asError(t, err); e.Code != client.CodeNotFound || e.Suggestion != `did you mean "world"?` {
		t.Errorf("%+v", e)
	}
	if _, _, err = c.Definitions(t.Context(), "", 9); asError(t, err).Code != client.CodeNotFound {
		t.Error(err)
	}
	if _, _, err = c.Definitions(t.Context(), "", -1); asError(t, err).Code != client.CodeInvalid {
		t.Error(err)
	}
	if _, _, err = c.Definitions(t.Context(), "Thing", 0); asError(t, err).Code != client.CodeInvalid {
		t.Error(err)
	}

	revs, err := c.Revisions(t.Context(), 1)
	must(t, err)
	same(t, []client.Revision{two}, revs)

	store.away = true
	rev, defs, err = c.Definitions(t.Context(), client.FeatureView, 0)
	must(t, err)
	same(t, int64(2), rev.Number)
	same(t, 6, len(defs))
	if _, _, err = c.Definitions(t.Context(), "", 1); asError(t, err).Code != client.CodeUnavailable {
		t.Error(err)
	}
}

// TestDial connects to a socket, and tells who cannot be reached.
func TestDial(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	_, err := client.Dial(t.Context(), "unix:"+socket)
	if e := asError(t, err); e.Code != client.CodeUnavailable || !strings.Contains(e.Message, "no such file") {
		t.Errorf("%+v", e)
	}
	for _, network := range []string{"unix", "tcp"} {
		addr := "127.0.0.1:0"
		if network == "unix" {
			addr = socket
		}
		listener, err := net.Listen(network, addr)
		must(t, err)
		addr = listener.Addr().String()
		if network == "unix" {
			addr = "unix:" + socket
		}
		var agents []string
		hear := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			agents = metadata.ValueFromIncomingContext(ctx, "user-agent")
			return handle(ctx, req)
		}
		server := grpc.NewServer(append(rpc.ServerOptions(slog.New(slog.DiscardHandler), nil), grpc.ChainUnaryInterceptor(hear))...)
		rpc.Register(server, rpc.Services{Operations: new(recorded)})
		done := make(chan error, 1)
		go func() { done <- server.Serve(listener) }()
		c, err := client.Dial(t.Context(), addr)
		must(t, err)
		_, err = c.Status(t.Context(), nil)
		must(t, err)
		must(t, c.Close())
		server.GracefulStop()
		must(t, <-done)
		if len(agents) != 1 || !strings.HasPrefix(agents[0], version.Agent("provender-go")+" grpc-go/") {
			t.Errorf("the client calls itself %q", agents)
		}
	}

	// Somebody listens, and does not speak.
	listener, err := net.Listen("unix", socket)
	must(t, err)
	defer func() { must(t, listener.Close()) }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept()
		cancel()
		if err == nil {
			_ = conn.Close()
		}
	}()
	if _, err = client.Dial(ctx, "unix:"+socket); err == nil {
		t.Error("connected to nobody")
	}
}
