package redis_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
	"github.com/provender-dev/provender/online/redis"
)

// TestSentinelFailover: a replica takes over. With everything, nothing happens; without the last writes, they are missed.
func TestSentinelFailover(t *testing.T) {
	for _, lagging := range []bool{false, true} {
		t.Run(fmt.Sprintf("lagging=%t", lagging), func(t *testing.T) {
			sentinel := onlinetest.StartSentinel(t)
			s := claimedURL(t, sentinel.URL)
			create(t, s, gen)
			e := online.Entry{Key: onlinetest.Key(1), Row: onlinetest.At(1, 1).Row()}
			write(t, s, gen, e)
			sentinel.Primary.AwaitReplica(t, sentinel.Replica)
			if lagging {
				cutOff(t, sentinel.Primary)
			}
			late := online.Entry{Key: onlinetest.Key(2), Row: onlinetest.At(2, 1).Row()}
			write(t, s, gen, late)
			checkpoint := online.Checkpoint{ID: gen.ID, Run: 8}
			if err := s.Checkpoint(t.Context(), checkpoint); err != nil {
				t.Fatal(err)
			}
			before, err := s.Identity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !lagging {
				sentinel.Primary.AwaitReplica(t, sentinel.Replica)
			}
			sentinel.Primary.Kill()
			sentinel.Notice(t, time.Second)
			var after online.Identity
			settled(t, "the store follows", func() error {
				after, err = s.Identity(t.Context())
				return err
			})
			if after.Session == "" || after.Session == before.Session {
				t.Errorf("session %s became %s", before.Session, after.Session)
			}
			lost, err := s.CheckGenerations(t.Context(), []online.Checkpoint{checkpoint})
			if err != nil || slices.Contains(lost, gen.ID) != lagging {
				t.Errorf("lost %v, %v", lost, err)
			}
			if cells, err := read(t.Context(), s, gen, e.Key); err != nil || cells[0] == nil {
				t.Errorf("%x, %v", cells, err)
			}
			if _, err := read(t.Context(), s, gen, late.Key, onlinetest.Key(3)); errors.Is(err, online.ErrGenerationLost) != lagging {
				t.Errorf("got %v", err)
			}
			next := online.Generation{ID: gen.ID + 1, Keyspace: gen.Keyspace}
			create(t, s, next)
			write(t, s, next, late)
		})
	}
}

// TestRefusals: what a server refuses says what to do, and shows no password.
func TestRefusals(t *testing.T) {
	certificates := onlinetest.NewCertificates(t)
	if err := os.WriteFile(filepath.Join(certificates.Dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plain, encrypted, node := onlinetest.StartRedisServer(t), onlinetest.StartRedisTLS(t, certificates), onlinetest.StartNode(t)
	admin := plain.Client(t)
	addUser(t, admin)
	for _, args := range [][]any{
		{"acl", "setuser", "reader", "on", ">CANARY", "~p1:*", "~provender:p1", "+@all", "-set"},
		{"acl", "setuser", "other", "on", ">CANARY", "~p2:*", "+@all"},
	} {
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	locked := onlinetest.StartRedisServer(t, "--requirepass", "CANARY")
	for _, tt := range []struct {
		name, url string
		code      problem.Code // 0: one or the other, as the connection ends
		want      []string
	}{
		{"wrong password", "redis://app:CANARY@" + plain.Addr, problem.Precondition, []string{"WRONGPASS", "check user and password"}},
		{"no password", "redis://" + locked.Addr, problem.Precondition, []string{"NOAUTH", "wants a password"}},
		{"a command", "redis://reader:CANARY@" + plain.Addr, problem.Precondition, []string{"NOPERM", "'set'", "~provender:p1 ~p1:* +ping", "+evalsha"}},
		{"keys", "redis://other:CANARY@" + plain.Addr, problem.Precondition, []string{"NOPERM", "key", "~provender:p1"}},
		{"unknown authority", "rediss://:CANARY@" + encrypted.Addr, problem.Precondition, []string{"TLS", "unknown authority", "tls_ca"}},
		{"no certificate", "rediss://:CANARY@" + encrypted.Addr + "?tls_ca=ca.pem", 0, []string{"cert"}},
		{
			"another name", "rediss://:CANARY@" + encrypted.Addr + "?tls_ca=ca.pem&tls_cert=cert.pem&tls_key=key.pem&tls_server_name=x.test",
			problem.Precondition,
			[]string{"redis.test", "tls_server_name"},
		},
		{"TLS with a server without", "rediss://:CANARY@" + plain.Addr + "?tls_ca=ca.pem&dial_timeout=50ms", problem.Unavailable, []string{"redis:// for rediss://"}},
		{"no such file", "rediss://:CANARY@" + plain.Addr + "?tls_ca=nosuch.pem", problem.Invalid, []string{"tls_ca", "nosuch.pem", "project folder"}},
		{"an empty file", "rediss://:CANARY@" + plain.Addr + "?tls_ca=empty.pem", problem.Invalid, []string{"no certificate in PEM"}},
		{"half a pair", "rediss://:CANARY@" + plain.Addr + "?tls_cert=cert.pem&tls_key=nosuch.pem", problem.Invalid, []string{"tls_key", "nosuch.pem"}},
		{"no cluster", "redis-cluster://" + plain.Addr, problem.Precondition, []string{"cluster support disabled", "write redis://"}},
		{"no sentinel", "redis-sentinel://" + plain.Addr + "/primary?sentinel_password=CANARY", problem.Unavailable, []string{"primary of " + plain.Addr}},
		{"a cluster", "redis://" + node.Addr, problem.Unavailable, []string{"CLUSTERDOWN"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := redis.Open(tt.url, redis.Options{Dir: certificates.Dir})
			if err == nil {
				defer s.Close()
				_, err = s.Claim(t.Context(), "registry", "p1")
			}
			if code := problem.CodeOf(err); code != tt.code && tt.code != 0 || code == problem.Internal {
				t.Fatalf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)), "CANARY") {
				t.Errorf("%v shows the password", err)
			}
		})
	}
	// The name in the certificate, and in CLIENT LIST.
	s, err := redis.Open("rediss://"+encrypted.Addr+"?tls_ca=ca.pem&tls_cert=cert.pem&tls_key=key.pem&tls_server_name=redis.test", redis.Options{Dir: certificates.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if list := encrypted.Client(t).ClientList(t.Context()).Val(); !strings.Contains(list, "name=provender ") {
		t.Errorf("clients: %s", list)
	}
}

// TestDocumentedRights: the rights of the how-to are those that the tests' users have.
func TestDocumentedRights(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "how-to", "redis.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "ACL SETUSER ")
	rest, _, _ = strings.Cut(rest, "```")
	var documented []string
	for _, word := range strings.Fields(rest) {
		if strings.HasPrefix(word, "+") {
			documented = append(documented, word)
		}
	}
	want := slices.Clone(redis.Rights)
	slices.Sort(want)
	slices.Sort(documented)
	if !slices.Equal(documented, want) {
		t.Errorf("documented %v\nwant %v", documented, want)
	}
}
