package rpc

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/provender-dev/provender/internal/problem"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

type registryService struct {
	pb.UnimplementedRegistryServiceServer
	revisions Revisions
	control   Control
	snapshot  func() *registry.Snapshot
}

func (s *registryService) ListDefinitions(
	ctx context.Context, in *pb.ListDefinitionsRequest,
) (*pb.ListDefinitionsResponse, error) {
	if _, ok := kindNames[in.Kind]; !ok && in.Kind != pb.DefinitionKind_DEFINITION_KIND_UNSPECIFIED {
		return nil, unknownKind(in.Kind)
	}
	p, err := newPage(0, in.PageSize, in.PageToken, "definitions", in.Kind, in.Revision)
	if err != nil {
		return nil, err
	}
	rev, defs, err := s.read(ctx, cmp.Or(p.at, in.Revision))
	if err != nil {
		return nil, err
	}
	out := &pb.ListDefinitionsResponse{Revision: revisionMessage(&rev)}
	skip, want := p.given, p.fetch()
	err = each(defs, in.Kind, func(kind pb.DefinitionKind, name string, value any) error {
		if skip > 0 {
			skip--
			return nil
		}
		if want > 0 && len(out.Definitions) == want {
			return nil
		}
		d, err := definitionMessage(kind, name, value)
		out.Definitions = append(out.Definitions, d)
		return err
	})
	out.Definitions, out.NextPageToken = pageOf(&p, out.Definitions, func(*pb.Definition) int64 { return rev.Number })
	return out, err
}

func (s *registryService) GetDefinition(ctx context.Context, in *pb.GetDefinitionRequest) (*pb.GetDefinitionResponse, error) {
	if _, ok := kindNames[in.Kind]; !ok {
		return nil, unknownKind(in.Kind)
	}
	rev, defs, err := s.read(ctx, in.Revision)
	if err != nil {
		return nil, err
	}
	out := &pb.GetDefinitionResponse{Revision: revisionMessage(&rev)}
	var names []string
	err = each(defs, in.Kind, func(kind pb.DefinitionKind, name string, value any) (err error) {
		names = append(names, name)
		if name == in.Name {
			out.Definition, err = definitionMessage(kind, name, value)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if out.Definition == nil {
		return nil, registry.NotFound(kindNames[in.Kind], in.Name, rev.Number, names)
	}
	return out, nil
}

func (s *registryService) ListRevisions(ctx context.Context, in *pb.ListRevisionsRequest) (*pb.ListRevisionsResponse, error) {
	p, err := newPage(in.Limit, in.PageSize, in.PageToken, "revisions")
	if err != nil {
		return nil, err
	}
	revs, err := s.revisions.HistoryBefore(ctx, p.at, p.fetch())
	if err != nil {
		return nil, err
	}
	revs, next := pageOf(&p, revs, func(r registry.Revision) int64 { return r.Number })
	out := &pb.ListRevisionsResponse{Revisions: make([]*pb.Revision, 0, len(revs)), NextPageToken: next}
	for i := range revs {
		out.Revisions = append(out.Revisions, revisionMessage(&revs[i]))
	}
	return out, nil
}

// read returns a revision, 0 for the current one. Where the registry is away, there is the one that the server answers by.
func (s *registryService) read(ctx context.Context, number int64) (registry.Revision, *registry.Definitions, error) {
	if err := checkRevision(number, "revision"); err != nil {
		return registry.Revision{}, nil, err
	}
	read := s.revisions.Current
	if number > 0 {
		read = func(ctx context.Context) (registry.Revision, *registry.Definitions, error) {
			return s.revisions.At(ctx, number)
		}
	}
	rev, defs, err := read(ctx)
	if problem.CodeOf(err) == problem.Unavailable && s.snapshot != nil {
		if snapshot := s.snapshot(); snapshot != nil && (number == 0 || number == snapshot.Revision) {
			return registry.Revision{Number: snapshot.Revision, Digest: snapshot.Digest}, snapshot.Definitions, nil
		}
	}
	return rev, defs, err
}

func checkRevision(number int64, field string) error {
	if number >= 0 {
		return nil
	}
	return &problem.Error{
		Code: problem.Invalid, Message: "revision " + strconv.FormatInt(number, 10) + " cannot be", Field: field,
	}
}

// kindNames are the kinds as messages call them.
var kindNames = map[pb.DefinitionKind]string{
	pb.DefinitionKind_DEFINITION_KIND_ENTITY:          "entity",
	pb.DefinitionKind_DEFINITION_KIND_SOURCE:          "source",
	pb.DefinitionKind_DEFINITION_KIND_FEATURE_VIEW:    "feature view",
	pb.DefinitionKind_DEFINITION_KIND_FEATURE_SERVICE: "feature service",
}

func unknownKind(kind pb.DefinitionKind) error {
	return &problem.Error{
		Code: problem.Invalid, Message: fmt.Sprintf("kind %s is none of definitions", kind), Field: "kind",
		Suggestion: "DEFINITION_KIND_ENTITY, _SOURCE, _FEATURE_VIEW or _FEATURE_SERVICE",
	}
}

// each calls fn for every definition of a kind, unspecified for all, until its error.
func each(
	defs *registry.Definitions, kind pb.DefinitionKind, fn func(kind pb.DefinitionKind, name string, value any) error,
) error {
	wanted := func(k pb.DefinitionKind) bool {
		return kind == k || kind == pb.DefinitionKind_DEFINITION_KIND_UNSPECIFIED
	}
	if k := pb.DefinitionKind_DEFINITION_KIND_ENTITY; wanted(k) {
		for _, d := range defs.Entities {
			if err := fn(k, d.Name, d); err != nil {
				return err
			}
		}
	}
	if k := pb.DefinitionKind_DEFINITION_KIND_SOURCE; wanted(k) {
		for _, d := range defs.Sources {
			if err := fn(k, d.Name, d); err != nil {
				return err
			}
		}
	}
	if k := pb.DefinitionKind_DEFINITION_KIND_FEATURE_VIEW; wanted(k) {
		for _, d := range defs.Views {
			if err := fn(k, d.Name, d); err != nil {
				return err
			}
		}
	}
	if k := pb.DefinitionKind_DEFINITION_KIND_FEATURE_SERVICE; wanted(k) {
		for _, d := range defs.Services {
			if err := fn(k, d.Name, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func definitionMessage(kind pb.DefinitionKind, name string, value any) (*pb.Definition, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", kindNames[kind], name, err)
	}
	return &pb.Definition{Kind: kind, Name: name, Json: string(b)}, nil
}

func revisionMessage(r *registry.Revision) *pb.Revision {
	return &pb.Revision{
		Number: r.Number, Digest: r.Digest, Applied: timestamp(r.Applied), By: r.By, Commit: r.Commit, Tool: r.Tool,
		Summary: r.Summary, RollbackOf: r.RollbackOf,
	}
}
