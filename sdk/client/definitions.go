package client

import (
	"context"
	"time"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// Definitions is how the registry stands to the repository or folder that a server takes definitions from.
type Definitions struct {
	Source    string   // without user and password
	State     string   // "starting", "applied", "kept", "refused", "invalid", "failed"
	Message   string   // why it is not applied, or what differs
	Details   []string // problems with their positions, or what would break
	Seen      string   // the newest commit, or the digest of a folder
	SeenAt    time.Time
	Checked   time.Time // when the source answered last
	Applied   string    // the commit that was applied last
	AppliedAt time.Time
	Revision  int64 // that it became
	Failures  int64 // looks in a row that failed
}

// ServerStatus is what a server tells of itself.
type ServerStatus struct {
	Views       []ViewStatus
	Definitions *Definitions // nil where it takes definitions from nowhere
}

// ServerStatus tells the state of views (none: all), and of the source of definitions.
func (c *Client) ServerStatus(ctx context.Context, views []string) (*ServerStatus, error) {
	out, err := c.operations.GetStatus(ctx, &pb.GetStatusRequest{Views: views}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	return &ServerStatus{Views: viewsOf(out.Views), Definitions: definitionsOf(out.Definitions)}, nil
}

func definitionsOf(m *pb.Definitions) *Definitions {
	if m == nil {
		return nil
	}
	return &Definitions{
		Source: m.Source, State: m.State, Message: m.Message, Details: m.Details, Seen: m.Seen, SeenAt: timeOf(m.SeenAt),
		Checked: timeOf(m.Checked), Applied: m.Applied, AppliedAt: timeOf(m.AppliedAt), Revision: m.Revision, Failures: m.Failures,
	}
}
