package client

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// Run is the record of one materialization of one view up to an instant.
type Run struct {
	ID         int64
	View       string
	Revision   int64
	Generation uint64
	Trigger    string // "command", "schedule" or "retry"
	By         string // user@host:pid
	State      string // "queued", "running", "succeeded", "failed", "cancelled"
	Full       bool   // filled a new generation
	Reason     string // why full; else what it found: "2 new, 1 due"
	T          time.Time
	Started    time.Time // zero while queued
	Finished   time.Time // zero until it has ended
	Files      int64     // files read
	RowsRead   int64
	Written    int64 // rows stored
	Older      int64 // rows not newer than what was there
	Held       int64 // rows dated after T, kept for a run that covers them
	NullKeys   int64 // rows dropped for a null key
	Ties       int64 // rows that tied in event and created time
	Error      string

	AskedTo      time.Time // what was asked for, as in MaterializeRequest
	AskedFull    bool
	Attempt      int64     // 1 for the first
	RetryOf      int64     // the run of attempt 1; 0 where this is it
	Queued       time.Time // when it was asked for
	BytesRead    int64     // of the files read, their whole size
	BytesWritten int64     // of keys and rows sent to the store
	Rejects      []Reject  // rows that could not be used, those with a null key among them
	Phases       []Phase
	CancelAsked  time.Time // when somebody asked for its end; zero: nobody did
	CancelBy     string
	RequestID    string // of the request that made it, "" where that had none
}

// Reject is rows that could not be used, for one reason.
type Reject struct {
	Reason  string // "null key", "key out of range", "time out of range", "value"
	Rows    int64
	Samples []string // the first few: file, row group, row, what
}

// Phase is how long one part of a run took.
type Phase struct {
	Name string // "list", "read", "write", "commit"
	Took time.Duration
}

// RunPlan is what a run of one view would do.
type RunPlan struct {
	View   string
	T      time.Time
	Full   bool
	Reason string        // as of Run
	Files  []PlannedFile // that it would read, and those that it knows and that are no more
	Error  string        // why it can't be run
}

// PlannedFile is one file that a run would deal with.
type PlannedFile struct {
	Path string
	Size int64
	Why  string // "new", "changed", "deleted", "due" (held rows that T covers), "again" (a rebuild reads it)
}

// PlanMaterialize tells what Materialize would do with the same request, and changes nothing.
func (c *Client) PlanMaterialize(ctx context.Context, req MaterializeRequest) ([]RunPlan, error) {
	out, err := c.operations.PlanMaterialize(ctx, &pb.PlanMaterializeRequest{
		Views: req.Views, To: timestamp(req.To), Full: req.Full, AllowFuture: req.AllowFuture,
	}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	plans := make([]RunPlan, 0, len(out.Plans))
	for _, m := range out.Plans {
		p := RunPlan{View: m.View, T: timeOf(m.T), Full: m.Full, Reason: m.Reason, Error: m.Error}
		for _, f := range m.Files {
			p.Files = append(p.Files, PlannedFile{Path: f.Path, Size: f.Size, Why: f.Why})
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// Run returns one run.
func (c *Client) Run(ctx context.Context, id int64) (Run, error) {
	out, err := c.operations.GetRun(ctx, &pb.GetRunRequest{Id: id}, callOptions()...)
	if err != nil {
		return Run{}, errorOf(err)
	}
	return runOf(out.Run), nil
}

// CancelRun asks for the end of a run that is queued or running, and returns it as it is then: one that is running ends
// within seconds.
func (c *Client) CancelRun(ctx context.Context, id int64) (Run, error) {
	out, err := c.operations.CancelRun(ctx, &pb.CancelRunRequest{Id: id}, callOptions()...)
	if err != nil {
		return Run{}, errorOf(err)
	}
	return runOf(out.Run), nil
}

// RetryRun runs again what a run that failed or was cancelled was asked for. The rest is as of Materialize.
func (c *Client) RetryRun(ctx context.Context, id int64, progress func(Progress)) ([]Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	message := &pb.RetryRunRequest{Id: id, RequestId: rand.Text()}
	return c.insist(ctx, func() ([]Run, error) {
		stream, err := c.operations.RetryRun(ctx, message, callOptions()...)
		if err != nil {
			return nil, errorOf(err)
		}
		return runsOf(stream, progress)
	})
}

// Pruned is one generation that was, or would be, removed.
type Pruned struct {
	Generation uint64
	View       string // "" where no record is left of it
	Why        string // "retired", "abandoned", "view deleted", "offline", "unknown"
}

// Prune removes from the online store what no definition needs, or with dryRun only tells what, and returns it, also what
// went before an error. progress, unless nil, is called between, in this goroutine.
func (c *Client) Prune(ctx context.Context, dryRun bool, progress func(Progress)) ([]Pruned, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.operations.Prune(ctx, &pb.PruneRequest{DryRun: dryRun}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	var all []Pruned
	err = receive(stream, progress, func(m *pb.PruneResponse) {
		if p := m.GetPruned(); p != nil {
			all = append(all, Pruned{Generation: p.Generation, View: p.View, Why: p.Why})
		}
	})
	return all, err
}

// runsOf returns the runs of a stream, also those that came before an error.
func runsOf[M interface {
	progressing
	GetRun() *pb.Run
}](stream interface{ Recv() (M, error) }, progress func(Progress)) ([]Run, error) {
	var runs []Run
	err := receive(stream, progress, func(m M) {
		if run := m.GetRun(); run != nil {
			runs = append(runs, runOf(run))
		}
	})
	return runs, err
}

// progressing is a message of a stream that has progress, or what the stream is about.
type progressing interface{ GetProgress() *pb.Progress }

// receive takes the messages of a stream until it ends.
func receive[M progressing](stream interface{ Recv() (M, error) }, progress func(Progress), take func(M)) error {
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errorOf(err)
		case m.GetProgress() == nil:
			take(m)
		case progress != nil:
			progress(progressOf(m.GetProgress()))
		}
	}
}

func runOf(m *pb.Run) Run {
	r := Run{
		ID: m.Id, View: m.View, Revision: m.Revision, Generation: m.Generation, Trigger: m.Trigger, By: m.By,
		State: m.State, Full: m.Full, Reason: m.Reason,
		T: timeOf(m.T), Started: timeOf(m.Started), Finished: timeOf(m.Finished),
		Files: m.Files, RowsRead: m.RowsRead, Written: m.Written, Older: m.Older, Held: m.Held,
		NullKeys: m.NullKeys, Ties: m.Ties, Error: m.Error,
		AskedTo: timeOf(m.AskedTo), AskedFull: m.AskedFull, Attempt: m.Attempt, RetryOf: m.RetryOf, Queued: timeOf(m.Queued),
		BytesRead: m.BytesRead, BytesWritten: m.BytesWritten, CancelAsked: timeOf(m.CancelAsked), CancelBy: m.CancelBy,
		RequestID: m.RequestId,
	}
	for _, x := range m.Rejects {
		r.Rejects = append(r.Rejects, Reject{Reason: x.Reason, Rows: x.Rows, Samples: x.Samples})
	}
	for _, p := range m.Phases {
		r.Phases = append(r.Phases, Phase{Name: p.Name, Took: p.Took.AsDuration()})
	}
	return r
}
