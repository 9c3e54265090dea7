package rpc

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/provender-dev/provender/control/gitops"
	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

type operationsService struct {
	pb.UnimplementedOperationsServiceServer
	operations  Operations
	definitions func() (gitops.Status, bool) // may be nil
}

func (s *operationsService) Materialize(
	in *pb.MaterializeRequest, stream grpc.ServerStreamingServer[pb.MaterializeResponse],
) error {
	to, err := timeOf(in.To, "to")
	if err != nil {
		return err
	}
	if err := checkRequestID(in.RequestId); err != nil {
		return err
	}
	req := materialize.Request{
		Views: in.Views, To: to, Full: in.Full, AllowFuture: in.AllowFuture, Trigger: materialize.TriggerCommand,
		RequestID: in.RequestId,
	}
	return withProgress(stream.Context(),
		func(ctx context.Context, progress func(materialize.Progress)) error {
			runs, err := s.operations.Run(ctx, req, progress)
			for i := range runs {
				// What ran is told even where a view failed.
				m := &pb.MaterializeResponse{Message: &pb.MaterializeResponse_Run{Run: runMessage(&runs[i])}}
				if sendErr := stream.Send(m); sendErr != nil && err == nil {
					err = sendErr
				}
			}
			return err
		},
		func(p materialize.Progress) error {
			return stream.Send(&pb.MaterializeResponse{Message: &pb.MaterializeResponse_Progress{Progress: progressMessage(p)}})
		})
}

func (s *operationsService) Verify(in *pb.VerifyRequest, stream grpc.ServerStreamingServer[pb.VerifyResponse]) error {
	now, err := timeOf(in.Now, "now")
	if err != nil {
		return err
	}
	if in.Repair {
		if err := auth.Need(stream.Context(), "Verify with repair", auth.Write); err != nil {
			return err
		}
	}
	if in.Sample < 0 {
		return &problem.Error{Code: problem.Invalid, Message: "a negative sample", Field: "sample"}
	}
	req := materialize.VerifyRequest{Views: in.Views, Sample: int(in.Sample), Full: in.Full, Now: now, Repair: in.Repair}
	return withProgress(stream.Context(),
		func(ctx context.Context, progress func(materialize.Progress)) error {
			reports, err := s.operations.Verify(ctx, req, progress)
			for i := range reports {
				m := &pb.VerifyResponse{Message: &pb.VerifyResponse_Report{Report: reportMessage(&reports[i])}}
				if sendErr := stream.Send(m); sendErr != nil && err == nil {
					err = sendErr
				}
			}
			return err
		},
		func(p materialize.Progress) error {
			return stream.Send(&pb.VerifyResponse{Message: &pb.VerifyResponse_Progress{Progress: progressMessage(p)}})
		})
}

// progressEvery bounds how often one stage of one view is told.
const progressEvery = 50 * time.Millisecond

// withProgress runs work, sending its progress: every change of view or stage, else the newest from time to time. Calls
// of progress may come from several goroutines, none after work has returned. A caller that is gone stops the work.
func withProgress(
	ctx context.Context,
	work func(context.Context, func(materialize.Progress)) error,
	send func(materialize.Progress) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu   sync.Mutex
		last materialize.Progress
		sent time.Time
	)
	return work(ctx, func(p materialize.Progress) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		same, ended := p.View == last.View && p.Stage == last.Stage, p.Size > 0 && p.Done >= p.Size
		if same && !ended && now.Sub(sent) < progressEvery {
			return
		}
		last, sent = p, now
		if err := send(p); err != nil {
			cancel(err)
		}
	})
}

func (s *operationsService) ListRuns(ctx context.Context, in *pb.ListRunsRequest) (*pb.ListRunsResponse, error) {
	p, err := newPage(in.Limit, in.PageSize, in.PageToken, "runs", in.Views)
	if err != nil {
		return nil, err
	}
	runs, err := s.operations.RunsBefore(ctx, in.Views, p.at, p.fetch())
	if err != nil {
		return nil, err
	}
	runs, next := pageOf(&p, runs, func(r materialize.Run) int64 { return r.ID })
	out := &pb.ListRunsResponse{Runs: make([]*pb.Run, 0, len(runs)), NextPageToken: next}
	for i := range runs {
		out.Runs = append(out.Runs, runMessage(&runs[i]))
	}
	return out, nil
}

func (s *operationsService) GetStatus(ctx context.Context, in *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	views, err := s.operations.Status(ctx, in.Views)
	if err != nil {
		return nil, err
	}
	out := &pb.GetStatusResponse{Views: make([]*pb.ViewStatus, 0, len(views))}
	for i := range views {
		out.Views = append(out.Views, statusMessage(&views[i]))
	}
	if s.definitions != nil {
		if status, ok := s.definitions(); ok {
			out.Definitions = definitionsMessage(&status)
		}
	}
	return out, nil
}

func definitionsMessage(s *gitops.Status) *pb.Definitions {
	return &pb.Definitions{
		Source: s.Source, State: string(s.State), Message: s.Message, Details: s.Details, Seen: s.Seen, SeenAt: timestamp(s.SeenAt),
		Checked: timestamp(s.Checked), Applied: s.Applied, AppliedAt: timestamp(s.AppliedAt), Revision: s.Revision, Failures: s.Failures,
	}
}

func progressMessage(p materialize.Progress) *pb.Progress {
	return &pb.Progress{View: p.View, Stage: p.Stage, Done: p.Done, Size: p.Size}
}

func statusMessage(v *materialize.ViewStatus) *pb.ViewStatus {
	m := &pb.ViewStatus{
		View: v.View, State: v.State, Generation: uint64(v.Generation), Written: v.Written, T: timestamp(v.T),
		NewestEvent: timestamp(v.NewestEvent), NewestInSource: timestamp(v.NewestInSource), NextRun: timestamp(v.NextRun),
		Failures: v.Failures, Paused: timestamp(v.Paused), PausedBy: v.PausedBy, Diverged: timestamp(v.Diverged),
		Held: v.Held, PendingFiles: v.PendingFiles, Error: v.Error,
	}
	if !v.NewestEvent.IsZero() {
		m.Lag = durationpb.New(v.Lag)
	}
	if v.LastRun != nil {
		m.LastRun = runMessage(v.LastRun)
	}
	return m
}

func reportMessage(r *materialize.VerifyReport) *pb.VerifyReport {
	m := &pb.VerifyReport{
		View: r.View, T: timestamp(r.T), ReadTime: timestamp(r.ReadTime), Entities: r.Entities, Cells: r.Cells,
		Equal: r.Equal, Behind: r.Behind, Wrong: r.Wrong, Missing: r.Missing, Extra: r.Extra, Repaired: r.Repaired, Note: r.Note,
	}
	for _, d := range r.Diffs {
		m.Differences = append(m.Differences, &pb.Difference{
			Entity: d.Entity, Feature: d.Feature, Online: d.Online, Offline: d.Offline, Class: d.Class,
		})
	}
	return m
}

// timestamp returns a message for t, nil for the zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timeOf is the reverse of timestamp for a request's field.
func timeOf(t *timestamppb.Timestamp, field string) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, &problem.Error{
			Code: problem.Invalid, Message: "the time is outside of years 0001 to 9999, or its nanoseconds outside of a second",
			Field: field, Err: err,
		}
	}
	return t.AsTime(), nil
}
