package state

import (
	"context"
	"database/sql"
	"time"

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

// Holders returns who runs the servers that live, of any store, as user@host:pid. It only reads, as Revisions does.
func Holders(ctx context.Context, db *database.DB, now time.Time) ([]string, error) {
	s := &Store{db}
	made, err := db.HasTable(ctx, "server")
	if err != nil || !made {
		return nil, s.failure("read", err)
	}
	type server struct {
		holder  string
		process process
	}
	list, err := database.List(ctx, db, func(rows *sql.Rows) (sv server, err error) {
		var by string
		err = rows.Scan(&sv.holder, &by)
		sv.process = parseProcess(by)
		return sv, err
	}, `SELECT holder, process FROM server WHERE expires > $1 ORDER BY holder`, now.UnixMicro())
	if err != nil {
		return nil, s.failure("read servers from", err)
	}
	var holders []string
	for _, sv := range list {
		if !sv.process.gone() {
			holders = append(holders, sv.holder)
		}
	}
	return holders, nil
}
