package client

import (
	"context"
	"encoding/json"
	"time"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// DefinitionKind is a kind of definition, as definition files write it.
type DefinitionKind string

// The kinds of definitions.
const (
	Entity         DefinitionKind = "Entity"
	Source         DefinitionKind = "Source"
	FeatureView    DefinitionKind = "FeatureView"
	FeatureService DefinitionKind = "FeatureService"
)

var kindMessages = map[DefinitionKind]pb.DefinitionKind{
	"":             pb.DefinitionKind_DEFINITION_KIND_UNSPECIFIED,
	Entity:         pb.DefinitionKind_DEFINITION_KIND_ENTITY,
	Source:         pb.DefinitionKind_DEFINITION_KIND_SOURCE,
	FeatureView:    pb.DefinitionKind_DEFINITION_KIND_FEATURE_VIEW,
	FeatureService: pb.DefinitionKind_DEFINITION_KIND_FEATURE_SERVICE,
}

var kindsOfMessages = func() map[pb.DefinitionKind]DefinitionKind {
	m := make(map[pb.DefinitionKind]DefinitionKind, len(kindMessages))
	for k, p := range kindMessages {
		m[p] = k
	}
	return m
}()

// Definition is one entity, source, view or service.
type Definition struct {
	Kind DefinitionKind
	Name string
	JSON json.RawMessage // an object
}

// Revision is the record of one apply. Number 0: nothing was applied yet.
type Revision struct {
	Number  int64
	Digest  string
	Applied time.Time
	By      string // user@host
	Commit  string // Git commit of the definitions, "" if unknown
	Tool    string // Provender's version
	Summary string // "2 added, 1 changed"
	// RollbackOf is the revision that a rollback made it equal to, 0: none.
	RollbackOf int64
}

// Definitions lists the definitions of one kind ("": all) in a revision (0: the current one), by kind, then name.
func (c *Client) Definitions(ctx context.Context, kind DefinitionKind, revision int64) (Revision, []Definition, error) {
	k, err := kindMessage(kind)
	if err != nil {
		return Revision{}, nil, err
	}
	var rev Revision
	defs := []Definition{}
	err = pages(func(token string) (string, error) {
		out, err := c.registry.ListDefinitions(ctx, &pb.ListDefinitionsRequest{
			Kind: k, Revision: revision, PageSize: pageSize, PageToken: token,
		}, callOptions()...)
		rev = revisionOf(out.GetRevision())
		for _, d := range out.GetDefinitions() {
			defs = append(defs, definitionOf(d))
		}
		return out.GetNextPageToken(), err
	})
	if err != nil {
		return Revision{}, nil, err
	}
	return rev, defs, nil
}

// Definition returns one definition of a revision (0: the current one).
func (c *Client) Definition(ctx context.Context, kind DefinitionKind, name string, revision int64) (Revision, Definition, error) {
	k, err := kindMessage(kind)
	if err != nil {
		return Revision{}, Definition{}, err
	}
	out, err := c.registry.GetDefinition(ctx, &pb.GetDefinitionRequest{Kind: k, Name: name, Revision: revision}, callOptions()...)
	if err != nil {
		return Revision{}, Definition{}, errorOf(err)
	}
	return revisionOf(out.Revision), definitionOf(out.Definition), nil
}

// Revisions lists revisions, newest first, at most limit (0: all).
func (c *Client) Revisions(ctx context.Context, limit int) ([]Revision, error) {
	revs := []Revision{}
	err := pages(func(token string) (string, error) {
		out, err := c.registry.ListRevisions(ctx, &pb.ListRevisionsRequest{
			Limit: int32(min(limit, maxInt32)), PageSize: pageSize, PageToken: token,
		}, callOptions()...)
		for _, r := range out.GetRevisions() {
			revs = append(revs, revisionOf(r))
		}
		return out.GetNextPageToken(), err
	})
	if err != nil {
		return nil, err
	}
	return revs, nil
}

func kindMessage(kind DefinitionKind) (pb.DefinitionKind, error) {
	k, ok := kindMessages[kind]
	if !ok {
		return 0, &Error{Code: CodeInvalid, Message: "unknown kind " + string(kind), Field: "kind"}
	}
	return k, nil
}

func definitionOf(m *pb.Definition) Definition {
	return Definition{Kind: kindsOfMessages[m.GetKind()], Name: m.GetName(), JSON: json.RawMessage(m.GetJson())}
}

func revisionOf(m *pb.Revision) Revision {
	return Revision{
		Number: m.GetNumber(), Digest: m.GetDigest(), Applied: timeOf(m.GetApplied()), By: m.GetBy(), Commit: m.GetCommit(),
		Tool: m.GetTool(), Summary: m.GetSummary(), RollbackOf: m.GetRollbackOf(),
	}
}
