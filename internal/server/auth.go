package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/auth/tokens"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/registry/definition"
)

// door is how callers from outside come in: with TLS or without, proven or not. The zero value is for a process that
// listens to its project's owner alone.
type door struct {
	proven bool           // callers must prove who they are
	tls    *tlsFiles      // nil: connections are not encrypted
	gate   *rpc.Gate      // nil: all may call
	store  *tokens.Store  // nil until openTokens
	keeper *tokens.Keeper // of store
	audit  *auth.Audit    // nil: none
}

// openDoor opens what the project's configuration asks for, but for the tokens: openTokens does, before there are calls.
func openDoor(p *Project, logger *slog.Logger) (_ *door, err error) {
	d := &door{proven: p.Config.Server.Auth}
	c := &p.Config.Server
	if d.tls, err = openTLS(p.Dir, c.TLS, logger); err != nil {
		return nil, err
	}
	if d.audit, err = openAudit(p.Dir, c, logger); err != nil {
		return nil, err
	}
	d.gate = &rpc.Gate{Certificates: c.Certificates, Audit: d.audit, Logger: logger}
	return d, nil
}

// openTokens opens what callers prove who they are by, where they must.
func (d *door) openTokens(ctx context.Context, p *Project, logger *slog.Logger) (err error) {
	if !d.proven {
		return nil
	}
	if d.store, err = p.Tokens(ctx); err != nil {
		return err
	}
	if d.keeper, err = tokens.NewKeeper(ctx, d.store, logger); err != nil {
		return err
	}
	d.gate.Tokens = d.keeper
	return nil
}

// openAudit opens the audit log; nil where there is to be none.
func openAudit(dir string, c *definition.Server, logger *slog.Logger) (*auth.Audit, error) {
	failed := func(err error) { logger.Error("the audit log lacks a record", "error", err) }
	switch {
	case c.Audit == definition.AuditStderr, c.Audit == "" && c.Auth:
		return auth.NewAudit(os.Stderr, failed), nil
	case c.Audit == "":
		return nil, nil //nolint:nilnil // a nil log records nothing
	}
	path := filepath.FromSlash(c.Audit)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	audit, err := auth.OpenAudit(path, failed)
	if err != nil {
		return nil, &problem.Error{
			Code: problem.Invalid, Message: err.Error(), Err: err, Suggestion: "name a file that can be written under server.audit in provender.yaml",
		}
	}
	return audit, nil
}

// options are those of gRPC's server.
func (d *door) options() []grpc.ServerOption {
	if d.gate == nil {
		return nil
	}
	return append(d.gate.ServerOptions(), grpc.Creds(newTransport(d.tls)))
}

// serve answers over HTTP until web is closed.
func (d *door) serve(web *http.Server, l net.Listener) error {
	if d.tls == nil {
		return web.Serve(l)
	}
	web.TLSConfig = d.tls.server()
	return web.ServeTLS(l, "", "")
}

func (d *door) close() error { return d.audit.Close() }

// safe returns why it is not safe to listen at an address: others than this machine reach it, and nobody proves who they
// are, or passers-by can read along.
func (d *door) safe(at net.Addr, allowed bool) error {
	var lacks string
	switch {
	case allowed || auth.Loopback(at):
		return nil
	case !d.proven && d.tls == nil:
		lacks = "callers need not prove who they are, and connections are not encrypted"
	case !d.proven:
		lacks = "callers need not prove who they are"
	case d.tls == nil:
		lacks = "connections are not encrypted, tokens among what they carry"
	default:
		return nil
	}
	return &problem.Error{
		Code:    problem.Precondition,
		Message: "listen on " + at.String() + ": others than this machine reach it, but " + lacks,
		Suggestion: "set server.auth and server.tls in provender.yaml (docs/how-to/secure.md); or, where the network keeps others out, " +
			"--insecure",
	}
}

// Tokens returns the tokens in the project's registry.
func (p *Project) Tokens(ctx context.Context) (*tokens.Store, error) {
	reg, err := p.Registry(ctx)
	if err != nil {
		return nil, err
	}
	return tokens.Open(ctx, reg.DB())
}
