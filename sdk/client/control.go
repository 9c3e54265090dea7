package client

import (
	"context"
	"strings"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// DefinitionFile is one YAML file of a project.
type DefinitionFile struct {
	Name    string // what problems are reported under; no file of the server
	Content []byte
}

// Diagnostic is one problem of a file.
type Diagnostic struct {
	File    string
	Line    int    // from 1; 0 where it is the whole file
	Col     int    // in characters, from 1; 0 where it is the whole line
	Code    string // "unknown-key": stable
	Message string
	Hint    string
}

// Plan is what applying definition files would change, or what is wrong with them.
type Plan struct {
	JSON     []byte // as a plan file has it; nil where there are problems
	Problems []Diagnostic
	Warnings []Diagnostic
}

// Plan tells what applying definition files would change in a revision (0: the current one). It changes nothing. Only a
// plan against the current revision can be applied.
func (c *Client) Plan(ctx context.Context, files []DefinitionFile, against int64) (*Plan, error) {
	in := &pb.PlanDefinitionsRequest{Files: make([]*pb.DefinitionFile, len(files)), Against: against}
	for i, f := range files {
		in.Files[i] = &pb.DefinitionFile{Name: strings.ToValidUTF8(f.Name, "\uFFFD"), Content: f.Content}
	}
	out, err := c.registry.PlanDefinitions(ctx, in, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	return &Plan{JSON: out.Plan, Problems: diagnosticsOf(out.Problems), Warnings: diagnosticsOf(out.Warnings)}, nil
}

// PlanRollback returns the plan, as a plan file has it, that makes the next revision equal to an earlier one.
func (c *Client) PlanRollback(ctx context.Context, revision int64) ([]byte, error) {
	out, err := c.registry.PlanRollback(ctx, &pb.PlanRollbackRequest{Revision: revision}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	return out.Plan, nil
}

// ApplyRequest asks to do what a plan says.
type ApplyRequest struct {
	Plan          []byte // as a plan file has it
	AllowBreaking bool   // although it breaks what services use
	Commit        string // Git commit of the definitions, "" if unknown
	By            string // user@host, where the call is not authenticated
}

// Apply does exactly what a plan says, in one transaction, and returns the revision that it has become; the current one
// where there was nothing to do. CodeConflict where the registry has moved since the plan was made.
func (c *Client) Apply(ctx context.Context, req ApplyRequest) (Revision, error) {
	out, err := c.registry.ApplyPlan(ctx, &pb.ApplyPlanRequest{
		Plan: req.Plan, AllowBreaking: req.AllowBreaking, Commit: req.Commit, By: req.By,
	}, callOptions()...)
	if err != nil {
		return Revision{}, errorOf(err)
	}
	return revisionOf(out.Revision), nil
}

// Revision returns one revision (0: the current one) and the plan that made it, as a plan file has it; nil for revisions
// that older versions made.
func (c *Client) Revision(ctx context.Context, number int64) (Revision, []byte, error) {
	out, err := c.registry.GetRevision(ctx, &pb.GetRevisionRequest{Number: number}, callOptions()...)
	if err != nil {
		return Revision{}, nil, errorOf(err)
	}
	return revisionOf(out.Revision), out.Plan, nil
}

func diagnosticsOf(all []*pb.Diagnostic) []Diagnostic {
	var out []Diagnostic
	for _, d := range all {
		out = append(out, Diagnostic{
			File: d.File, Line: int(d.Line), Col: int(d.Col), Code: d.Code, Message: d.Message, Hint: d.Hint,
		})
	}
	return out
}
