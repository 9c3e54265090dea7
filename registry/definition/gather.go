package definition

import (
	"errors"
	"path"
	"strings"

	"github.com/provender-dev/provender/internal/diag"
)

const (
	maxGatheredFiles = 10_000
	maxGatheredBytes = 64 << 20
)

// Gathering takes the definition files of a tree that Read can't walk, by the same rules, and at most so many: what it is
// given comes from elsewhere.
type Gathering struct {
	Prefix string // stands before the paths, in names of files

	files []File
	set   diag.Set
	bytes int64
	full  bool
}

// Skips reports whether a file or folder of this name counts as absent, with all that is below it.
func Skips(name string) bool { return strings.HasPrefix(name, ".") }

// isYAML reports whether a file of this name is read as YAML.
func isYAML(name string) bool {
	ext := path.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// Add takes a file, if it is one of those that hold definitions. Its path is relative to the tree, with slashes; read is
// called at once, if at all.
func (g *Gathering) Add(name string, size int64, read func() ([]byte, error)) {
	base := path.Base(name)
	if g.full || Skips(base) || !isYAML(base) {
		return
	}
	at := diag.Position{File: g.Prefix + name}
	if base == ConfigName {
		if name != base {
			g.set.Add(at, codeNestedProject, "a project within the project").Hint = "move one of them"
		}
		return
	}
	if size > MaxFileBytes {
		g.set.Add(at, codeFileTooLarge, "the file has more than %d bytes", MaxFileBytes).Hint = "split it"
		return
	}
	if g.bytes += size; g.bytes > maxGatheredBytes || len(g.files) == maxGatheredFiles {
		g.full = true
		g.set.Add(at, codeFileTooLarge, "with this file it is more than %d definition files, or %d bytes", maxGatheredFiles, maxGatheredBytes)
		return
	}
	content, err := read()
	if err != nil {
		g.set.Add(at, codeUnreadableFile, "%v", cause(err))
		return
	}
	g.files = append(g.files, File{Name: at.File, Content: content})
}

// Refuse notes why a file can't be taken, if it is one of those that hold definitions.
func (g *Gathering) Refuse(name, why string) {
	g.Add(name, 0, func() ([]byte, error) { return nil, errors.New(why) })
}

// TooLarge notes that a file is larger than is read, if it is one of those that hold definitions.
func (g *Gathering) TooLarge(name string) { g.Add(name, MaxFileBytes+1, nil) }

// Files returns what was taken, and a diag.Set of what could not be.
func (g *Gathering) Files() ([]File, error) { return g.files, g.set.Err() }
