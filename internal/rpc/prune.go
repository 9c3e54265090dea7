package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/materialize"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

func (s *operationsService) Prune(in *pb.PruneRequest, stream grpc.ServerStreamingServer[pb.PruneResponse]) error {
	return withProgress(stream.Context(),
		func(ctx context.Context, progress func(materialize.Progress)) error {
			all, err := s.operations.Prune(ctx, in.DryRun, progress)
			for _, p := range all {
				// What went is told even where the rest could not.
				m := &pb.PruneResponse{Message: &pb.PruneResponse_Pruned{
					Pruned: &pb.Pruned{Generation: uint64(p.Generation), View: p.View, Why: p.Why},
				}}
				if sendErr := stream.Send(m); sendErr != nil && err == nil {
					err = sendErr
				}
			}
			return err
		},
		func(p materialize.Progress) error {
			return stream.Send(&pb.PruneResponse{Message: &pb.PruneResponse_Progress{Progress: progressMessage(p)}})
		})
}
