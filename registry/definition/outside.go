package definition

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/diag"
)

// EnvironmentVariable chooses the environment where the caller does not.
const EnvironmentVariable = "PROVENDER_ENV"

const variablePrefix = "PROVENDER_"

// otherVariables are those that mean something, but are no settings.
var otherVariables = []string{
	EnvironmentVariable, "PROVENDER_SERVER", "PROVENDER_TOKEN", "PROVENDER_TOKEN_FILE", "PROVENDER_PLAINTEXT_TOKEN",
	"PROVENDER_TLS_CA", "PROVENDER_TLS_CERT", "PROVENDER_TLS_KEY",
}

// Outside is what speaks of a project's settings besides provender.yaml. The command line comes before the environment's
// variables, and they before the file.
type Outside struct {
	Env     string   // which of the file's environments; "": the one that PROVENDER_ENV names, if any
	Set     []string // KEY=VALUE; of one key the last counts
	Environ []string // NAME=VALUE, as os.Environ has them
}

// Getenv returns the value of a variable, "" where it is not set.
func (o Outside) Getenv(name string) string {
	for _, v := range o.Environ {
		if key, value, _ := strings.Cut(v, "="); key == name {
			return value
		}
	}
	return ""
}

// override is a setting's value from outside.
type override struct {
	key, text string
	from      string // in place of a position in the file
}

// variables returns the settings that variables make. One that seems to be meant for a setting and is none is a problem, unless
// the file, whose content is given, asks for it by its name: then it is the project's own.
func (o Outside) variables(set *diag.Set, content string) []override {
	var out []override
	for _, v := range o.Environ {
		name, value, _ := strings.Cut(v, "=")
		rest, ours := strings.CutPrefix(name, variablePrefix)
		if !ours || value == "" || slices.Contains(otherVariables, name) {
			continue
		}
		if key := variableKey(rest); key != "" {
			out = append(out, override{key, value, name})
			continue
		}
		if serviceLink.MatchString(rest) || strings.Contains(content, "${"+name+"}") {
			continue
		}
		if near := nearVariable(rest); near != "" || inSection(rest) {
			set.Add(diag.Position{File: name}, codeUnknownKey, "no setting has this variable").Hint = near
		}
	}
	return out
}

// serviceLink matches what Kubernetes tells every container of the services beside it, which may be named after us.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// variableKey returns the setting of a variable, less the prefix of all; "" where there is none.
func variableKey(name string) string {
	for _, s := range Settings {
		if group, named := s.group(); named {
			if one, ok := strings.CutPrefix(name, capitals(group)); ok && one != "" {
				return group + strings.ToLower(one)
			}
		} else if capitals(s.Key) == name {
			return s.Key
		}
	}
	return ""
}

// nearVariable suggests the variable that one, less the prefix of all, was meant to be.
func nearVariable(name string) string {
	names := make([]string, len(Settings))
	for i, s := range Settings {
		names[i] = capitals(s.Key)
	}
	if near := diag.Closest(name, names); near != "" {
		return "did you mean " + variablePrefix + near + "?"
	}
	return ""
}

// inSection reports whether a variable begins as those of a key with more below it do.
func inSection(name string) bool {
	return slices.ContainsFunc(Settings, func(s Setting) bool {
		section, _, below := strings.Cut(s.Key, ".")
		return below && strings.HasPrefix(name, capitals(section)+"_")
	})
}

// capitals writes a key as variables have it.
func capitals(key string) string { return strings.ToUpper(strings.ReplaceAll(key, ".", "_")) }

// flags returns the settings that the command line makes. Nothing of an argument that names no setting is told: it may be a
// secret at the wrong place.
func (o Outside) flags(set *diag.Set) []override {
	var out []override
	for _, arg := range o.Set {
		key, value, found := strings.Cut(arg, "=")
		known := settingOf(key) != nil
		switch {
		case found && known:
			out = append(out, override{key, value, "--set " + key})
		case known:
			set.Add(diag.Position{File: "--set " + key}, codeMissingKey, "a value is missing").Hint = "write --set " + key + "=VALUE"
		case !keyLike.MatchString(key):
			set.Add(diag.Position{File: "--set"}, codeUnknownKey, "want KEY=VALUE").Hint = "as in --set server.grpc=127.0.0.1:6565"
		default:
			set.Add(diag.Position{File: "--set " + key}, codeUnknownKey, "there is no setting %q", key).Hint = diag.Suggest(key, settingKeys())
		}
	}
	return out
}

var keyLike = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// override makes the settings of list, the last of each key, as if an environment of the file had them.
func (d *decoder) override(s *settings, list []override) {
	last := map[string]override{}
	for _, o := range list {
		last[o.key] = o
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range sortedKeys(last) {
		o := last[key]
		text := func(value string) *yaml.Node {
			n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
			d.elsewhere[n] = o.from
			return n
		}
		setting := settingOf(key)
		value := text(o.text)
		if setting.list {
			value = &yaml.Node{Kind: yaml.SequenceNode}
			d.elsewhere[value] = o.from
			for item := range strings.SplitSeq(o.text, ",") {
				value.Content = append(value.Content, text(strings.TrimSpace(item)))
			}
		}
		m := root
		path := setting.path(key)
		for _, name := range path[:len(path)-1] {
			m = child(m, text(name))
		}
		m.Content = append(m.Content, text(path[len(path)-1]), value)
	}
	d.mapping(root, "settings", overrideKeys).settings(s)
}

// child returns the mapping that a key of m has, which is made where there is none.
func child(m, key *yaml.Node) *yaml.Node {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == key.Value {
			return m.Content[i+1]
		}
	}
	next := &yaml.Node{Kind: yaml.MappingNode}
	m.Content = append(m.Content, key, next)
	return next
}

// Value is what a setting is, and where that comes from.
type Value struct {
	Key  string
	Text string // nothing of what may be a secret
	From string // a position in the file, the name of a variable, "--set KEY"; "" for a default
}

// Values reads settings as LoadConfig does and returns all of them, in the order of Settings.
func Values(dir string, o Outside) ([]Value, error) {
	d, s, _, err := load(dir, o)
	if err != nil {
		return nil, err
	}
	e := &expander{decoder: d, values: values{dir, o.Getenv}}
	all := s.all()
	var out []Value
	for _, setting := range Settings {
		keys := []string{setting.Key}
		if group, named := setting.group(); named {
			keys = slices.DeleteFunc(sortedKeys(all), func(key string) bool { return !strings.HasPrefix(key, group) })
		}
		for _, key := range keys {
			v := Value{Key: key, Text: setting.Default}
			if written := all[key]; written.node != nil {
				text, _ := e.expand(written) // load has told why there is none
				v.Text, v.From = setting.shown(text), d.at(written.node).String()
			}
			out = append(out, v)
		}
	}
	return out, nil
}
