package rpc

import (
	"context"
	"fmt"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

func (s *operationsService) PlanMaterialize(ctx context.Context, in *pb.PlanMaterializeRequest) (*pb.PlanMaterializeResponse, error) {
	to, err := timeOf(in.To, "to")
	if err != nil {
		return nil, err
	}
	plans, err := s.operations.Plan(ctx, materialize.Request{Views: in.Views, To: to, Full: in.Full, AllowFuture: in.AllowFuture})
	if err != nil {
		return nil, err
	}
	out := &pb.PlanMaterializeResponse{Plans: make([]*pb.RunPlan, 0, len(plans))}
	for _, p := range plans {
		m := &pb.RunPlan{View: p.View, T: timestamp(p.T), Full: p.Full, Reason: p.Reason, Error: p.Error}
		for _, f := range p.Files {
			m.Files = append(m.Files, &pb.PlannedFile{Path: f.Path, Size: f.Size, Why: f.Why})
		}
		out.Plans = append(out.Plans, m)
	}
	return out, nil
}

func (s *operationsService) GetRun(ctx context.Context, in *pb.GetRunRequest) (*pb.GetRunResponse, error) {
	run, err := s.operations.GetRun(ctx, in.Id)
	if err != nil {
		return nil, err
	}
	return &pb.GetRunResponse{Run: runMessage(&run)}, nil
}

func (s *operationsService) CancelRun(ctx context.Context, in *pb.CancelRunRequest) (*pb.CancelRunResponse, error) {
	run, err := s.operations.Cancel(ctx, in.Id, caller(ctx))
	if err != nil {
		return nil, err
	}
	return &pb.CancelRunResponse{Run: runMessage(&run)}, nil
}

// caller is the address of who calls over a network, "" for a caller on this machine.
func caller(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if addr, ok := p.Addr.(*net.TCPAddr); ok {
		return addr.String()
	}
	return ""
}

func (s *operationsService) RetryRun(in *pb.RetryRunRequest, stream grpc.ServerStreamingServer[pb.RetryRunResponse]) error {
	if err := checkRequestID(in.RequestId); err != nil {
		return err
	}
	return withProgress(stream.Context(),
		func(ctx context.Context, progress func(materialize.Progress)) error {
			runs, err := s.operations.Retry(ctx, in.Id, in.RequestId, progress)
			for i := range runs {
				m := &pb.RetryRunResponse{Message: &pb.RetryRunResponse_Run{Run: runMessage(&runs[i])}}
				if sendErr := stream.Send(m); sendErr != nil && err == nil {
					err = sendErr
				}
			}
			return err
		},
		func(p materialize.Progress) error {
			return stream.Send(&pb.RetryRunResponse{Message: &pb.RetryRunResponse_Progress{Progress: progressMessage(p)}})
		})
}

// maxRequestID bounds an id that a caller gives a request, in characters.
const maxRequestID = 64

func checkRequestID(id string) error {
	if utf8.RuneCountInString(id) <= maxRequestID && !strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil
	}
	return &problem.Error{
		Code: problem.Invalid, Field: "request_id",
		Message: fmt.Sprintf("the request id has more than %d characters, or some that can't be printed", maxRequestID),
	}
}

func runMessage(r *materialize.Run) *pb.Run {
	m := &pb.Run{
		Id: r.ID, View: r.View, Revision: r.Revision, Generation: uint64(r.Generation), Trigger: r.Trigger, By: r.By,
		State: string(r.State), Full: r.Full, Reason: r.Reason,
		T: timestamp(r.T), Started: timestamp(r.Started), Finished: timestamp(r.Finished),
		Files: r.Files, RowsRead: r.RowsRead, Written: r.Written, Older: r.Older, Held: r.Held,
		NullKeys: r.NullKeys, Ties: r.Ties, Error: r.Error,
		AskedTo: timestamp(r.Asked.To), AskedFull: r.Asked.Full, Attempt: r.Attempt, RetryOf: r.RetryOf,
		Queued: timestamp(r.Queued), BytesRead: r.BytesRead, BytesWritten: r.BytesWritten,
		CancelAsked: timestamp(r.CancelAsked), CancelBy: r.CancelBy, RequestId: r.RequestID,
	}
	for _, x := range r.Rejects {
		m.Rejects = append(m.Rejects, &pb.Reject{Reason: x.Reason, Rows: x.Rows, Samples: x.Samples})
	}
	for _, p := range r.Phases {
		m.Phases = append(m.Phases, &pb.Phase{Name: p.Name, Took: durationpb.New(p.Took)})
	}
	return m
}
