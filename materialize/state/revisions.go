package state

import (
	"context"
	"database/sql"

	"github.com/provender-dev/provender/internal/database"
)

// Revisions returns the numbers of the revisions that runs and servers refer to, in order. It only reads: where no run
// was ever begun, nor the state brought up to date, there are none.
func Revisions(ctx context.Context, db *database.DB) ([]int64, error) {
	s := &Store{db}
	made, err := db.HasTable(ctx, "server") // the newest
	if err != nil || !made {
		return nil, s.failure("read", err)
	}
	list, err := database.List(ctx, db, func(rows *sql.Rows) (number int64, err error) {
		err = rows.Scan(&number)
		return number, err
	}, `SELECT revision FROM run WHERE revision > 0 UNION SELECT revision FROM server WHERE revision > 0 ORDER BY revision`)
	return list, s.failure("read", err)
}
