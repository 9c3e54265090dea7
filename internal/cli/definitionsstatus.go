package cli

import (
	"time"

	"github.com/provender-dev/provender/sdk/client"
)

// definitionsStatus is how the registry stands to the source of definitions.
type definitionsStatus struct {
	Source    string     `json:"source"`
	State     string     `json:"state"`
	Message   string     `json:"message,omitempty"`
	Details   []string   `json:"details,omitempty"`
	Seen      string     `json:"seen,omitempty"`
	SeenAt    *time.Time `json:"seen_at,omitempty"`
	Checked   *time.Time `json:"checked,omitempty"`
	Applied   string     `json:"applied,omitempty"`
	AppliedAt *time.Time `json:"applied_at,omitempty"`
	Revision  int64      `json:"revision,omitempty"`
	Failures  int64      `json:"failures"`
}

func newDefinitionsStatus(d *client.Definitions) *definitionsStatus {
	if d == nil {
		return nil
	}
	return &definitionsStatus{
		Source: d.Source, State: d.State, Message: d.Message, Details: d.Details, Seen: d.Seen, SeenAt: timePointer(d.SeenAt),
		Checked: timePointer(d.Checked), Applied: d.Applied, AppliedAt: timePointer(d.AppliedAt), Revision: d.Revision, Failures: d.Failures,
	}
}

func (d *definitionsStatus) text(p *printer) {
	p.printf("Definitions from %s: %s\n", d.Source, p.state(d.State))
	if d.Message != "" {
		p.printf("  %s\n", d.Message)
	}
	for _, line := range d.Details {
		p.printf("  %s\n", line)
	}
	if d.Seen != "" {
		p.printf("  newest: %s, seen %s\n", shortID(d.Seen), pointedSeconds(d.SeenAt))
	}
	if d.Applied != "" {
		p.printf("  applied: %s, %s, as revision %d\n", shortID(d.Applied), pointedSeconds(d.AppliedAt), d.Revision)
	}
	p.printf("\n")
}

// shortID is as much of a commit or digest as tells it from others.
func shortID(id string) string { return id[:min(len(id), 19)] }
