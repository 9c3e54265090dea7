// Package redisurl reads the URLs of Redis as an online store: one server, a cluster, or a primary that sentinels name.
// docs/how-to/redis.md has the forms and the parameters. No message holds a part of the URL that may be a secret, however
// garbled it is.
package redisurl

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/diag"
)

// Kind is what answers.
type Kind uint8

// The kinds.
const (
	Server Kind = iota
	Cluster
	Sentinel
)

// URL is the address of a store and its settings. The zero value of a setting means the default.
type URL struct {
	Scheme         string
	Kind           Kind
	TLS            bool
	User, Password string
	Hosts          []string // host:port, as written
	Master         string   // Sentinel: the name of the primary
	DB             int

	ClientName                                          string // "": provender
	PoolSize                                            int    // connections, per node of a cluster
	DialTimeout, ReadTimeout, WriteTimeout, PoolTimeout time.Duration
	TLSCA, TLSCert, TLSKey                              string // files
	TLSServerName                                       string
	SentinelUser, SentinelPassword                      string
}

// DefaultClientName is what connections are called in CLIENT LIST.
const DefaultClientName = "provender"

// Problem is something wrong with a URL. It is safe to print.
type Problem struct{ Message, Hint string }

type form struct {
	scheme string
	kind   Kind
	tls    bool
}

var forms = []form{
	{"redis", Server, false},
	{"rediss", Server, true},
	{"redis-cluster", Cluster, false},
	{"rediss-cluster", Cluster, true},
	{"redis-sentinel", Sentinel, false},
	{"rediss-sentinel", Sentinel, true},
}

// Schemes returns the schemes of these URLs.
func Schemes() []string {
	schemes := make([]string, len(forms))
	for i, f := range forms {
		schemes[i] = f.scheme
	}
	return schemes
}

// IsScheme reports whether a URL of this scheme is one of Redis.
func IsScheme(scheme string) bool { return slices.Contains(Schemes(), scheme) }

// Form returns how URLs of a scheme are written.
func Form(scheme string) string {
	switch {
	case strings.HasSuffix(scheme, "-cluster"):
		return scheme + "://[user:password@]host:port,host:port"
	case strings.HasSuffix(scheme, "-sentinel"):
		return scheme + "://[user:password@]host:port,host:port/PRIMARY[/db]"
	default:
		return scheme + "://[user:password@]host[:port][/db]"
	}
}

// parser collects what is wrong.
type parser struct {
	URL
	problems []Problem
}

func (p *parser) add(message, hint string) { p.problems = append(p.problems, Problem{message, hint}) }

const encodeHint = "percent-encode special characters of user and password: %40 for @, %2F for /, %3F for ?, %23 for #"

// Parse reads a URL; all that is wrong with it is returned, nothing where it can be used.
func Parse(text string) (*URL, []Problem) {
	scheme, rest, _ := strings.Cut(text, "://")
	at := slices.IndexFunc(forms, func(f form) bool { return f.scheme == scheme })
	if at < 0 {
		return nil, []Problem{{"the URL's scheme is not one of " + strings.Join(Schemes(), ", "), ""}}
	}
	p := &parser{URL: URL{Scheme: scheme, Kind: forms[at].kind, TLS: forms[at].tls}}
	before, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(before, "/")
	userinfo, hosts, hasUser := "", authority, false
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, hosts, hasUser = authority[:i], authority[i+1:], true
	}
	// An @ or # behind the hosts is of a password that was cut: then nothing here is what it seems to be.
	if strings.ContainsAny(path+query, "@#") || !p.user(userinfo, hasUser) || !p.hosts(hosts) {
		return nil, []Problem{{"the URL can't be read; want " + Form(scheme), encodeHint}}
	}
	p.path(path)
	p.parameters(query)
	p.together()
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	u := p.URL
	return &u, nil
}

func (p *parser) user(info string, given bool) bool {
	if !given {
		return true
	}
	user, password, _ := strings.Cut(info, ":")
	var errUser, errPassword error
	p.User, errUser = url.PathUnescape(user)
	p.Password, errPassword = url.PathUnescape(password)
	return errUser == nil && errPassword == nil
}

func (p *parser) hosts(text string) bool {
	port := "6379"
	if p.Kind == Sentinel {
		port = "26379"
	}
	list := strings.Split(text, ",")
	if p.Kind == Server && len(list) > 1 {
		return false
	}
	for _, host := range list {
		name, given := host, port
		if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
			name = host[1 : len(host)-1]
		} else if strings.Contains(host, ":") {
			var err error
			if name, given, err = net.SplitHostPort(host); err != nil {
				return false
			}
		}
		if n, err := strconv.ParseUint(given, 10, 16); err != nil || n == 0 || !validHost(name) {
			return false
		}
		p.Hosts = append(p.Hosts, net.JoinHostPort(name, given))
	}
	return true
}

func validHost(name string) bool {
	if name == "" {
		return false
	}
	if strings.Contains(name, ":") {
		return net.ParseIP(name) != nil
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// path reads what stands behind the hosts: a database, or the primary's name and a database.
func (p *parser) path(path string) {
	db := path
	switch p.Kind {
	case Cluster:
		if path != "" {
			p.add("a cluster has no numbered databases: nothing may stand behind the hosts", "want "+Form(p.Scheme))
		}
		return
	case Sentinel:
		p.Master, db, _ = strings.Cut(path, "/")
		name, err := url.PathUnescape(p.Master)
		if p.Master = name; err != nil || name == "" {
			p.add("the URL does not name the primary that the sentinels watch", "want "+Form(p.Scheme))
		}
	}
	if db == "" {
		return
	}
	n, err := strconv.ParseUint(db, 10, 16)
	if err != nil {
		p.add("the database behind the hosts is not a number", "want "+Form(p.Scheme))
	}
	p.DB = int(n)
}

// parameter is one setting that a URL may have behind its ?.
type parameter struct {
	name string
	set  func(u *URL, value string) (want string) // "" where the value is taken
}

func text(at func(*URL) *string) func(*URL, string) string {
	return func(u *URL, value string) string {
		*at(u) = value
		return ""
	}
}

func duration(at func(*URL) *time.Duration) func(*URL, string) string {
	return func(u *URL, value string) string {
		d, err := time.ParseDuration(value)
		if err != nil || d < time.Millisecond || d > time.Hour {
			return "a duration with its unit, 1ms to 1h, like 500ms or 2s"
		}
		*at(u) = d
		return ""
	}
}

var parameters = []parameter{
	{"client_name", func(u *URL, value string) string {
		if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return "a name without blanks"
		}
		u.ClientName = value
		return ""
	}},
	{"pool_size", func(u *URL, value string) string {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 10_000 {
			return "a number of connections, 1 to 10000"
		}
		u.PoolSize = n
		return ""
	}},
	{"dial_timeout", duration(func(u *URL) *time.Duration { return &u.DialTimeout })},
	{"read_timeout", duration(func(u *URL) *time.Duration { return &u.ReadTimeout })},
	{"write_timeout", duration(func(u *URL) *time.Duration { return &u.WriteTimeout })},
	{"pool_timeout", duration(func(u *URL) *time.Duration { return &u.PoolTimeout })},
	{"tls_ca", text(func(u *URL) *string { return &u.TLSCA })},
	{"tls_cert", text(func(u *URL) *string { return &u.TLSCert })},
	{"tls_key", text(func(u *URL) *string { return &u.TLSKey })},
	{"tls_server_name", text(func(u *URL) *string { return &u.TLSServerName })},
	{"sentinel_user", text(func(u *URL) *string { return &u.SentinelUser })},
	{"sentinel_password", text(func(u *URL) *string { return &u.SentinelPassword })},
}

// parameters reads the query. A name that is not known is not repeated: it may be the rest of a password.
func (p *parser) parameters(query string) {
	if query == "" {
		return
	}
	names := make([]string, len(parameters))
	for i, known := range parameters {
		names[i] = known.name
	}
	seen := map[string]bool{}
	for i, part := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value)
		at := slices.Index(names, name)
		switch {
		case at < 0:
			hint := diag.Suggest(name, names)
			p.add("parameter "+strconv.Itoa(i+1)+" behind the ? is not known", cmp.Or(hint, "known are "+strings.Join(names, ", ")))
			continue
		case seen[name]:
			p.add("the parameter "+name+" is given twice", "")
			continue
		}
		seen[name] = true
		if err != nil || value == "" {
			p.add("the parameter "+name+" has no value", "")
		} else if want := parameters[at].set(&p.URL, value); want != "" {
			p.add("the parameter "+name+": want "+want, "")
		}
	}
}

// together checks what parameters need of each other.
func (p *parser) together() {
	if !p.TLS && p.TLSCA+p.TLSCert+p.TLSKey+p.TLSServerName != "" {
		p.add("the URL has tls_ parameters, but its scheme is without TLS", "write "+strings.Replace(p.Scheme, "redis", "rediss", 1)+"://")
	}
	if (p.TLSCert == "") != (p.TLSKey == "") {
		p.add("tls_cert and tls_key belong together", "")
	}
	if p.Kind != Sentinel && p.SentinelUser+p.SentinelPassword != "" {
		p.add("the URL has sentinel_ parameters, but its scheme is not redis-sentinel or rediss-sentinel", "")
	}
	if p.SentinelUser != "" && p.SentinelPassword == "" {
		p.add("sentinel_user needs sentinel_password", "")
	}
}

// Name is the address without user, password and parameters. It is the same whatever order the hosts are in.
func (u *URL) Name() string {
	hosts := slices.Clone(u.Hosts)
	slices.Sort(hosts)
	name := u.Scheme + "://" + strings.Join(hosts, ",")
	if u.Kind == Sentinel {
		name += "/" + u.Master
	}
	if u.DB != 0 {
		name += "/" + strconv.Itoa(u.DB)
	}
	return name
}

// Servers names who answers, for messages.
func (u *URL) Servers() string {
	if u.Kind == Sentinel {
		return u.Master + " of " + strings.Join(u.Hosts, ",")
	}
	return strings.Join(u.Hosts, ",")
}
