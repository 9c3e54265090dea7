package definition

import (
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// Upstream is where a server takes definitions from, and how.
type Upstream struct {
	From          string        // as ParseOrigin reads it; may hold a password; "": from nowhere
	Interval      time.Duration // between two looks
	AllowBreaking bool
	WebhookSecret string // "": there is no webhook
}

const (
	minInterval = time.Second
	maxInterval = 24 * time.Hour
	// minSecret is how many characters a webhook's secret has at least: it can be guessed at as fast as a server answers.
	minSecret = 16
)

var (
	upstreamTable = []upstreamOption{
		{"from", "a folder, or git:URL#branch:folder, which definitions are taken from", "", "--definitions"},
		{"interval", "between two looks, 1s to a day", "1m", ""},
		{"allow_breaking", "whether changes are applied that break services", "false", ""},
		{"webhook_secret", "what a caller of the webhook must know, at least 16 characters; without it there is none", "", ""},
	}
	upstreamKeys = func() []string {
		keys := make([]string, len(upstreamTable))
		for i, o := range upstreamTable {
			keys[i] = o.name
		}
		return keys
	}()
	originSchemes = []string{"https", "http", "file"}
)

// upstreamOption is one key of `definitions`.
type upstreamOption struct{ name, meaning, byDefault, flag string }

// defaultUpstream is that of a project that has none.
var defaultUpstream = Upstream{Interval: time.Minute}

// upstream overrides s with what the key `definitions` of m says.
func (m *mapping) upstream(s map[string]setting) {
	n := m.get("definitions")
	if n == nil {
		return
	}
	definitions := m.mapping(n, "definitions", upstreamKeys)
	for _, key := range upstreamKeys {
		switch n := definitions.get(key); {
		case n == nil:
		case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null":
			s[key] = setting{n.Value, n}
		default:
			m.add(n, codeWrongType, "definitions.%s: want a text, got %s", key, describe(n))
		}
	}
}

// upstream returns what settings say, defaults for the others.
func (e *expander) upstream(s map[string]setting) Upstream {
	out := defaultUpstream
	for _, key := range upstreamKeys {
		written, ok := s[key]
		if !ok {
			continue
		}
		text, ok := e.expand(written)
		if !ok {
			continue
		}
		bad := func(want, hint string) {
			e.add(written.node, codeBadSetting, "definitions.%s is not %s", key, want).Hint = hint
		}
		switch key {
		case "from":
			out.From = text
			if _, err := ParseOrigin(text); err != nil {
				e.add(written.node, codeBadSetting, "definitions.from: %s", err.Message).Hint = err.Suggestion
			}
		case "interval":
			d, err := registry.ParseDuration(strings.TrimSpace(text))
			if out.Interval = d; err != nil || d < minInterval || d > maxInterval {
				bad("a duration from 1s to a day", "the default is 1m")
			}
		case "allow_breaking":
			if out.AllowBreaking = text == "true"; text != "true" && text != "false" {
				bad("true or false", "the default is false")
			}
		case "webhook_secret":
			if out.WebhookSecret = text; len(text) < minSecret {
				bad("a text of at least 16 characters", "leave it out for no webhook")
			}
		}
	}
	return out
}

// ExpandVariables replaces each ${VAR} of a text that is written elsewhere than in provender.yaml.
func ExpandVariables(text string, getenv func(string) string) (string, error) {
	var set diag.Set
	e := &expander{decoder: &decoder{set: &set}, values: values{getenv: getenv}}
	out, _ := e.expand(setting{text, &yaml.Node{}})
	if len(set) > 0 {
		return "", &problem.Error{Code: problem.Invalid, Message: set[0].Message, Suggestion: set[0].Hint}
	}
	return out, nil
}

// Origin is a place that holds definition files: a folder, or a folder of a Git repository at a branch or tag.
type Origin struct {
	Git            bool
	Repository     string // a URL without user and password, or a path; "" for a folder
	User, Password string
	Branch         string // or a tag; "" is the repository's own choice
	Folder         string // within the repository, with slashes, "." for all of it; else on this machine
}

// ParseOrigin reads "git:URL#branch:folder", where branch, folder or both may be missing, or the path of a folder. No
// message holds a part of the text that may be a secret.
func ParseOrigin(text string) (Origin, *problem.Error) {
	rest, isGit := strings.CutPrefix(text, "git:")
	switch {
	case strings.TrimSpace(text) == "":
		return Origin{}, badOrigin("it names no folder", "write a path, or git:URL#branch:folder")
	case !isGit && strings.Contains(text, "://"):
		return Origin{}, badOrigin("a URL, but not of what", "write git:URL#branch:folder")
	case !isGit:
		return Origin{Folder: filepath.Clean(text)}, nil
	}
	repository, at, _ := strings.Cut(rest, "#")
	branch, folder, _ := strings.Cut(at, ":")
	o := Origin{Git: true, Branch: branch, Folder: path.Clean(strings.Trim(folder, "/"))}
	if !validBranch(branch) {
		return Origin{}, badOrigin("what stands between # and : is no name of a branch or tag", "write git:URL#branch:folder")
	}
	if !filepath.IsLocal(o.Folder) {
		return Origin{}, badOrigin("the folder is outside of the repository", "")
	}
	return o.withRepository(repository)
}

func (o Origin) withRepository(text string) (Origin, *problem.Error) {
	if !strings.Contains(text, "://") {
		host, _, colon := strings.Cut(text, ":")
		switch {
		case text == "":
			return Origin{}, badOrigin("it names no repository", "write git:URL#branch:folder")
		case colon && !strings.Contains(host, "/"):
			return Origin{}, badSSH()
		}
		o.Repository = filepath.Clean(text)
		return o, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Origin{}, badOrigin("what stands behind git: is no URL", "")
	case u.Scheme == "ssh", u.Scheme == "git":
		return Origin{}, badSSH()
	case !slices.Contains(originSchemes, u.Scheme):
		return Origin{}, badOrigin("the URL's scheme is not one of "+strings.Join(originSchemes, ", "), diag.Suggest(u.Scheme, originSchemes))
	case u.RawQuery != "":
		return Origin{}, badOrigin("the URL has a query", "")
	case u.Scheme == "file":
		if u.Host != "" || u.User != nil || u.Path == "" {
			return Origin{}, badOrigin("a file:// URL has a path alone", "write git:file:///srv/repository.git")
		}
		o.Repository = filepath.Clean(u.Path)
		return o, nil
	case u.Hostname() == "":
		return Origin{}, badOrigin("the URL names no host", "")
	}
	if u.User != nil {
		o.User = u.User.Username()
		o.Password, _ = u.User.Password()
		u.User = nil
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			return Origin{}, badOrigin("the URL would send a password that others can read", "use https")
		}
	}
	o.Repository = u.String()
	return o, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func badOrigin(message, suggestion string) *problem.Error {
	return &problem.Error{Code: problem.Invalid, Message: message, Suggestion: suggestion}
}

func badSSH() *problem.Error {
	return badOrigin("repositories are read over https", "write git:https://USER:${TOKEN}@host/path")
}

// validBranch follows what Git allows, as far as it matters: the name goes into no path and no command.
func validBranch(name string) bool {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }
	return !strings.ContainsFunc(name, bad) && !strings.Contains(name, "..") && !strings.HasPrefix(name, "-")
}

// String returns the origin as it is written, without user and password.
func (o Origin) String() string {
	if !o.Git {
		return o.Folder
	}
	s := "git:" + o.Repository
	if o.Branch != "" || o.Folder != "." {
		s += "#" + o.Branch
	}
	if o.Folder != "." {
		s += ":" + o.Folder
	}
	return s
}

func upstreamSchema() *jsonschema.Schema {
	return object("Where `provender serve` takes definitions from.", upstreamKeys, nil, map[string]*jsonschema.Schema{
		"from":     text("A folder, or git:URL#branch:folder."),
		"interval": text("Between two looks. Default: 1m."),
		"allow_breaking": either("Whether changes are applied that break services. Default: false.",
			&jsonschema.Schema{Type: "boolean"}, text("")),
		"webhook_secret": text("What a caller of the webhook must know; without it there is none."),
	})
}
