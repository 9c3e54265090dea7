package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
)

// failure says what an error of the server means to the caller. It is nil for nil.
func (s *Store) failure(ctx context.Context, op string, err error) error {
	var told *problem.Error
	switch {
	case err == nil:
		return nil
	case ended(ctx) != nil:
		return fmt.Errorf("online store: %s: %w", op, ended(ctx))
	case errors.As(err, &told):
		return err
	case errors.Is(err, redis.ErrClosed):
		return online.ErrClosed
	}
	p := &problem.Error{Code: problem.Unavailable, RetryAfter: time.Second, Err: err}
	refuses := func(suggestion string) {
		p.Code, p.RetryAfter = problem.Precondition, 0
		p.Message = fmt.Sprintf("online store: %s: Redis at %s refuses: %s", op, s.name, reply(err))
		p.Suggestion = suggestion
	}
	switch {
	case isTLS(err):
		p.Code, p.RetryAfter = problem.Precondition, 0
		p.Message = fmt.Sprintf("online store: %s: TLS with Redis at %s: %v", op, s.name, err)
		p.Suggestion = "tls_ca names the file of the authority that signed the server's certificate, tls_server_name the name in it; " +
			"rediss is for servers that speak TLS alone"
	case !isReply(err):
		p.Message = fmt.Sprintf("online store: %s: Redis at %s does not answer: %v", op, s.name, err)
		if s.url.TLS {
			p.Suggestion = "a server may want certificates of its clients (tls_cert, tls_key), or speak no TLS (redis:// for rediss://)"
		}
	case redis.HasErrorPrefix(err, "OOM"):
		p.Code = problem.Exhausted
		p.Message = fmt.Sprintf("online store: %s: Redis at %s has no memory left (maxmemory)", op, s.name)
	case redis.HasErrorPrefix(err, "WRONGPASS"):
		refuses("check user and password in the store's URL")
	case redis.HasErrorPrefix(err, "NOAUTH"):
		refuses("the server wants a password: write it into the store's URL, by a ${VARIABLE}")
	case redis.HasErrorPrefix(err, "NOPERM"):
		refuses("the user needs the rights: " + strings.Join(s.rights(), " "))
	case strings.Contains(reply(err), "cluster support disabled"):
		refuses("the server is no cluster: write redis:// for redis-cluster://")
	case redis.HasErrorPrefix(err, "MOVED"), redis.HasErrorPrefix(err, "CROSSSLOT"):
		refuses("the server is a node of a cluster: write redis-cluster:// for redis://")
	default:
		p.Message = fmt.Sprintf("online store: %s: Redis at %s: %s", op, s.name, reply(err))
		if redis.HasErrorPrefix(err, "CLUSTERDOWN") {
			p.Suggestion = checkCluster
		}
	}
	return p
}

// ended returns why ctx has ended, nil where it has not. A connection's deadline may pass a moment before the context's
// own timer tells.
func ended(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

const checkCluster = "redis-cli --cluster check tells what is missing"

// isReply reports whether err is an answer of the server's.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// reply is the text of a server's answer, without what the client has put around it.
func reply(err error) string {
	var answer redis.Error
	if errors.As(err, &answer) {
		return answer.Error()
	}
	return err.Error()
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &record) || errors.As(err, &verification) || errors.As(err, &alert) || errors.As(err, &authority)
}

// Rights are what an ACL user needs beside its keys, as ACL SETUSER takes them.
var Rights = []string{
	"+ping", "+info", "+client|setname", "+select",
	"+get", "+set", "+del", "+hget", "+hmget", "+hset", "+hdel", "+scan",
	"+evalsha", "+eval", "+script|load", "+time", "+pttl", "+persist", "+pexpireat",
	"+cluster|slots", "+cluster|nodes",
	"+config|get", "+memory|usage", "+object|encoding", "+hgetall",
}

// rights are keys and commands that the store's user needs.
func (s *Store) rights() []string {
	prefix := "PREFIX"
	if o := s.owner.Load(); o != nil {
		prefix = o.prefix
	} else if asked := s.asked.Load(); asked != nil {
		prefix = asked.prefix
	}
	return append([]string{"~" + claimLead + ":" + prefix, "~" + prefix + ":*"}, Rights...)
}
