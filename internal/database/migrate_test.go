package database_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/problem"
)

// release is a Provender of the test's schema: it has brought it to a version, and those from least on can live with that.
type release struct {
	version int64
	least   int64
	broken  bool // its last migration fails
}

func (r release) schema() database.Schema {
	files := fstest.MapFS{}
	for i, text := range []string{
		tally,
		"ALTER TABLE tally ADD COLUMN note TEXT;\n",
		"ALTER TABLE tally ADD COLUMN more TEXT;\n",
		"ALTER TABLE tally DROP COLUMN note;\n",
	}[:r.version] {
		if r.broken && i+1 == int(r.version) {
			text = "ALTER TABLE nothing DROP COLUMN note;\n"
		}
		text = "-- +goose Up\n" + strings.TrimPrefix(text, "-- +goose Up\n")
		files[fmt.Sprintf("migrations/%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte(text)}
	}
	return database.Schema{Name: "test", Table: "goose_test", Migrations: files, Least: r.least}
}

// The releases of a schema. The second and third add to it; the fourth takes away what the third no longer needs.
var (
	first  = release{version: 1, least: 1}
	second = release{version: 2, least: 1}
	third  = release{version: 3, least: 1}
	fourth = release{version: 4, least: 3}
)

// releases are steps of a test on one database.
type releases struct {
	t  *testing.T
	at place
}

func (r releases) work(all ...release) {
	r.t.Helper()
	for _, one := range all {
		if err := open(r.t, r.at).Migrate(r.t.Context(), one.schema()); err != nil {
			r.t.Errorf("version %d: %v", one.version, err)
		}
	}
}

func (r releases) refused(want string, all ...release) {
	r.t.Helper()
	for _, one := range all {
		err := open(r.t, r.at).Migrate(r.t.Context(), one.schema())
		if problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), want) {
			r.t.Errorf("version %d: %v", one.version, err)
		}
	}
}

// What a newer Provender has added is no obstacle to those that can live with it; others are refused.
func TestOlderLivesWithNewer(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		r := releases{t, at}
		r.work(first, second, first, third, first, second, third)
		r.work(fourth, third, fourth)
		r.refused("the test has schema version 4, this Provender knows", first, second)
		r.work(third, fourth)
	})
	t.Run("new", func(t *testing.T) {
		forDatabases(t, func(t *testing.T, at place) {
			r := releases{t, at}
			r.work(fourth, third)
			r.refused("use the newer Provender that wrote it", first, second)
		})
	})
}

// What would leave the Provenders behind that the schema is of happens only where it is asked for, and when all is ready.
func TestPartFromOlder(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		r := releases{t, at}
		r.work(first, second)
		part := func(with release, ready error) error {
			db, asked := open(t, at), false
			db.PartFromOlder(func(context.Context) error { asked = true; return ready })
			err := db.Migrate(t.Context(), with.schema())
			if !asked {
				t.Error("it was not asked whether all is ready")
			}
			return err
		}
		r.refused("this Provender needs 4, which Provenders of version 2 can't live with (stop the older servers", fourth)
		no := errors.New("not ready")
		if err := part(fourth, no); !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
		r.work(first, second) // nothing has happened

		broken := fourth
		broken.broken = true
		if err := part(broken, nil); err == nil {
			t.Error("no error")
		}
		r.refused("the test has schema version 3", first, second) // half-way
		r.work(third, fourth, third)
		r.refused("the test has schema version 4", first, second)
	})
}

// A schema whose making was cut short, before the oldest version that can live with it, is made by whoever comes next.
func TestCutShort(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		r := releases{t, at}
		alone := release{version: 3, least: 3}
		broken := alone
		broken.broken = true
		if err := open(t, at).Migrate(t.Context(), broken.schema()); err == nil {
			t.Error("no error")
		}
		r.refused("the test has schema version 2", first)
		r.work(alone, alone)
	})
}

// A database whose newer Provender said nothing of older ones is that one's alone.
func TestNewerSaysNothing(t *testing.T) {
	forDatabases(t, func(t *testing.T, at place) {
		r := releases{t, at}
		r.work(second)
		for _, statement := range []string{`DELETE FROM compatibility`, `DROP TABLE compatibility`} {
			if err := open(t, at).Try(t.Context(), func(ctx context.Context, tx *database.Tx) error {
				_, err := tx.Exec(ctx, statement)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			r.refused("the test has schema version 2, this Provender knows 1", first)
			r.work(second)
		}
		r.work(third, second, first)
	})
}
