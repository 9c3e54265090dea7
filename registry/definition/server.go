package definition

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/diag"
)

const (
	// AdminOff is the admin address of a server that has none.
	AdminOff = "off"
	// defaultAdmin is the admin address where nothing says another.
	defaultAdmin = "127.0.0.1:6567"
)

// AuditStderr is the audit log of a server that writes it to stderr.
const AuditStderr = "stderr"

// Server is where `provender serve` listens, and whom it answers.
type Server struct {
	GRPC  string // host:port
	HTTP  string // host:port
	Admin string // host:port, or AdminOff
	// AdminByDefault says that nobody asked for that address: a server does without where another has it.
	AdminByDefault bool
	TLS            TLS
	Auth           bool                   // callers must prove who they are
	Certificates   map[string][]auth.Role // by the name that a client's certificate has
	Insecure       bool                   // may listen beyond loopback without authentication or without TLS
	Audit          string                 // AuditStderr or a file, as written; "": AuditStderr where callers prove who they are
	DrainDelay     time.Duration          // how long a server that is told to stop, and is not ready any more, takes connections
	SlowRequest    time.Duration          // requests that take as long are logged; 0: none
}

// TLS names files in PEM, as written; relative ones are relative to the project's folder. Cert is "" where connections
// are not encrypted.
type TLS struct {
	Cert, Key string
	ClientCA  string // signs the certificates of clients; "": they have none
}

var (
	serverKeys = []string{"grpc", "http", "admin", "tls", "auth", "certificates", "insecure", "audit", "drain_delay", "slow_request"}
	tlsKeys    = []string{"cert", "key", "client_ca"}
)

// serverOption is a key of `server` that has one value.
type serverOption struct {
	name      string
	meaning   string
	byDefault string
	flag      string // of serve, "" for none
	at        func(*serverSettings) *setting
}

var serverTable = []serverOption{
	{
		"grpc", "host:port of gRPC; others than loopback take auth and tls", "127.0.0.1:6565", "--grpc",
		func(s *serverSettings) *setting { return &s.grpc },
	},
	{
		"http", "host:port of HTTP; others than loopback take auth and tls", "127.0.0.1:6566", "--http",
		func(s *serverSettings) *setting { return &s.http },
	},
	{
		"admin", "host:port for those who run the server: its state, metrics and profiles; off for none", defaultAdmin, "--admin",
		func(s *serverSettings) *setting { return &s.admin },
	},
	{"tls.cert", "file with the server's certificates, PEM", "", "", func(s *serverSettings) *setting { return &s.cert }},
	{"tls.key", "file with the key of the first of them, PEM", "", "", func(s *serverSettings) *setting { return &s.key }},
	{
		"tls.client_ca", "file with the authorities that sign the certificates of clients, PEM", "", "",
		func(s *serverSettings) *setting { return &s.clientCA },
	},
	{
		"auth", "callers prove who they are, by a token or a certificate", "false", "",
		func(s *serverSettings) *setting { return &s.auth },
	},
	{
		"insecure", "may listen beyond loopback without authentication or without TLS", "false", "--insecure",
		func(s *serverSettings) *setting { return &s.insecure },
	},
	{
		"audit", "file of the audit log, or stderr; without it, stderr where callers prove who they are", "", "",
		func(s *serverSettings) *setting { return &s.audit },
	},
	{
		"drain_delay", "how long a server that is told to stop says that it is not ready, and still takes connections, before it ends them", "500ms", "",
		func(s *serverSettings) *setting { return &s.drainDelay },
	},
	{
		"slow_request", "requests that take as long are logged, with where the time went; 0s: none", "1s", "",
		func(s *serverSettings) *setting { return &s.slow },
	},
}

// defaultServer is that of a project that says nothing.
func defaultServer() serverSettings {
	var s serverSettings
	for _, o := range serverTable {
		*o.at(&s) = setting{text: o.byDefault}
	}
	return s
}

// serverSettings is the key `server`.
type serverSettings struct {
	grpc, http, admin, cert, key, clientCA, auth, insecure, audit, drainDelay, slow setting
	certificates                                                                    map[string]certificateSetting
}

// certificateSetting is one key of `server.certificates`.
type certificateSetting struct {
	name  *yaml.Node
	roles []setting
}

// server overrides s with what the key `server` of m says.
func (m *mapping) server(s *serverSettings) {
	n := m.get("server")
	if n == nil {
		return
	}
	server := m.mapping(n, "server", serverKeys)
	server.setting("grpc", &s.grpc)
	server.setting("http", &s.http)
	server.setting("admin", &s.admin)
	server.setting("audit", &s.audit)
	server.setting("drain_delay", &s.drainDelay)
	server.setting("slow_request", &s.slow)
	server.flag("auth", &s.auth)
	server.flag("insecure", &s.insecure)
	if n := server.get("tls"); n != nil {
		tls := m.mapping(n, "server.tls", tlsKeys)
		tls.setting("cert", &s.cert)
		tls.setting("key", &s.key)
		tls.setting("client_ca", &s.clientCA)
	}
	if n := server.get("certificates"); n != nil {
		m.certificates(n, s)
	}
}

func (m *mapping) certificates(n *yaml.Node, s *serverSettings) {
	all := m.mapping(n, "server.certificates", nil)
	if all == nil {
		return
	}
	if s.certificates == nil {
		s.certificates = map[string]certificateSetting{}
	}
	for name, n := range all.values {
		one := certificateSetting{name: all.keys[name]}
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			m.add(n, codeWrongType, "certificate %q: want a list of roles, got %s", name, describe(n)).Hint = "write [" + string(auth.ReadOnline) + "]"
			continue
		}
		for _, item := range n.Content {
			if text, ok := m.scalar(item, "role"); ok {
				one.roles = append(one.roles, setting{text, target(item)})
			}
		}
		s.certificates[name] = one
	}
}

// flag is a setting that is true or false, or a variable that says so.
func (m *mapping) flag(key string, s *setting) {
	n := m.get(key)
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!bool" || n.ShortTag() == "!!str"):
		*s = setting{n.Value, n}
	default:
		m.add(n, codeWrongType, "server.%s: want a boolean, got %s", key, describe(n)).Hint = "write true or false"
	}
}

// server returns what settings say. What contradicts itself, or protects less than it seems to, is a problem.
func (e *expander) server(s *serverSettings) Server {
	out := Server{
		GRPC: e.address(s.grpc, "server.grpc"), HTTP: e.address(s.http, "server.http"),
		Admin: e.admin(s.admin), AdminByDefault: s.admin.node == nil,
		TLS:  TLS{Cert: e.file(s.cert, "tls.cert"), Key: e.file(s.key, "tls.key"), ClientCA: e.file(s.clientCA, "tls.client_ca")},
		Auth: e.boolean(s.auth, "auth"), Insecure: e.boolean(s.insecure, "insecure"),
		Audit: e.file(s.audit, "audit"), Certificates: e.certificates(s.certificates),
		DrainDelay:  e.duration(s.drainDelay, "drain_delay", "500ms"),
		SlowRequest: e.duration(s.slow, "slow_request", "1s"),
	}
	needs := func(have setting, what string, lack setting, key string) {
		if have.node != nil && lack.node == nil {
			e.add(have.node, codeMissingKey, "server.tls.%s needs server.tls.%s", what, key)
		}
	}
	needs(s.cert, "cert", s.key, "key")
	needs(s.key, "key", s.cert, "cert")
	needs(s.clientCA, "client_ca", s.cert, "cert")
	if s.clientCA.node != nil && !out.Auth {
		e.add(s.clientCA.node, codeUselessKey, "server.tls.client_ca does nothing while callers need not prove who they are").
			Hint = "write auth: true under server"
	}
	if s.clientCA.node == nil {
		for _, name := range sortedKeys(s.certificates) {
			e.add(s.certificates[name].name, codeUselessKey, "certificate %q: clients have none, as server.tls.client_ca is not set", name)
		}
	}
	return out
}

func (e *expander) certificates(s map[string]certificateSetting) map[string][]auth.Role {
	if len(s) == 0 {
		return nil
	}
	out := make(map[string][]auth.Role, len(s))
	for _, name := range sortedKeys(s) {
		for _, written := range s[name].roles {
			text, ok := e.expand(written)
			if !ok {
				continue
			}
			role := auth.Role(text)
			if !slices.Contains(auth.Roles, role) {
				p := e.add(written.node, codeBadChoice, "certificate %q: there is no role %q", name, written.text)
				if p.Hint = diag.Suggest(written.text, auth.RoleNames()); p.Hint == "" {
					p.Hint = "the roles are " + strings.Join(auth.RoleNames(), ", ")
				}
				continue
			}
			out[name] = append(out[name], role)
		}
	}
	return out
}

// admin is an address, or none.
func (e *expander) admin(s setting) string {
	if text, ok := e.expand(s); !ok || text == AdminOff {
		return text
	}
	return e.address(s, "server.admin")
}

// file is the path of a file, "" for none.
func (e *expander) file(s setting, what string) string {
	text, ok := e.expand(s)
	if ok && s.node != nil && strings.TrimSpace(text) == "" {
		e.add(s.node, codeBadSetting, "server.%s is empty", what).Hint = "leave it out for none"
	}
	return text
}

// duration is a setting that is a time, of at most a day.
func (e *expander) duration(s setting, what, hint string) (d time.Duration) {
	if text, ok := e.expand(s); ok && !length(&d, strings.TrimSpace(text)) {
		e.add(s.node, codeBadSetting, "server.%s is not a duration of at most a day", what).Hint = "write " + hint + ", or 0s for none"
	}
	return d
}

func (e *expander) boolean(s setting, what string) bool {
	text, ok := e.expand(s)
	if !ok || s.node == nil {
		return false
	}
	b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
	if err != nil {
		e.add(s.node, codeBadSetting, "server.%s is neither true nor false", what).Hint = "the default is false"
	}
	return b
}

func serverSchema() *jsonschema.Schema {
	flag := func(description string) *jsonschema.Schema {
		return either(description, &jsonschema.Schema{Type: "boolean"}, &jsonschema.Schema{Type: "string", Pattern: `^(true|false|.*\$\{.*)$`})
	}
	return object("Where `provender serve` listens, and whom it answers.", serverKeys, nil, map[string]*jsonschema.Schema{
		"grpc":  text("host:port of gRPC."),
		"http":  text("host:port of HTTP."),
		"admin": text("host:port for those who run the server: its state, metrics and profiles; off for none."),
		"tls": object("Connections are encrypted.", tlsKeys, nil, map[string]*jsonschema.Schema{
			"cert":      text("File with the server's certificates, PEM."),
			"key":       text("File with the key of the first of them, PEM."),
			"client_ca": text("File with the authorities that sign the certificates of clients, PEM."),
		}),
		"auth": flag("Callers prove who they are, by a token or a certificate. Default: false."),
		"certificates": named("Roles of clients, by the name in their certificates.",
			list("", len(auth.RoleNames()), enum("", auth.RoleNames()...))),
		"insecure":     flag("May listen beyond loopback without authentication or without TLS. Default: false."),
		"audit":        text("File of the audit log, or stderr."),
		"drain_delay":  text("How long a server that is told to stop says that it is not ready, and still takes connections. Default: 500ms."),
		"slow_request": text("Requests that take as long are logged, with where the time went; 0s: none. Default: 1s."),
	})
}
