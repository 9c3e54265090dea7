package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/sdk/client"
)

// The variables that say how --server is reached.
const (
	envServer    = "PROVENDER_SERVER"
	envTLSCA     = "PROVENDER_TLS_CA"     // file with authorities that sign servers' certificates
	envTLSCert   = "PROVENDER_TLS_CERT"   // file with a certificate of our own
	envTLSKey    = "PROVENDER_TLS_KEY"    // file with its key
	envToken     = "PROVENDER_TOKEN"      //nolint:gosec // the name of a variable
	envTokenFile = "PROVENDER_TOKEN_FILE" //nolint:gosec // the name of a variable
	envPlaintext = "PROVENDER_PLAINTEXT_TOKEN"
)

// remote calls fn with a client of the server that --server names.
func (a *app) remote(ctx context.Context, fn func(context.Context, *client.Client) error) error {
	opts, err := a.dialOptions()
	if err != nil {
		return err
	}
	addr := a.server
	if host, ok := strings.CutPrefix(addr, "https://"); ok {
		addr = "grpcs://" + strings.TrimSuffix(host, "/")
	}
	return server.Remote(ctx, addr, opts, fn)
}

// dialOptions returns how --server is reached: with TLS where there are files for it, with a token where there is one.
func (a *app) dialOptions() ([]client.Option, error) {
	var opts []client.Option
	config, err := a.tlsConfig()
	if err != nil {
		return nil, err
	}
	if config != nil {
		opts = append(opts, client.WithTLS(config))
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		opts = append(opts, client.WithToken(token))
	}
	switch plain := a.Getenv(envPlaintext); plain {
	case "", "0", "false":
	case "1", "true":
		opts = append(opts, client.WithPlaintextToken())
	default:
		return nil, problem.New(problem.Invalid, "%s is %q: want true or false", envPlaintext, plain)
	}
	return opts, nil
}

// tlsConfig returns nil where no file is named.
func (a *app) tlsConfig() (*tls.Config, error) {
	cert, key := a.Getenv(envTLSCert), a.Getenv(envTLSKey)
	if (cert == "") != (key == "") {
		return nil, problem.New(problem.Invalid, "%s and %s go together: one of them is not set", envTLSCert, envTLSKey)
	}
	if a.tlsCA == "" && cert == "" {
		return nil, nil //nolint:nilnil // no configuration is no failure
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.tlsCA != "" {
		raw, err := os.ReadFile(a.tlsCA)
		if err != nil {
			return nil, problem.New(problem.Invalid, "read the authorities of --tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(raw) {
			return nil, problem.New(problem.Invalid, "read the authorities of --tls-ca: %s holds no certificate in PEM", a.tlsCA)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, problem.New(problem.Invalid, "read the certificate of %s and %s: %w", envTLSCert, envTLSKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// token returns the token for --server, "" for none.
func (a *app) token() (string, error) {
	token, file := a.Getenv(envToken), a.Getenv(envTokenFile)
	switch {
	case token != "" && file != "":
		return "", problem.New(problem.Invalid, "%s and %s are both set: unset one of them", envToken, envTokenFile)
	case file != "":
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", problem.New(problem.Invalid, "read the token of %s: %w", envTokenFile, err)
		}
		token = string(raw)
	}
	token = strings.TrimSpace(token)
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", problem.New(problem.Invalid, "the token for %s has characters that no token has", a.server)
	}
	return token, nil
}
