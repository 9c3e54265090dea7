package database

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/provender-dev/provender/internal/problem"
)

const (
	// defaultSchema has the tables unless the URL's search_path names another: their names are too plain for a schema that
	// others use.
	defaultSchema = "provender"

	// connectTimeout is where the URL names none. It leaves time for another host.
	connectTimeout = 3 * time.Second
	// A process needs one connection for each thing that it does at a time.
	maxConnections = 10
	maxIdleTime    = time.Minute
)

// schemaName is what needs no quotes in SQL and in a search_path.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// postgres is the kind of database that is a server.
type postgres struct {
	address string
	schema  string
}

func openPostgres(url string) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The error repeats parts of the URL. A file that can't be read is worth telling.
		text := "the registry's URL is not one of Postgres"
		var file *fs.PathError
		if errors.As(err, &file) {
			text += ": " + file.Error()
		}
		return nil, &problem.Error{
			Code: problem.Invalid, Message: text,
			Suggestion: "write postgres://user:password@host:5432/database?sslmode=verify-full, with % codes for special characters",
		}
	}
	schema, named := config.RuntimeParams["search_path"]
	if !named {
		schema = defaultSchema
		config.RuntimeParams["search_path"] = schema
	}
	if !schemaName.MatchString(schema) {
		return nil, problem.New(problem.Invalid,
			"the search_path of the registry's URL must be the name of one schema, in lower-case letters, digits and _")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "provender"
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	db.SetConnMaxIdleTime(maxIdleTime)
	return &DB{sql: db, kind: postgres{address(config), schema}}, nil
}

// address names the servers and the database.
func address(config *pgx.ConnConfig) string {
	hosts := []string{hostPort(config.Host, config.Port)}
	for _, f := range config.Fallbacks { // one host with and without TLS, too
		if h := hostPort(f.Host, f.Port); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return "postgres://" + strings.Join(hosts, ",") + "/" + config.Database
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func (p postgres) name() string { return p.address }

func (p postgres) folder() string { return "postgres" }

func (p postgres) dialect() goose.Dialect { return goose.DialectPostgres }

func (p postgres) tables() string {
	return `SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1`
}

func (p postgres) clock() string {
	return `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`
}

func (p postgres) product() string {
	return `SELECT 'PostgreSQL ' || current_setting('server_version')`
}

// integrity: what looks for damage is an extension, for superusers.
func (p postgres) integrity() string { return "" }

// options say what the package's comment says, whatever the server's default is.
func (p postgres) options() *sql.TxOptions { return &sql.TxOptions{Isolation: sql.LevelReadCommitted} }

// turn is an advisory lock that nothing else in the database is likely to take.
const turn = 0x70726f76656e6465

// exclusive takes an advisory lock that goes with its transaction, and makes the schema.
func (p postgres) exclusive(ctx context.Context, db *sql.DB) (done func(), err error) {
	defer func() { err = told(ctx, err) }()
	tx, err := db.BeginTx(ctx, p.options())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback()
		}
	}()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(turn)); err != nil {
		return nil, err
	}
	if err := p.makeSchema(ctx, db); err != nil {
		return nil, err
	}
	return func() { _ = tx.Rollback() }, nil
}

func (p postgres) makeSchema(ctx context.Context, db *sql.DB) error {
	var current sql.NullString
	const look = `SELECT current_schema()`
	if err := db.QueryRowContext(ctx, look).Scan(&current); err != nil || current.String == p.schema {
		return err
	}
	if _, err := db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+p.schema); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, look).Scan(&current); err != nil || current.String == p.schema {
		return err
	}
	return &problem.Error{
		Code:       problem.Precondition,
		Message:    "open registry " + p.address + ": the schema " + p.schema + " is not used, though it is asked for",
		Suggestion: "the user needs the right USAGE of it; a pooler must not ignore search_path",
	}
}

// Classes of what the server says: https://www.postgresql.org/docs/current/errcodes-appendix.html.
func (p postgres) explain(err error) reason {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return explainCode(said)
	}
	if distrusted(err) {
		return reason{
			why: "its certificate is not trusted: " + strings.Join(strings.Fields(err.Error()), " "),
			fix: "check sslmode and sslrootcert in the registry's URL, and that the server's certificate names its host and is not over",
		}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return reason{why: "it does not answer: " + strings.Join(strings.Fields(err.Error()), " "), retryAfter: time.Second, lost: true}
	}
	return reason{}
}

// distrusted reports that a server showed a certificate that does not prove who it is. Waiting mends nothing.
func distrusted(err error) bool {
	var unverified *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &unverified) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

func explainCode(said *pgconn.PgError) reason {
	switch said.Code {
	case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		return reason{why: "other transactions stood in the way", fix: "try again", retryAfter: time.Second, again: true}
	case "57P01", "57P02", "57P03": // admin_shutdown, crash_shutdown, cannot_connect_now
		return reason{why: "it is starting or stopping: " + said.Message, retryAfter: time.Second, lost: true}
	case "53300": // too_many_connections
		return reason{why: "it has no connection left: " + said.Message, retryAfter: time.Second, lost: true}
	case "28000", "28P01": // invalid_authorization_specification, invalid_password
		return reason{why: "it refuses the login: " + said.Message, fix: "check user and password in the registry's URL"}
	case "3D000": // invalid_catalog_name
		return reason{why: said.Message, fix: "create the database"}
	case "42501": // insufficient_privilege
		return reason{why: said.Message, fix: "docs/how-to/postgres.md lists the rights that the user needs"}
	case "22021": // character_not_in_repertoire
		return reason{why: "it keeps no text that is not UTF-8: " + said.Message, fix: "rename what has such a name"}
	case "25006": // read_only_sql_transaction
		return reason{
			why: "it takes no writes: a standby, or set to read only",
			fix: "name the primary; target_session_attrs=read-write in the URL finds it among several hosts",
		}
	case "53100": // disk_full
		return reason{why: "its disk is full", fix: "free some space"}
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return reason{why: "it is damaged: " + said.Message, fix: "restore it from a backup", damaged: true}
	}
	return reason{}
}
