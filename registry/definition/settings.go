package definition

import (
	"net/url"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/diag"
)

// Setting is a key of provender.yaml that has one value, which variables and the command line can override.
type Setting struct {
	Key     string // "limits.exports"; "roots.NAME" stands for one of each name
	Meaning string
	Default string // "" for none
	Flag    string // of serve, that comes before --set; "" for none

	list  bool                     // several values, with commas between them
	shown func(text string) string // without secrets
}

// settingName stands for a name that a project chooses, at the end of a key.
const settingName = "NAME"

// Settings are all, in the order of provender.yaml.
var Settings = func() []Setting {
	out := []Setting{
		{Key: "project", Meaning: "the project's name"},
		{Key: "roots." + settingName, Meaning: "a storage root, which definitions name before a colon: a folder, or a URL of s3, gs or az", shown: diag.Mask},
		{Key: "registry", Meaning: "URL of the registry", Default: defaultRegistry, shown: diag.Mask},
		{Key: "online", Meaning: "URL of the online store", Default: defaultOnline, shown: diag.Mask},
	}
	for _, o := range serverTable {
		out = append(out, Setting{Key: "server." + o.name, Meaning: o.meaning, Default: o.byDefault, Flag: o.flag})
	}
	out = append(out, Setting{
		Key: "server.certificates." + settingName, list: true,
		Meaning: "roles of clients with that name in their certificates; in variables and flags with commas between them",
	})
	for _, l := range limitTable {
		out = append(out, Setting{Key: "limits." + l.name, Meaning: l.meaning, Default: l.byDefault})
	}
	for _, o := range optionTable {
		out = append(out, Setting{Key: "materialize." + o.name, Meaning: o.meaning, Default: o.byDefault})
	}
	for _, o := range upstreamTable {
		out = append(out, Setting{Key: "definitions." + o.name, Meaning: o.meaning, Default: o.byDefault, Flag: o.flag})
	}
	secrets := map[string]func(string) string{
		"materialize.webhook": hostOf, "definitions.from": maskOrigin, "definitions.webhook_secret": func(string) string { return "***" },
	}
	for i := range out {
		if hide := secrets[out[i].Key]; hide != nil {
			out[i].shown = hide
		}
		if out[i].shown == nil {
			out[i].shown = func(text string) string { return text }
		}
	}
	return out
}()

// hostOf leaves a URL's scheme and host: paths of webhooks are secrets.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "***"
	}
	return u.Scheme + "://" + u.Host + "/***"
}

func maskOrigin(text string) string {
	o, err := ParseOrigin(text)
	if err != nil {
		return "***"
	}
	return o.String()
}

// Variable is the name of the variable that overrides the setting.
func (s Setting) Variable() string { return variablePrefix + capitals(s.Key) }

// group returns what keys begin with that stand for one of each name.
func (s Setting) group() (prefix string, named bool) { return strings.CutSuffix(s.Key, settingName) }

// path splits a key of the setting: a name may have dots.
func (s Setting) path(key string) []string {
	return strings.SplitN(key, ".", strings.Count(s.Key, ".")+1)
}

// settingOf returns the setting that a key is one of, nil where there is none.
func settingOf(key string) *Setting {
	i := slices.IndexFunc(Settings, func(s Setting) bool {
		group, named := s.group()
		return !named && s.Key == key || named && strings.HasPrefix(key, group) && key != group
	})
	if i < 0 {
		return nil
	}
	return &Settings[i]
}

func settingKeys() []string {
	keys := make([]string, len(Settings))
	for i, s := range Settings {
		keys[i] = s.Key
	}
	return keys
}

// all returns what the settings are, by their keys.
func (s *settings) all() map[string]setting {
	out := map[string]setting{"project": s.project, "registry": s.registry, "online": s.online}
	for _, o := range serverTable {
		out["server."+o.name] = *o.at(&s.server)
	}
	for name, c := range s.server.certificates {
		var roles []string
		for _, role := range c.roles {
			roles = append(roles, role.text)
		}
		out["server.certificates."+name] = setting{strings.Join(roles, ","), c.name}
	}
	for section, values := range map[string]map[string]setting{
		"roots": s.roots, "limits": s.limits, "materialize": s.materialize, "definitions": s.definitions,
	} {
		for name, value := range values {
			out[section+"."+name] = value
		}
	}
	return out
}
