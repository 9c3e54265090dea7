package state

import (
	"context"
	"database/sql"

	"github.com/provender-dev/provender/internal/database"
)

// Revisions returns the numbers of the revisions that runs and servers refer to, in order.
func (s *Store) Revisions(ctx context.Context) ([]int64, error) {
	list, err := database.List(ctx, s.db, func(rows *sql.Rows) (number int64, err error) {
		err = rows.Scan(&number)
		return number, err
	}, `SELECT revision FROM run WHERE revision > 0 UNION SELECT revision FROM server WHERE revision > 0 ORDER BY revision`)
	return list, s.failure("read", err)
}
