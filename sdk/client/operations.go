package client

import (
	"context"
	"crypto/rand"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// MaterializeRequest asks for runs.
type MaterializeRequest struct {
	Views       []string  // empty: every view that is online
	To          time.Time // zero: now less the server's allowed clock skew
	Full        bool      // fill a new generation from all files and swap it in
	AllowFuture bool      // accept an instant in the future
}

// Progress is how far the work on one view is.
type Progress struct {
	View       string
	Stage      string // "list", "read", "write", "swap"; "drop"
	Done, Size int64  // rows, generations for "drop"; Size is 0 where it is not known
}

// ViewStatus is the truth about one view.
type ViewStatus struct {
	View           string
	State          string // "ok", "never", "queued", "running", "failed", "stale", "diverged", "lost", "unknown", "offline"
	Generation     uint64
	Written        int64         // rows stored by the serving generation's runs, updates of an entity included
	T              time.Time     // the serving generation covers rows up to it; zero where there is none
	NewestEvent    time.Time     // the newest event time online; zero for none
	Lag            time.Duration // now less NewestEvent
	NewestInSource time.Time     // that a run could bring online now; zero where the files' statistics do not tell it
	LastRun        *Run          // nil for none; never a queued one
	NextRun        time.Time     // by the schedule; zero for none
	Failures       int64         // runs that failed since the last that succeeded
	Paused         time.Time     // since when the schedule rests; zero: it does not
	PausedBy       string        // user@host:pid
	Diverged       time.Time     // since when rows of changed or deleted files may remain; zero: not
	Held           int64
	PendingFiles   int64 // new, changed or deleted since the last run
	Error          string
}

// VerifyRequest asks to compare online with offline.
type VerifyRequest struct {
	Views  []string  // empty: every view that is online
	Sample int       // entities per view; 0: 1,000
	Full   bool      // every entity, and every stored row
	Now    time.Time // the read time; zero: now
	Repair bool      // rewrite what is wrong or missing, remove what is extra, and compare again
}

// VerifyReport is what a comparison of one view found. Equal, Behind, Wrong, Missing and Extra add up to Cells.
type VerifyReport struct {
	View     string
	T        time.Time
	ReadTime time.Time
	Entities int64
	Cells    int64
	Equal    int64
	Behind   int64 // equal to history as of T, where history has newer rows by now: a run brings them
	Wrong    int64
	Missing  int64        // offline has a value, online has none
	Extra    int64        // online has a value, offline has none
	Repaired int64        // entities whose rows were rewritten or removed, before the comparison
	Diffs    []Difference // the first of them
	Note     string
}

// Difference is one cell that is not the same.
type Difference struct {
	Entity          string // "airport=JFK"
	Feature         string
	Online, Offline string // "12.5 PRESENT", "NOT_FOUND"
	Class           string // "wrong", "missing", "extra"
}

// Materialize runs views one after another and returns the record of each, also of those that ran before an error.
// progress, unless nil, is called between, in this goroutine. Where the connection is lost, it asks again a few times for the
// records of the same runs: what has begun is not run twice.
func (c *Client) Materialize(ctx context.Context, req MaterializeRequest, progress func(Progress)) ([]Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream where progress panics
	message := &pb.MaterializeRequest{
		Views: req.Views, To: timestamp(req.To), Full: req.Full, AllowFuture: req.AllowFuture, RequestId: rand.Text(),
	}
	return c.insist(ctx, func() ([]Run, error) {
		stream, err := c.operations.Materialize(ctx, message, callOptions()...)
		if err != nil {
			return nil, errorOf(err)
		}
		return runsOf(stream, progress)
	})
}

// Verify compares online with offline, cell by cell, and returns a report per view. progress, unless nil, is called
// between, in this goroutine.
func (c *Client) Verify(ctx context.Context, req VerifyRequest, progress func(Progress)) ([]VerifyReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.operations.Verify(ctx, &pb.VerifyRequest{
		Views: req.Views, Sample: int32(min(req.Sample, maxInt32)), Full: req.Full, Now: timestamp(req.Now),
		Repair: req.Repair,
	}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	var reports []VerifyReport
	err = receive(stream, progress, func(m *pb.VerifyResponse) {
		if report := m.GetReport(); report != nil {
			reports = append(reports, reportOf(report))
		}
	})
	return reports, err
}

const maxInt32 = 1<<31 - 1

// Runs lists the runs of views (none: all), newest first, at most limit (0: all).
func (c *Client) Runs(ctx context.Context, views []string, limit int) ([]Run, error) {
	runs := []Run{}
	err := pages(func(token string) (string, error) {
		out, err := c.operations.ListRuns(ctx, &pb.ListRunsRequest{
			Views: views, Limit: int32(min(limit, maxInt32)), PageSize: pageSize, PageToken: token,
		}, callOptions()...)
		for _, r := range out.GetRuns() {
			runs = append(runs, runOf(r))
		}
		return out.GetNextPageToken(), err
	})
	if err != nil {
		return nil, err
	}
	return runs, nil
}

// Status tells the state of views (none: all).
func (c *Client) Status(ctx context.Context, views []string) ([]ViewStatus, error) {
	status, err := c.ServerStatus(ctx, views)
	if err != nil {
		return nil, err
	}
	return status.Views, nil
}

func viewsOf(messages []*pb.ViewStatus) []ViewStatus {
	statuses := make([]ViewStatus, 0, len(messages))
	for _, v := range messages {
		s := ViewStatus{
			View: v.View, State: v.State, Generation: v.Generation, Written: v.Written, T: timeOf(v.T),
			NewestEvent: timeOf(v.NewestEvent), Lag: v.Lag.AsDuration(), NewestInSource: timeOf(v.NewestInSource),
			NextRun: timeOf(v.NextRun), Failures: v.Failures, Paused: timeOf(v.Paused), PausedBy: v.PausedBy,
			Diverged: timeOf(v.Diverged), Held: v.Held, PendingFiles: v.PendingFiles, Error: v.Error,
		}
		if v.LastRun != nil {
			run := runOf(v.LastRun)
			s.LastRun = &run
		}
		statuses = append(statuses, s)
	}
	return statuses
}

func progressOf(m *pb.Progress) Progress {
	return Progress{View: m.View, Stage: m.Stage, Done: m.Done, Size: m.Size}
}

func reportOf(m *pb.VerifyReport) VerifyReport {
	r := VerifyReport{
		View: m.View, T: timeOf(m.T), ReadTime: timeOf(m.ReadTime), Entities: m.Entities, Cells: m.Cells,
		Equal: m.Equal, Behind: m.Behind, Wrong: m.Wrong, Missing: m.Missing, Extra: m.Extra, Repaired: m.Repaired, Note: m.Note,
	}
	for _, d := range m.Differences {
		r.Diffs = append(r.Diffs, Difference{
			Entity: d.Entity, Feature: d.Feature, Online: d.Online, Offline: d.Offline, Class: d.Class,
		})
	}
	return r
}

// timestamp returns a message for t, nil for the zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timeOf is the reverse of timestamp.
func timeOf(m *timestamppb.Timestamp) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.AsTime()
}
