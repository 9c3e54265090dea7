package client

import (
	"context"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// Pause lets the schedules of views (none: all that have one) rest until Resume, and returns the views whose schedules
// rest now. Runs that are asked for go on.
func (c *Client) Pause(ctx context.Context, views []string) ([]string, error) {
	out, err := c.operations.PauseSchedules(ctx, &pb.PauseSchedulesRequest{Views: views}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	return out.Views, nil
}

// Resume ends the rest of the schedules of views (none: all that rest), and returns the views whose schedules go on.
func (c *Client) Resume(ctx context.Context, views []string) ([]string, error) {
	out, err := c.operations.ResumeSchedules(ctx, &pb.ResumeSchedulesRequest{Views: views}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	return out.Views, nil
}
