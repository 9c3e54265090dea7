package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// Fault is something that is wrong with a registry.
type Fault struct {
	Revision int64 // 0: the registry as a whole
	Text     string
}

// Check reads everything and returns the numbers of the revisions that there are, and all that is wrong with them. The
// error is that of a database that does not answer.
func (s *Store) Check(ctx context.Context) (numbers []int64, faults []Fault, err error) {
	found, err := s.db.Integrity(ctx)
	for _, text := range found {
		faults = append(faults, Fault{Text: text})
	}
	if faults, err = s.note(ctx, faults, 0, err); err != nil {
		return nil, nil, err
	}
	numbers, err = database.List(ctx, s.db, func(rows *sql.Rows) (number int64, err error) {
		err = rows.Scan(&number)
		return number, err
	}, `SELECT number FROM revision ORDER BY number`)
	if faults, err = s.note(ctx, faults, 0, err); err != nil {
		return nil, nil, err
	}
	digests := map[int64]string{}
	next := int64(1)
	for _, number := range numbers {
		if number > next {
			faults = append(faults, Fault{Text: missing(next, number-1)})
		}
		next = number + 1
		var r record
		err := r.scan(s.db.Row(ctx, everything+` WHERE number = $1`, number))
		if err != nil {
			if faults, err = s.note(ctx, faults, number, err); err != nil {
				return nil, nil, err
			}
			continue
		}
		for _, text := range r.faults(digests) {
			faults = append(faults, Fault{number, text})
		}
		digests[number] = r.Digest
	}
	return numbers, faults, nil
}

// note adds what could not be read to the faults, unless the database does not answer, or the caller gave up.
func (s *Store) note(ctx context.Context, faults []Fault, number int64, err error) ([]Fault, error) {
	var p *problem.Error
	switch failure := s.failure("check", err); {
	case failure == nil:
		return faults, nil
	case ctx.Err() != nil, errors.As(failure, &p) && p.RetryAfter > 0:
		return nil, failure
	default:
		return append(faults, Fault{number, fmt.Sprintf("it cannot be read: %v", err)}), nil
	}
}

func missing(first, last int64) string {
	if first == last {
		return fmt.Sprintf("revision %d is missing", first)
	}
	return fmt.Sprintf("revisions %d to %d are missing", first, last)
}

// faults is everything that is wrong with a revision, given the digests of those before it.
func (r *record) faults(before map[int64]string) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	switch {
	case !bytes.Equal(checksum(r.definitions), r.checksum):
		add("its definitions have another checksum than was written")
	case !r.sealed():
		add("its record or its plan is not what was written")
	}
	defs := new(registry.Definitions)
	switch err := strict(r.definitions, defs); {
	case err != nil:
		add("its definitions cannot be read: %v", err)
	case !defs.Complete():
		add("a definition of it is null")
	default:
		if defs.Digest() != r.Digest {
			add("its definitions are not those of its digest")
		}
		if _, err := registry.Compile(r.Number, defs); err != nil {
			add("it does not compile: %v", err)
		}
	}
	if r.Plan != nil {
		var made struct {
			BaseRevision int64  `json:"base_revision"`
			TargetDigest string `json:"target_digest"`
		}
		switch err := json.Unmarshal(r.Plan, &made); {
		case err != nil:
			add("its plan cannot be read: %v", err)
		case made.BaseRevision != r.Number-1 || made.TargetDigest != r.Digest:
			add("its plan is not the one that made it")
		}
	}
	if digest, there := before[r.RollbackOf]; r.RollbackOf != 0 && (!there || digest != r.Digest) {
		add("it is said to equal revision %d, and does not", r.RollbackOf)
	}
	return found
}
