package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/provender-dev/provender/internal/database"
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
