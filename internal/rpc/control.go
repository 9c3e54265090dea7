package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/control"
	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/registry/plan"
)

// Control plans and applies definitions; *control.Service does.
type Control interface {
	Plan(ctx context.Context, files []definition.File, against int64) (*plan.Plan, diag.Set, error)
	PlanRollback(ctx context.Context, number int64) (*plan.Plan, error)
	Apply(ctx context.Context, saved *plan.Plan, o control.ApplyOptions) (registry.Revision, error)
}

// What a request may bring, beside the size of its message. A file's own size is a limit of definitions.
const (
	maxDefinitionFiles = 10_000
	maxFileName        = 4096 // bytes
	maxAuthor          = 256  // bytes of a name or a commit
)

// uncontrolled is the error of a server that reads definitions alone.
var uncontrolled = status.Error(codes.Unimplemented, "this server does not change definitions")

func (s *registryService) GetRevision(ctx context.Context, in *pb.GetRevisionRequest) (*pb.GetRevisionResponse, error) {
	if err := checkRevision(in.Number, "number"); err != nil {
		return nil, err
	}
	number := in.Number
	if number == 0 {
		current, _, err := s.revisions.Current(ctx)
		if err != nil || current.Number == 0 {
			return &pb.GetRevisionResponse{Revision: revisionMessage(&current)}, err
		}
		number = current.Number
	}
	rev, _, err := s.revisions.At(ctx, number)
	if err != nil {
		return nil, err
	}
	return &pb.GetRevisionResponse{Revision: revisionMessage(&rev), Plan: rev.Plan}, nil
}

func (s *registryService) PlanDefinitions(
	ctx context.Context, in *pb.PlanDefinitionsRequest,
) (*pb.PlanDefinitionsResponse, error) {
	if s.control == nil {
		return nil, uncontrolled
	}
	if err := checkRevision(in.Against, "against"); err != nil {
		return nil, err
	}
	files, err := definitionFiles(in.Files)
	if err != nil {
		return nil, err
	}
	made, warnings, err := s.control.Plan(ctx, files, in.Against)
	var found diag.Set
	if errors.As(err, &found) {
		return &pb.PlanDefinitionsResponse{Problems: diagnosticMessages(found), Warnings: diagnosticMessages(warnings)}, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := made.Marshal()
	return &pb.PlanDefinitionsResponse{Plan: raw, Warnings: diagnosticMessages(warnings)}, err
}

func (s *registryService) PlanRollback(ctx context.Context, in *pb.PlanRollbackRequest) (*pb.PlanRollbackResponse, error) {
	if s.control == nil {
		return nil, uncontrolled
	}
	if in.Revision <= 0 {
		return nil, &problem.Error{
			Code: problem.Invalid, Message: fmt.Sprintf("revision %d cannot be gone back to", in.Revision), Field: "revision",
			Suggestion: "see provender history",
		}
	}
	made, err := s.control.PlanRollback(ctx, in.Revision)
	if err != nil {
		return nil, err
	}
	raw, err := made.Marshal()
	return &pb.PlanRollbackResponse{Plan: raw}, err
}

func (s *registryService) ApplyPlan(ctx context.Context, in *pb.ApplyPlanRequest) (*pb.ApplyPlanResponse, error) {
	if s.control == nil {
		return nil, uncontrolled
	}
	saved, err := plan.Unmarshal(in.Plan)
	var wrong *problem.Error
	if errors.As(err, &wrong) && wrong.Field == "" {
		wrong.Field = "plan"
	}
	if err != nil {
		return nil, err
	}
	by, err := author(ctx, in.By)
	if err != nil {
		return nil, err
	}
	if err := checkWord(in.Commit, "commit"); err != nil {
		return nil, err
	}
	rev, err := s.control.Apply(ctx, saved, control.ApplyOptions{AllowBreaking: in.AllowBreaking, By: by, Commit: in.Commit})
	if err != nil {
		return nil, err
	}
	return &pb.ApplyPlanResponse{Revision: revisionMessage(&rev)}, nil
}

// author is who changes definitions, for the record: who has proven it, else who the caller says to be, and the address
// of one that calls over a network.
func author(ctx context.Context, says string) (string, error) {
	if who, ok := auth.From(ctx); ok {
		return who.Name, nil
	}
	if err := checkWord(says, "by"); err != nil {
		return "", err
	}
	if says == "" {
		says = "unknown"
	}
	if from := caller(ctx); from != "" {
		says += " from " + from
	}
	return says, nil
}

// checkWord refuses a text of a record that would not stay in its line.
func checkWord(text, field string) error {
	invalid := func(what string) error {
		return &problem.Error{Code: problem.Invalid, Message: field + " " + what, Field: field}
	}
	switch {
	case len(text) > maxAuthor:
		return invalid(fmt.Sprintf("has %d bytes, at most %d are kept", len(text), maxAuthor))
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("has characters that can't be printed")
	}
	return nil
}

// definitionFiles are the files of a request, each under a name of its own.
func definitionFiles(in []*pb.DefinitionFile) ([]definition.File, error) {
	if len(in) > maxDefinitionFiles {
		return nil, &problem.Error{
			Code: problem.Exhausted, Message: fmt.Sprintf("%d definition files, at most %d are read", len(in), maxDefinitionFiles),
			Field: "files", Suggestion: "join some: documents may share a file",
		}
	}
	files := make([]definition.File, len(in))
	seen := make(map[string]bool, len(in))
	for i, f := range in {
		field := fmt.Sprintf("files[%d].name", i)
		invalid := func(what string) error {
			return &problem.Error{Code: problem.Invalid, Message: field + ": " + what, Field: field}
		}
		switch {
		case f.Name == "":
			return nil, invalid("a file without a name")
		case len(f.Name) > maxFileName:
			return nil, invalid(fmt.Sprintf("%d bytes, at most %d are taken", len(f.Name), maxFileName))
		case seen[f.Name]:
			return nil, invalid(fmt.Sprintf("%q is the name of another file", f.Name))
		}
		seen[f.Name] = true
		files[i] = definition.File{Name: f.Name, Content: f.Content}
	}
	return files, nil
}

func diagnosticMessages(set diag.Set) []*pb.Diagnostic {
	out := make([]*pb.Diagnostic, 0, len(set))
	for _, d := range set {
		out = append(out, &pb.Diagnostic{
			File: valid(d.File), Line: int32(d.Line), Col: int32(d.Col), Code: d.Code, Message: valid(d.Message), Hint: valid(d.Hint),
		})
	}
	return out
}

// valid is a text for a message, which takes no other than UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
