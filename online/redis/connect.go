package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/redisurl"
)

// connect makes a client for what a URL names: the one place that knows of the kinds of server. Parameters of the URL
// come before opts.
func connect(u *redisurl.URL, opts Options) (redis.UniversalClient, error) {
	config, err := tlsConfig(u, opts.Dir)
	if err != nil {
		return nil, err
	}
	silence()
	universal := &redis.UniversalOptions{
		Addrs:                 u.Hosts,
		MasterName:            u.Master,
		DB:                    u.DB,
		ClientName:            cmp.Or(u.ClientName, redisurl.DefaultClientName),
		Username:              u.User,
		Password:              u.Password,
		SentinelUsername:      u.SentinelUser,
		SentinelPassword:      u.SentinelPassword,
		TLSConfig:             config,
		Protocol:              2, // replies are parsed here
		DialTimeout:           cmp.Or(u.DialTimeout, opts.DialTimeout),
		ReadTimeout:           cmp.Or(u.ReadTimeout, opts.ReadTimeout),
		WriteTimeout:          cmp.Or(u.WriteTimeout, opts.WriteTimeout),
		PoolTimeout:           cmp.Or(u.PoolTimeout, opts.PoolTimeout),
		PoolSize:              cmp.Or(u.PoolSize, opts.PoolSize),
		MaxRetries:            1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if u.Kind != redisurl.Cluster {
		return redis.NewUniversalClient(universal), nil
	}
	universal.MaxRetries = -1 // redirects are counted instead
	cluster := universal.Cluster()
	cluster.DisableRoutingPolicies = true                // commands without a key are sent node by node, here
	cluster.ClusterStateReloadInterval = topologyRefresh // a node that died answers no MOVED
	return redis.NewClusterClient(cluster), nil
}

// topologyRefresh is how old the map from slots to nodes may be while there is traffic.
const topologyRefresh = 2 * time.Second

// tlsConfig returns nil without TLS.
func tlsConfig(u *redisurl.URL, dir string) (*tls.Config, error) {
	if !u.TLS {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.TLSServerName}
	in := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, filepath.FromSlash(path))
	}
	if u.TLSCA != "" {
		pem, err := os.ReadFile(in(u.TLSCA))
		if err != nil {
			return nil, badFile("tls_ca", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, badFile("tls_ca", fmt.Errorf("%s has no certificate in PEM", in(u.TLSCA)))
		}
	}
	if u.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(in(u.TLSCert), in(u.TLSKey))
		if err != nil {
			return nil, badFile("tls_cert and tls_key", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func badFile(parameter string, err error) error {
	return &problem.Error{
		Code:       problem.Invalid,
		Message:    fmt.Sprintf("online store: %s: %v", parameter, err),
		Suggestion: "relative paths begin at the project folder",
		Err:        err,
	}
}

// silence keeps the client from writing to stderr: what it would say comes back as errors.
var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
