// Package version tells which build of Provender this is.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

const module = "github.com/provender-dev/provender"

// What the linker sets in releases, and in builds where there is no repository. What it leaves empty is taken from Go's own
// record of the build.
//
//	-ldflags "-X github.com/provender-dev/provender/internal/version.version=v1.2.3"
var version, commit, date string

// Info is one build. What is not known of it is empty.
type Info struct {
	Version  string // "v1.2.3", a commit's as Go writes it, or "(devel)"
	Commit   string // of the sources, all 40 digits
	Modified bool   // the sources had changes that are in no commit
	Date     string // of the commit, RFC 3339
	Go       string // "1.26.8"
	Platform string // "linux/amd64"
}

// Get returns this build.
func Get() Info { return get() }

var get = sync.OnceValue(func() Info {
	build, _ := debug.ReadBuildInfo()
	return of(build, Info{Version: version, Commit: commit, Date: date})
})

// String returns this build's version alone.
func String() string { return Get().Version }

// Agent is what a client of the given name calls itself to servers: "provender-go/1.2.3".
func Agent(name string) string {
	return name + "/" + strings.Trim(strings.TrimPrefix(String(), "v"), "()") // parentheses would be a comment
}

// String is one line for people.
func (i Info) String() string {
	var about []string
	if i.Commit != "" {
		about = append(about, i.Commit[:min(12, len(i.Commit))])
	}
	if i.Modified {
		about = append(about, "modified")
	}
	if i.Date != "" {
		about = append(about, i.Date)
	}
	return fmt.Sprintf("%s (%s)", i.Version, strings.Join(append(about, "Go "+i.Go, i.Platform), ", "))
}

// of fills in what was not stamped. The build may be that of a program elsewhere which has this module among those that it
// needs: then the repository of the record is not ours.
func of(build *debug.BuildInfo, stamped Info) Info {
	i := stamped
	i.Go, i.Platform = strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS+"/"+runtime.GOARCH
	recorded := ""
	switch {
	case build == nil:
	case build.Main.Path == module:
		recorded = build.Main.Version
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = cmp.Or(i.Commit, s.Value)
			case "vcs.time":
				i.Date = cmp.Or(i.Date, s.Value)
			case "vcs.modified":
				i.Modified = s.Value == "true"
			}
		}
	default:
		for _, m := range build.Deps {
			if m.Path == module {
				if m.Replace != nil {
					m = m.Replace
				}
				recorded = m.Version
			}
		}
	}
	i.Version = cmp.Or(i.Version, recorded, "(devel)")
	return i
}
