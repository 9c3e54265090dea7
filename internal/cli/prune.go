package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) pruneCommand() *cobra.Command {
	dryRun := false
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove from the online store what nothing needs any more",
		Long: `Remove generations from the online store that nothing needs: retired and abandoned ones, those of views that the definitions
no longer have or have as online: false, and rows of this registry that no record knows. Nothing of others is touched.
It goes at a bounded rate; one that is cut short is repeated.`,
		Example: "  provender prune --dry-run\n  provender prune",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.prune(c.Context(), dryRun) },
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would be removed; change nothing")
	return c
}

func (a *app) prune(ctx context.Context, dryRun bool) error {
	var found []client.Pruned
	err := a.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		p := a.progress()
		defer p.close()
		var err error
		found, err = c.Prune(ctx, dryRun, func(s client.Progress) { p.update(step(s)) })
		return err
	})
	// What went is told even where the rest could not.
	if len(found) > 0 || err == nil {
		if err := a.show(newPruneReport(found, dryRun)); err != nil {
			return err
		}
	}
	return err
}

type pruneReport struct {
	Version formatVersion  `json:"version"`
	DryRun  bool           `json:"dry_run"`
	Removed []prunedReport `json:"removed"`
}

type prunedReport struct {
	Generation uint64 `json:"generation"`
	View       string `json:"view,omitempty"`
	Why        string `json:"why"`
}

func newPruneReport(found []client.Pruned, dryRun bool) *pruneReport {
	r := &pruneReport{DryRun: dryRun, Removed: make([]prunedReport, len(found))}
	for i, p := range found {
		r.Removed[i] = prunedReport(p)
	}
	return r
}

func (r *pruneReport) text(p *printer) {
	if len(r.Removed) == 0 {
		p.printf("Nothing to remove.\n")
		return
	}
	rows := make([][]string, len(r.Removed))
	for i, one := range r.Removed {
		view := one.View
		if view == "" {
			view = "-"
		}
		rows[i] = []string{fmt.Sprint(one.Generation), view, one.Why}
	}
	p.table([]string{"GENERATION#", "VIEW", "WHY"}, rows)
	if r.DryRun {
		p.printf("Nothing was removed: this is what prune would remove.\n")
	}
}
