package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/auth/tokens"
	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry/store"
)

// CheckRegistry reads all of the project's registry, and returns how many revisions there are and what is wrong with it.
// The error is that of a database that does not answer, or that a newer Provender wrote.
func (p *Project) CheckRegistry(ctx context.Context) (revisions int, faults []store.Fault, err error) {
	reg, err := p.Registry(ctx)
	if errors.Is(err, database.ErrDamaged) {
		return 0, []store.Fault{{Text: err.Error()}}, nil
	}
	if err != nil {
		return 0, nil, err
	}
	numbers, faults, err := reg.Check(ctx)
	if err != nil {
		return 0, nil, err
	}
	used, err := state.Revisions(ctx, reg.DB())
	if errors.Is(err, database.ErrDamaged) {
		faults, err = append(faults, store.Fault{Text: err.Error()}), nil
	}
	for _, number := range used {
		if _, found := slices.BinarySearch(numbers, number); !found {
			faults = append(faults, store.Fault{Text: fmt.Sprintf("runs or servers refer to revision %d, which is not there", number)})
		}
	}
	return len(numbers), faults, err
}

// MigrateRegistry brings the registry's database to what this Provender needs, also where older ones can't live with that
// any more. Precondition while servers use it.
func (p *Project) MigrateRegistry(ctx context.Context) error {
	db, err := database.Open(p.Config.Registry, p.Dir)
	if err != nil {
		return err
	}
	db.PartFromOlder(func(ctx context.Context) error { return noServers(ctx, db) })
	reg, err := store.OpenIn(ctx, db)
	if err != nil {
		return err
	}
	_, stateErr := state.Open(ctx, db)
	_, tokensErr := tokens.Open(ctx, db)
	return errors.Join(stateErr, tokensErr, reg.Close())
}

// noServers is an error while servers live.
func noServers(ctx context.Context, db *database.DB) error {
	holders, err := state.Holders(ctx, db, time.Now())
	if err != nil || len(holders) == 0 {
		return err
	}
	return &problem.Error{
		Code:       problem.Precondition,
		Message:    "older servers use the registry: " + strings.Join(holders, ", "),
		Suggestion: "stop them; one that was killed on another machine counts for ten minutes",
	}
}
