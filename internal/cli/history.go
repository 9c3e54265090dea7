package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) historyCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:     "history",
		Short:   "List the revisions of the definitions, newest first",
		Example: "  provender history --limit 5",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit is %d: want a number of revisions, 0 for all", limit)
			}
			r, err := a.revisions(c.Context(), limit)
			if err != nil {
				return err
			}
			return a.show(r)
		},
	}
	c.Flags().IntVar(&limit, "limit", 20, "at most so many; 0: all")
	return c
}

func (a *app) revisions(ctx context.Context, limit int) (*historyReport, error) {
	r := &historyReport{Revisions: []revision{}}
	if a.server != "" {
		return r, a.remote(ctx, func(ctx context.Context, c *client.Client) error {
			revs, err := c.Revisions(ctx, limit)
			for _, rev := range revs {
				r.add(registry.Revision{
					Number: rev.Number, Digest: rev.Digest, Applied: rev.Applied, By: rev.By, Commit: rev.Commit, Tool: rev.Tool, Summary: rev.Summary,
				})
			}
			return err
		})
	}
	return r, a.withProject(func(p *server.Project) error {
		reg, err := p.Registry(ctx)
		if err != nil {
			return err
		}
		revs, err := reg.History(ctx, limit)
		for _, rev := range revs {
			r.add(rev)
		}
		return err
	})
}

type historyReport struct {
	Version   formatVersion `json:"version"`
	Revisions []revision    `json:"revisions"`
}

type revision struct {
	Number  int64     `json:"number"`
	Digest  string    `json:"digest"`
	Applied time.Time `json:"applied"`
	By      string    `json:"by"`
	Commit  string    `json:"commit,omitempty"`
	Tool    string    `json:"tool"`
	Summary string    `json:"summary"`
}

func (r *historyReport) add(rev registry.Revision) {
	r.Revisions = append(r.Revisions, revision{rev.Number, rev.Digest, rev.Applied.UTC(), rev.By, rev.Commit, rev.Tool, rev.Summary})
}

func (r *historyReport) text(p *printer) {
	if len(r.Revisions) == 0 {
		p.printf("Nothing was applied yet.\n")
		return
	}
	rows := make([][]string, len(r.Revisions))
	for i, rev := range r.Revisions {
		commit := rev.Commit
		if len(commit) > 12 {
			commit = commit[:12]
		}
		rows[i] = []string{fmt.Sprint(rev.Number), instant(rev.Applied), rev.By, orDash(commit), rev.Summary}
	}
	p.table([]string{"REVISION#", "APPLIED", "BY", "COMMIT", "CHANGES"}, rows)
}
