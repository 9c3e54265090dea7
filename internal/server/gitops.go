package server

import (
	"context"

	"github.com/provender-dev/provender/control/gitops"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

// definitionsHook is where the source of definitions tells that it has changed.
const definitionsHook = "POST /hooks/definitions"

// reconciler keeps the registry as the source of definitions has it; nil where there is none.
func (s *server) reconciler(ctx context.Context, n *node) (*gitops.Reconciler, error) {
	settings := &s.project.Config.Definitions
	from := settings.From
	if s.opts.Definitions != "" {
		from = s.opts.Definitions
	}
	if from == "" {
		return nil, nil //nolint:nilnil // none is no failure
	}
	origin, bad := definition.ParseOrigin(from)
	if bad != nil {
		return nil, &problem.Error{Code: bad.Code, Message: "--definitions: " + bad.Message, Suggestion: bad.Suggestion}
	}
	control, err := s.project.Control(ctx)
	if err != nil {
		return nil, err
	}
	return gitops.New(gitops.Config{
		Control: control, Origin: origin, Dir: s.project.Dir, Interval: settings.Interval, AllowBreaking: settings.AllowBreaking,
		Changed: n.follow.poke, Logger: s.logger.With("part", "definitions"),
	}), nil
}

// definitionsStatus tells of the source of definitions, false where there is none.
func (n *node) definitionsStatus() (gitops.Status, bool) {
	reconciler := n.definitions.Load()
	if reconciler == nil {
		return gitops.Status{}, false
	}
	return reconciler.Status(), true
}
