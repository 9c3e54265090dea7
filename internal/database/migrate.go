package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/provender-dev/provender/internal/problem"
)

// Schema is a set of tables that are versioned together.
type Schema struct {
	Name       string // for messages
	Table      string // that keeps the version
	Migrations fs.FS  // has them in the folder migrations, or in its folders sqlite and postgres where they differ
	// Least is the oldest version of the schema whose Provenders can read and write the newest one, beside those that know
	// it; 0: all. It grows only with a migration that they can't live with.
	Least int64
}

// The database tells Provenders that are older than it whether they can live with it.
const (
	compatibility = "compatibility"

	makeCompatibility = `CREATE TABLE IF NOT EXISTS compatibility (version_table TEXT PRIMARY KEY, least BIGINT NOT NULL)`
	raiseLeast        = `INSERT INTO compatibility (version_table, least) VALUES ($1, $2)
		ON CONFLICT (version_table) DO UPDATE SET least = excluded.least WHERE excluded.least > compatibility.least`
	readLeast = `SELECT least FROM compatibility WHERE version_table = $1`
)

// PartFromOlder lets Migrate make the migrations that older Provenders can't live with, each after ready has returned nil.
// Call it before Migrate.
func (db *DB) PartFromOlder(ready func(ctx context.Context) error) { db.parted = ready }

// Migrate brings a schema up to date. Processes that do so at once take turns. A schema that a newer Provender has brought
// further stays as it is, where this one can live with that. Precondition where it can't, and where the Provenders that
// the schema is of could not live with what it would become, unless PartFromOlder was called.
func (db *DB) Migrate(ctx context.Context, s Schema) error {
	folder := "migrations/" + db.kind.folder()
	if _, err := fs.Stat(s.Migrations, folder); errors.Is(err, fs.ErrNotExist) {
		folder = "migrations"
	}
	files, err := fs.Sub(s.Migrations, folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(db.kind.dialect(), db.sql, files,
		goose.WithTableName(s.Table), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	ctx, alive, end := watch(ctx)
	defer end()
	done, err := db.kind.exclusive(ctx, db.sql)
	if err != nil {
		return err
	}
	defer done()
	have, known, err := provider.GetVersions(ctx)
	if err != nil {
		return told(ctx, err)
	}
	switch {
	case have == known:
		return nil
	case have > known:
		return db.outgrown(ctx, s, have, known)
	case have > 0 && have < s.Least:
		if err := db.part(ctx, s, have, known); err != nil {
			return err
		}
	}
	// First, so that no older Provender takes a database for its own whose migration was cut short.
	if err := db.Write(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, makeCompatibility); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, raiseLeast, s.Table, s.Least)
		return err
	}); err != nil {
		return err
	}
	alive.Reset(migrationPatience)
	_, err = provider.Up(ctx)
	return told(ctx, err)
}

// least returns the oldest version whose Provenders can live with a schema as the database has it, otherwise where it does
// not say.
func (db *DB) least(ctx context.Context, s Schema, otherwise int64) (least int64, err error) {
	there, err := db.HasTable(ctx, compatibility)
	if err != nil || !there {
		return otherwise, err
	}
	err = db.Row(ctx, readLeast, s.Table).Scan(&least)
	if errors.Is(err, sql.ErrNoRows) {
		return otherwise, nil
	}
	return least, err
}

// outgrown is whether this Provender can live with a schema that a newer one has brought further.
func (db *DB) outgrown(ctx context.Context, s Schema, have, known int64) error {
	least, err := db.least(ctx, s, have)
	if err != nil {
		return err
	}
	if least <= known {
		return nil
	}
	return &problem.Error{
		Code:       problem.Precondition,
		Message:    fmt.Sprintf("the %s has schema version %d, this Provender knows %d", s.Name, have, known),
		Suggestion: "use the newer Provender that wrote it",
	}
}

// part is whether the schema may become one that the Provenders it is of can't live with. Where the database says that it is,
// that was decided before, and what followed was cut short.
func (db *DB) part(ctx context.Context, s Schema, have, known int64) error {
	if least, err := db.least(ctx, s, 0); err != nil || least >= s.Least {
		return err
	}
	if db.parted != nil {
		return db.parted(ctx)
	}
	return &problem.Error{
		Code: problem.Precondition,
		Message: fmt.Sprintf("the %s has schema version %d, this Provender needs %d, which Provenders of version %d can't live with",
			s.Name, have, known, have),
		Suggestion: "stop the older servers, keep a backup, and run provender registry migrate",
	}
}
