package definition

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/redisurl"
)

// Config is provender.yaml with the overrides of an environment and from outside, variables expanded and defaults filled in.
type Config struct {
	Version     int
	Project     string
	Environment string            // the one chosen, "" for none
	Roots       map[string]string // named storage roots as written; relative ones are relative to the project's folder
	Registry    string            // URL; may hold a password
	Online      string            // URL; may hold a password
	Server      Server
	Limits      Limits
	Materialize Materialize
	Definitions Upstream
}

var (
	overrideKeys    = []string{"project", "roots", "registry", "online", "server", "limits", "materialize", "definitions"}
	configKeys      = slices.Concat([]string{"version"}, overrideKeys, []string{"environments"})
	registrySchemes = []string{"sqlite", "postgres", "postgresql"}
	rootSchemes     = []string{"s3", "gs", "az", "azblob"}
	onlineSchemes   = append([]string{"embedded"}, redisurl.Schemes()...)
)

const (
	defaultRegistry = "sqlite://.provender/registry.db"
	defaultOnline   = "embedded://.provender/online"
)

// setting is one value as written, with its place. It is never part of a message: it may hold a secret.
type setting struct {
	text string
	node *yaml.Node // nil for a default
}

// settings is provender.yaml, or one environment's part of it.
type settings struct {
	project, registry, online  setting
	server                     serverSettings
	roots, limits, materialize map[string]setting
	definitions                map[string]setting
}

// LoadConfig reads provender.yaml in dir, and what is said of its settings outside. Only what the environment chosen uses of
// variables must be set. The error is a *problem.Error where there is no such file, else a diag.Set with every problem found.
func LoadConfig(dir string, o Outside) (*Config, error) {
	_, _, cfg, err := load(dir, o)
	return cfg, err
}

// load also returns what the configuration is made of.
func load(dir string, o Outside) (*decoder, *settings, *Config, error) {
	path := filepath.Join(dir, ConfigName)
	content, err := readConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, &problem.Error{
			Code: problem.NotFound, Message: "no " + ConfigName + " in " + filepath.Clean(dir), Err: err,
			Suggestion: "provender init makes a project; -C DIR names its folder",
		}
	}
	var set diag.Set
	if err != nil {
		set.Add(diag.Position{File: path}, codeUnreadableFile, "%v", cause(err))
		return nil, nil, nil, set.Err()
	}
	if o.Env == "" {
		o.Env = o.Getenv(EnvironmentVariable)
	}
	d := newDecoder(path)
	s, cfg := parseConfig(d, content, o, values{dir, o.Getenv})
	if err := told(*d.set); err != nil {
		return nil, nil, nil, err
	}
	return d, s, cfg, nil
}

// readConfig reads a little more than is allowed of a file that is too large.
func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > MaxFileBytes {
		return make([]byte, MaxFileBytes+1), nil
	}
	return os.ReadFile(path)
}

// parseConfig returns nothing where it could not read everything.
func parseConfig(d *decoder, content []byte, o Outside, from values) (*settings, *Config) {
	variables, flags := o.variables(d.set, string(content)), o.flags(d.set)
	roots, whole := d.documents(content)
	if !whole {
		return nil, nil
	}
	s := d.project(roots, o.Env)
	if s == nil {
		return nil, nil
	}
	d.override(s, variables)
	d.override(s, flags)
	return s, s.config(d, o.Env, from)
}

// project reads what the document says, defaults for what it does not, nil where it says nothing.
func (d *decoder) project(roots []*yaml.Node, env string) *settings {
	if len(roots) == 0 {
		d.set.Add(diag.Position{File: d.file, Line: 1, Col: 1}, codeMissingKey, "the project needs the keys %q and %q", "version", "project")
		return nil
	}
	for _, more := range roots[1:] {
		d.add(more, codeWrongType, "%s is one document, this is another", ConfigName)
	}
	m := d.mapping(roots[0], "the project", configKeys)
	if m == nil {
		return nil
	}
	if n := m.need("version", "version: 1"); n != nil && (n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Value != "1") {
		d.add(n, codeBadVersion, "version must be 1, the number").Hint = "a newer Provender may know others"
	}
	s := settings{
		registry:    setting{text: defaultRegistry},
		online:      setting{text: defaultOnline},
		server:      defaultServer(),
		roots:       map[string]setting{},
		limits:      map[string]setting{},
		materialize: map[string]setting{},
		definitions: map[string]setting{},
	}
	m.need("project", "a name for the project")
	m.settings(&s)
	m.environment(&s, env)
	return &s
}

// config expands variables and checks what comes out.
func (s *settings) config(d *decoder, env string, from values) *Config {
	e := &expander{decoder: d, values: from}
	cfg := &Config{
		Version: 1, Environment: env,
		Project:     e.project(s.project),
		Registry:    e.url(s.registry, "registry", registrySchemes),
		Online:      e.online(s.online),
		Server:      e.server(&s.server),
		Roots:       make(map[string]string, len(s.roots)),
		Limits:      e.limits(s.limits),
		Materialize: e.materialize(s.materialize),
		Definitions: e.upstream(s.definitions),
	}
	for name, root := range s.roots {
		text, ok := e.expand(root)
		if ok && strings.TrimSpace(text) == "" {
			d.add(root.node, codeBadPath, "root %q is empty", name)
		}
		if ok {
			e.root(name, root, text)
		}
		cfg.Roots[name] = text
	}
	return cfg
}

// settings overrides s with what m says.
func (m *mapping) settings(s *settings) {
	m.setting("project", &s.project)
	m.setting("registry", &s.registry)
	m.setting("online", &s.online)
	m.limits(s.limits)
	m.materialize(s.materialize)
	m.server(&s.server)
	m.upstream(s.definitions)
	if n := m.get("roots"); n != nil {
		roots := m.mapping(n, "roots", nil)
		if roots == nil {
			return
		}
		for name := range roots.values {
			m.checkName(roots.keys[name], "root", name, false)
			var root setting
			if roots.setting(name, &root); root.node != nil {
				s.roots[name] = root
			}
		}
	}
}

func (m *mapping) setting(key string, s *setting) {
	if n := m.get(key); n != nil {
		if text, ok := m.scalar(n, key); ok {
			*s = setting{text, n}
		}
	}
}

// environment overrides s with the environment chosen; the others are read for their problems alone.
func (m *mapping) environment(s *settings, env string) {
	at := m.node
	var all *mapping
	if n := m.get("environments"); n != nil {
		at = n
		all = m.mapping(n, "environments", nil)
	}
	var names []string
	if all != nil {
		names = sortedKeys(all.values)
	}
	for _, name := range names {
		m.checkName(all.keys[name], "environment", name, false)
		one := m.mapping(all.values[name], "an environment", overrideKeys)
		if name == env {
			one.settings(s)
		} else {
			one.settings(&settings{
				roots: map[string]setting{}, limits: map[string]setting{}, materialize: map[string]setting{}, definitions: map[string]setting{},
			})
		}
	}
	if env != "" && !slices.Contains(names, env) {
		m.add(at, codeUnknownEnvironment, "no environment is named %q", env).Hint = diag.Suggest(env, names)
	}
}

// expander replaces ${VAR} and ${file:PATH} by what they stand for and checks what comes out. Values are never part of a
// message.
type expander struct {
	*decoder
	values
}

// expand returns the value of s, or reports why there is none.
func (e *expander) expand(s setting) (string, bool) {
	if s.node == nil {
		return s.text, true
	}
	var b strings.Builder
	set := true
	for rest := s.text; ; {
		before, after, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			return b.String(), set
		}
		name, behind, closed := strings.Cut(after, "}")
		path, isFile := strings.CutPrefix(name, "file:")
		if !closed || isFile && path == "" || !isFile && !variable(name) {
			e.add(s.node, codeBadVariable, "${ does not begin a variable").Hint = "write ${NAME} or ${file:PATH}"
			return "", false
		}
		var value string
		if isFile {
			var err error
			if value, err = e.content(path); err != nil {
				e.add(s.node, codeUnsetVariable, "the file %s has no value: %v", path, err)
				set = false
			}
		} else if value = e.getenv(name); value == "" {
			e.add(s.node, codeUnsetVariable, "the environment variable %s is not set", name)
			set = false
		}
		b.WriteString(value)
		rest = behind
	}
}

func variable(name string) bool {
	for i, c := range name {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func (e *expander) project(s setting) string {
	text, ok := e.expand(s)
	if ok && s.node != nil {
		e.checkName(s.node, "project", text, false)
	}
	return text
}

func (e *expander) url(s setting, what string, schemes []string) string {
	text, ok := e.expand(s)
	if !ok {
		return ""
	}
	scheme, rest, hasScheme := strings.Cut(text, "://")
	switch {
	case !hasScheme:
		e.add(s.node, codeBadURL, "%s: want a URL", what).Hint = "it begins with one of " + strings.Join(schemes, "://, ") + "://"
	case !slices.Contains(schemes, scheme):
		// Whatever stands before :// could be a secret too, if the URL is garbled.
		p := e.add(s.node, codeBadURL, "%s: the URL's scheme is not one of %s", what, strings.Join(schemes, ", "))
		p.Hint = diag.Suggest(scheme, schemes)
	case rest == "":
		e.add(s.node, codeBadURL, "%s: nothing stands behind %s://", what, scheme)
	case scheme == "embedded":
		_, problems := ParseEmbedded(text)
		for _, p := range problems {
			e.add(s.node, codeBadURL, "%s: %s", what, p.Message).Hint = p.Hint
		}
	}
	return text
}

// online checks the URL of the online store, every parameter included.
func (e *expander) online(s setting) string {
	text := e.url(s, "online", onlineSchemes)
	scheme, rest, _ := strings.Cut(text, "://")
	if rest == "" || !redisurl.IsScheme(scheme) {
		return text
	}
	_, problems := redisurl.Parse(text)
	for _, p := range problems {
		e.add(s.node, codeBadURL, "online: %s", p.Message).Hint = p.Hint
	}
	return text
}

// root checks the URL of a root; what is none is a folder.
func (e *expander) root(name string, s setting, text string) {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL || strings.ContainsAny(scheme, `/\.`) {
		return
	}
	bucket, _, _ := strings.Cut(rest, "/")
	switch {
	case !slices.Contains(rootSchemes, strings.ToLower(scheme)):
		e.add(s.node, codeBadURL, "root %q: the URL's scheme is not one of %s", name, strings.Join(rootSchemes, ", ")).Hint = diag.Suggest(scheme, rootSchemes)
	case bucket == "" || strings.HasPrefix(bucket, "?"):
		e.add(s.node, codeBadURL, "root %q: the URL names no bucket", name).Hint = "write " + scheme + "://bucket/path"
	case strings.ContainsAny(bucket, "@:"):
		e.add(s.node, codeBadURL, "root %q: the URL holds a user or a port", name).Hint = "credentials come from the environment; ?endpoint= names a server"
	}
}

func (e *expander) address(s setting, what string) string {
	text, ok := e.expand(s)
	if !ok {
		return ""
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		e.add(s.node, codeBadAddress, "%s: %q is not host:port", what, s.text).Hint = "write 127.0.0.1:6565"
	}
	return text
}
