package redisurl

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]*URL{
		"redis://localhost":    {Scheme: "redis", Hosts: []string{"localhost:6379"}},
		"redis://10.0.0.1:7/":  {Scheme: "redis", Hosts: []string{"10.0.0.1:7"}},
		"rediss://[::1]:7/3":   {Scheme: "rediss", TLS: true, Hosts: []string{"[::1]:7"}, DB: 3},
		"redis://[2001:db8::]": {Scheme: "redis", Hosts: []string{"[2001:db8::]:6379"}},
		"redis://:p%40%2F%3A@h:7/0": {
			Scheme: "redis", Password: "p@/:", Hosts: []string{"h:7"},
		},
		"redis://me:a:b#c d@@h:7": {Scheme: "redis", User: "me", Password: "a:b#c d@", Hosts: []string{"h:7"}},
		"redis-cluster://me:x@h1:1,h2,h3:3?pool_size=7&client_name=app": {
			Scheme: "redis-cluster", Kind: Cluster, User: "me", Password: "x", Hosts: []string{"h1:1", "h2:6379", "h3:3"},
			PoolSize: 7, ClientName: "app",
		},
		"rediss-sentinel://h1,h2:2/my-primary/4?sentinel_user=s&sentinel_password=a%26b+&tls_ca=ca.pem&tls_server_name=x&tls_cert=c&tls_key=k": {
			Scheme: "rediss-sentinel", Kind: Sentinel, TLS: true, Hosts: []string{"h1:26379", "h2:2"}, Master: "my-primary", DB: 4,
			SentinelUser: "s", SentinelPassword: "a&b+", TLSCA: "ca.pem", TLSServerName: "x", TLSCert: "c", TLSKey: "k",
		},
		"redis://h?dial_timeout=1s&read_timeout=2ms&write_timeout=1h&pool_timeout=1.5s": {
			Scheme: "redis", Hosts: []string{"h:6379"},
			DialTimeout: time.Second, ReadTimeout: 2 * time.Millisecond, WriteTimeout: time.Hour, PoolTimeout: 1500 * time.Millisecond,
		},
	} {
		got, problems := Parse(text)
		if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
			t.Errorf("%s: %v\n%s", text, problems, diff)
		}
	}
}

// TestProblems: all of them at once, each with what to do.
func TestProblems(t *testing.T) {
	for text, want := range map[string][]string{
		"http://h":                          {"scheme is not one of redis, rediss"},
		"":                                  {"scheme is not one of"},
		"redis://":                          {"want redis://[user:password@]host[:port][/db]"},
		"redis://h:0":                       {"can't be read"},
		"redis://h:x":                       {"can't be read"},
		"redis://h1,h2":                     {"can't be read"},
		"redis://h/x":                       {"database behind the hosts is not a number"},
		"redis://h/0/1":                     {"database behind the hosts is not a number"},
		"redis://a b":                       {"can't be read"},
		"redis://:%zz@h":                    {"percent-encode"},
		"redis://[::1":                      {"can't be read"},
		"redis-cluster://":                  {"want redis-cluster://[user:password@]host:port,host:port"},
		"redis-cluster://h1,,h2":            {"can't be read"},
		"redis-cluster://h/1":               {"no numbered databases"},
		"redis-sentinel://h":                {"does not name the primary"},
		"redis-sentinel://h/m/x":            {"not a number"},
		"redis://h?poolsize=3":              {`parameter 1 behind the ? is not known (did you mean "pool_size"?)`},
		"redis://h?pool_size=3&xx=4":        {"parameter 2 behind the ? is not known (known are client_name, pool_size"},
		"redis://h?pool_size=0":             {"pool_size: want a number of connections, 1 to 10000"},
		"redis://h?pool_size=":              {"pool_size has no value"},
		"redis://h?pool_size=1&pool_size=2": {"pool_size is given twice"},
		"redis://h?read_timeout=5":          {"read_timeout: want a duration with its unit"},
		"redis://h?read_timeout=0s":         {"read_timeout: want"},
		"redis://h?client_name=a%20b":       {"client_name: want a name without blanks"},
		"redis://h?tls_ca=x":                {"without TLS (write rediss://"},
		"redis-cluster://h?tls_ca=x":        {"without TLS (write rediss-cluster://"},
		"rediss://h?tls_cert=x":             {"belong together"},
		"redis://h?sentinel_user=x":         {"scheme is not redis-sentinel", "needs sentinel_password"},
		"redis://h/x?a=1&pool_size=x&tls_key=k": {
			"not a number", "parameter 1", "pool_size: want", "without TLS", "belong together",
		},
	} {
		got, problems := Parse(text)
		if got != nil || len(problems) != len(want) {
			t.Errorf("%s: %+v, %v; want %d problems", text, got, problems, len(want))
			continue
		}
		for i, p := range problems {
			said := p.Message
			if p.Hint != "" {
				said += " (" + p.Hint + ")"
			}
			if !strings.Contains(said, want[i]) {
				t.Errorf("%s: %q, want %q", text, said, want[i])
			}
		}
	}
}

// canaries are URLs with passwords, right and garbled.
var canaries = []string{
	"redis://me:CANARY@h:1/0", "redis://CANARY:CANARY@h/0?pool_size=1", "redis://:CAN/CANARY@h", "redis://:12/CANARY@h", "redis://u:12?CANARY@h",
	"redis://u:12?pool_size=CANARY@h", "redis://:12#CANARY@h", "redis://:CANARY%zz@h", "redis://h/CANARY", "redis://h?CANARY",
	"redis://h?CANARY=1", "redis://h?pool_size=CANARY", "redis://h?password=a&CANARY", "redis-sentinel://h/m?sentinel_password=CANARY",
	"redis-sentinel://h/m?sentinel_pasword=CANARY", "redis-sentinel://h/m/CANARY?sentinel_user=CANARY&sentinel_password=CANARY&x",
	"redis://u:CAN?CANARY@h:1", "redis://h:CANARY", "CANARY://h", "redis://me:CANARY@h1,h2", "redis-cluster://CANARY@h1,h2/CANARY",
	"rediss://:CANARY@h:1/0?nosuch=CANARY", "redis://:CANARY", "redis://h?read_timeout=CANARY&client_name=CANARY%20",
}

// TestCanaries: no message and no name has a part of what may be a secret.
func TestCanaries(t *testing.T) {
	for _, text := range canaries {
		u, problems := Parse(text)
		if said := fmt.Sprint(problems); strings.Contains(said, "CANARY") {
			t.Errorf("%s: %s", text, said)
		}
		if u != nil && strings.Contains(u.Name()+u.Servers(), "CANARY") {
			t.Errorf("%s: %s, %s", text, u.Name(), u.Servers())
		}
	}
}

func TestName(t *testing.T) {
	for text, want := range map[string]string{
		"redis://me:x@h:1/0?pool_size=1":               "redis://h:1",
		"redis://h:1/2":                                "redis://h:1/2",
		"redis-cluster://me:x@b:1,a:2":                 "redis-cluster://a:2,b:1",
		"redis-sentinel://b,a/m/3?sentinel_password=x": "redis-sentinel://a:26379,b:26379/m/3",
	} {
		u, problems := Parse(text)
		if len(problems) > 0 || u.Name() != want {
			t.Errorf("%s: %q, %v", text, u.Name(), problems)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range canaries {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, problems := Parse(text)
		if (u == nil) == (len(problems) == 0) {
			t.Fatalf("%+v, %v", u, problems)
		}
		if u != nil {
			if _, problems := Parse(u.Name()); len(problems) > 0 && u.Kind != Sentinel {
				t.Errorf("the name %s: %v", u.Name(), problems)
			}
		}
	})
}
