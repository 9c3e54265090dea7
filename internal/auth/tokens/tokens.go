// Package tokens keeps the tokens that prove who calls, by their hashes, in the registry's database.
package tokens

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
)

//go:embed migrations
var migrations embed.FS

// schema has its version apart from those of what else is in the same database.
var schema = database.Schema{Name: "registry's tokens", Table: "goose_token", Migrations: migrations, Least: 1}

// A token is a prefix, by which those who search for leaked secrets know it, and 256 random bits: a plain hash of so many
// can't be turned round.
const (
	prefix     = "pvd_"
	secretSize = 32
)

var secretLength = len(prefix) + base64.RawURLEncoding.EncodedLen(secretSize)

// hash is the SHA-256 of a token.
type hash [sha256.Size]byte

// hashOf returns false for what can't be a token. It does not allocate.
func hashOf(secret string) (hash, bool) {
	var b [64]byte
	if len(secret) != secretLength || !strings.HasPrefix(secret, prefix) {
		return hash{}, false
	}
	return sha256.Sum256(b[:copy(b[:], secret)]), true
}

// Token is what is known of a token: everything but itself.
type Token struct {
	Name      string
	Roles     []auth.Role
	Created   time.Time
	CreatedBy string
	Expires   time.Time // zero: never
	Revoked   time.Time // zero: it was not
	RevokedBy string
}

// Store is the tokens in a registry's database. Safe for concurrent use, by several processes. Errors are *problem.Error:
// Unavailable where the database does not answer, besides those that a method names.
type Store struct{ db *database.DB }

// Open migrates and returns the tokens in db. The caller closes db.
func Open(ctx context.Context, db *database.DB) (*Store, error) {
	if err := db.Migrate(ctx, schema); err != nil {
		return nil, db.Failure("open tokens in", err)
	}
	return &Store{db}, nil
}

// Create records a token that is valid from t.Created on, and returns it; nobody can tell it again. Invalid for a name,
// roles or an end that can't be, Conflict where a token of that name was not revoked.
func (s *Store) Create(ctx context.Context, t Token) (secret string, err error) {
	if err := t.check(); err != nil {
		return "", err
	}
	var random [secretSize]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = prefix + base64.RawURLEncoding.EncodeToString(random[:])
	h, _ := hashOf(secret)
	var made int64
	err = s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
		made, err = tx.Exec(ctx, `INSERT INTO token (hash, name, roles, created, created_by, expires) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (name) WHERE revoked IS NULL DO NOTHING`,
			hex.EncodeToString(h[:]), t.Name, joined(t.Roles), t.Created.UnixMicro(), database.Text(t.CreatedBy), nullable(t.Expires))
		return err
	})
	if err != nil {
		return "", s.db.Failure("record token in", err)
	}
	if made == 0 {
		return "", &problem.Error{
			Code: problem.Conflict, Message: "there is a token " + t.Name + " already", Field: "name",
			Suggestion: "choose another name, or end that one: provender token revoke " + t.Name,
		}
	}
	return secret, nil
}

var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

func (t *Token) check() error {
	if !names.MatchString(t.Name) {
		return &problem.Error{
			Code: problem.Invalid, Message: "a token can't have the name " + strconv.Quote(t.Name), Field: "name",
			Suggestion: "letters, digits and . _ @ -, at most 63 of them, a letter or digit first",
		}
	}
	if err := auth.CheckRoles(t.Roles); err != nil {
		return err
	}
	if !t.Expires.IsZero() && !t.Expires.After(t.Created) {
		return &problem.Error{Code: problem.Invalid, Message: "the token's end lies in the past", Field: "expires"}
	}
	return nil
}

// Revoke ends the token of a name, and returns what it was. NotFound where there is none that was not revoked.
func (s *Store) Revoke(ctx context.Context, name, by string, now time.Time) (Token, error) {
	var ended []Token
	err := s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
		ended, err = database.List(ctx, tx, scan, `UPDATE token SET revoked = $1, revoked_by = $2 WHERE name = $3 AND revoked IS NULL
			RETURNING `+columns, now.UnixMicro(), database.Text(by), database.Text(name))
		return err
	})
	if err != nil {
		return Token{}, s.db.Failure("revoke token in", err)
	}
	if len(ended) == 0 {
		all, err := s.List(ctx, false)
		if err != nil {
			return Token{}, err
		}
		valid := make([]string, len(all))
		for i := range all {
			valid[i] = all[i].Name
		}
		missing := &problem.Error{Code: problem.NotFound, Message: "there is no token " + strconv.Quote(name), Field: "name"}
		if missing.Suggestion = diag.Suggest(name, valid); missing.Suggestion == "" {
			missing.Suggestion = "provender token list names those that there are"
		}
		return Token{}, missing
	}
	return ended[0], nil
}

const columns = `name, roles, created, created_by, expires, revoked, revoked_by`

// List returns tokens by name, those that were revoked only if asked for.
func (s *Store) List(ctx context.Context, revoked bool) ([]Token, error) {
	where := ` WHERE revoked IS NULL`
	if revoked {
		where = ``
	}
	all, err := database.List(ctx, s.db, scan, `SELECT `+columns+` FROM token`+where+` ORDER BY name, created`)
	return all, s.db.Failure("read tokens from", err)
}

func scan(rows *sql.Rows) (Token, error) {
	var t Token
	var roles string
	var created, expires, revoked sql.NullInt64
	err := rows.Scan(&t.Name, &roles, &created, &t.CreatedBy, &expires, &revoked, &t.RevokedBy)
	t.Roles, t.Created, t.Expires, t.Revoked = split(roles), clock(created), clock(expires), clock(revoked)
	return t, err
}

// valid returns the tokens that were not revoked, by hash.
func (s *Store) valid(ctx context.Context) (map[hash]*entry, error) {
	type found struct {
		hash  hash
		entry *entry
	}
	all, err := database.List(ctx, s.db, func(rows *sql.Rows) (found, error) {
		var name, roles, text string
		var expires sql.NullInt64
		if err := rows.Scan(&text, &name, &roles, &expires); err != nil {
			return found{}, err
		}
		f := found{entry: &entry{principal: auth.Principal{Name: name, Roles: split(roles)}, expires: clock(expires)}}
		if n, err := hex.Decode(f.hash[:], []byte(text)); err != nil || n != len(f.hash) {
			return found{}, database.ErrDamaged
		}
		return f, nil
	}, `SELECT hash, name, roles, expires FROM token WHERE revoked IS NULL`)
	if err != nil {
		return nil, s.db.Failure("read tokens from", err)
	}
	m := make(map[hash]*entry, len(all))
	for _, f := range all {
		m[f.hash] = f.entry
	}
	return m, nil
}

func joined(roles []auth.Role) string {
	texts := make([]string, len(roles))
	for i, r := range roles {
		texts[i] = string(r)
	}
	return strings.Join(texts, ",")
}

// split leaves roles out that this version does not know.
func split(text string) []auth.Role {
	var roles []auth.Role
	for name := range strings.SplitSeq(text, ",") {
		if r := auth.Role(name); slices.Contains(auth.Roles, r) {
			roles = append(roles, r)
		}
	}
	return roles
}

func nullable(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func clock(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMicro(v.Int64).UTC()
}
