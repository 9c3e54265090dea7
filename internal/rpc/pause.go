package rpc

import (
	"context"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

func (s *operationsService) PauseSchedules(
	ctx context.Context, in *pb.PauseSchedulesRequest,
) (*pb.PauseSchedulesResponse, error) {
	views, err := s.operations.Pause(ctx, in.Views)
	if err != nil {
		return nil, err
	}
	return &pb.PauseSchedulesResponse{Views: views}, nil
}

func (s *operationsService) ResumeSchedules(
	ctx context.Context, in *pb.ResumeSchedulesRequest,
) (*pb.ResumeSchedulesResponse, error) {
	views, err := s.operations.Resume(ctx, in.Views)
	if err != nil {
		return nil, err
	}
	return &pb.ResumeSchedulesResponse{Views: views}, nil
}
