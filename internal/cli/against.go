package cli

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/sdk/client"
)

// gitPrefix begins a commit, branch or tag in --against.
const gitPrefix = "git:"

// planAgainst compares the project's files with what --against names: a revision, a commit or a folder. A plan that is to
// be saved must lead on from the current revision.
func (a *app) planAgainst(ctx context.Context, against string, save bool) (made *planReport, err error) {
	revision, err := strconv.ParseInt(against, 10, 64)
	if err == nil {
		if revision <= 0 {
			return nil, usagef("--against %s: revisions count from 1", against)
		}
		err = a.withRegistry(ctx, func(ctx context.Context, c *client.Client) error {
			if save {
				if err := current(ctx, c, revision); err != nil {
					return err
				}
			}
			made, err = a.makePlan(ctx, c, revision)
			return err
		})
		return made, err
	}
	if save {
		return nil, notToSave("--against " + against)
	}
	err = a.withProject(func(p *server.Project) error {
		made, err = a.compare(ctx, p, against)
		return err
	})
	return made, err
}

// current refuses any other revision than the current one.
func current(ctx context.Context, c *client.Client, revision int64) error {
	rev, _, err := c.Revision(ctx, 0)
	if err == nil && rev.Number != revision {
		err = notToSave("revision " + strconv.FormatInt(revision, 10) + " is not the current one: a plan against it")
	}
	return err
}

func notToSave(what string) error {
	err := problem.New(problem.Invalid, "%s can't be saved with --out: only a plan against the current revision can be applied", what)
	err.Suggestion = "leave --out or --against out"
	return err
}

// compare compares the project's files with those of a commit or a folder. No registry is needed.
func (a *app) compare(ctx context.Context, p *server.Project, against string) (*planReport, error) {
	files, err := a.definitionFiles()
	if err != nil {
		return nil, err
	}
	var others []definition.File
	if ref, ok := strings.CutPrefix(against, gitPrefix); ok {
		others, err = gitFiles(ctx, a.dir, ref)
	} else {
		others, err = folderFiles(against)
	}
	if err != nil {
		return nil, problems(err)
	}
	made, warnings, err := p.Comparison().PlanAgainst(ctx, files, others)
	if err != nil {
		return nil, problems(err)
	}
	r := newPlanReport(made, warnings)
	r.Against = against
	return r, nil
}

// folderFiles reads the definition files of a folder.
func folderFiles(dir string) ([]definition.File, error) {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return definition.Read(dir)
	}
	e := problem.New(problem.Invalid, "--against %s is no revision, git:REF or folder", dir)
	e.Err = err
	if err != nil && !os.IsNotExist(err) {
		e.Message += ": " + err.Error()
	}
	return nil, e
}
