// Package definition reads a project's YAML files: provender.yaml, and the definitions of entities, sources, views and
// services beside it. Every problem of every file is found in one pass and has a position.
package definition

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// ConfigName is the file that makes a folder a project.
const ConfigName = "provender.yaml"

// File is one definition file.
type File struct {
	Name    string // as positions show it
	Content []byte
}

// Project is everything that a project's files say.
type Project struct {
	Config      *Config
	Definitions *registry.Definitions
	Positions   *Positions
}

// LoadProject reads provender.yaml and the definitions, and checks that paths begin with roots that exist. The error
// is a *problem.Error where there is no project, else a diag.Set. Arguments are those of LoadConfig.
func LoadProject(dir string, o Outside) (*Project, error) {
	var set diag.Set
	cfg, err := LoadConfig(dir, o)
	var missing *problem.Error
	if errors.As(err, &missing) {
		return nil, err
	}
	collect(&set, err)
	defs, positions, err := Load(dir)
	collect(&set, err)
	if cfg != nil && defs != nil {
		checkRoots(&set, cfg, defs, positions)
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	return &Project{Config: cfg, Definitions: defs, Positions: positions}, nil
}

// Parse reads a project's definition files that are in memory, and checks that paths begin with roots that exist. The
// error is a diag.Set with every problem found.
func (c *Config) Parse(files []File) (*Project, error) {
	defs, positions, err := Parse(files)
	if err != nil {
		return nil, err
	}
	var set diag.Set
	checkRoots(&set, c, defs, positions)
	return &Project{Config: c, Definitions: defs, Positions: positions}, set.Err()
}

// collect adds the problems that err is made of.
func collect(set *diag.Set, err error) {
	var more diag.Set
	if errors.As(err, &more) {
		*set = append(*set, more...)
	}
}

// Load reads the definition files below dir. The error is a diag.Set with every problem found.
func Load(dir string) (*registry.Definitions, *Positions, error) {
	files, unread := Read(dir)
	var set diag.Set
	collect(&set, unread)
	return parse(files, set)
}

// Read returns every *.yaml and *.yml below dir, except provender.yaml and what begins with a dot, under their paths. The
// error is a diag.Set of those that can't be read; the others are there beside it.
func Read(dir string) (files []File, _ error) {
	var set diag.Set
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		unreadable := func(err error) error {
			set.Add(diag.Position{File: path}, codeUnreadableFile, "%v", cause(err))
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		name := entry.Name()
		if Skips(name) && path != dir {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if entry.IsDir() || !isYAML(name) {
			return nil
		}
		if name == ConfigName {
			if filepath.Dir(path) != filepath.Clean(dir) {
				set.Add(diag.Position{File: path}, codeNestedProject, "a project within the project in %s", filepath.Clean(dir)).
					Hint = "move one of them"
			}
			return nil
		}
		// A link to a folder is not followed.
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return nil
		}
		if f, ok := readFile(&set, path); ok {
			files = append(files, f)
		}
		return nil
	})
	if err != nil { // the function above returns none
		return nil, err
	}
	return files, set.Err()
}

// readFile reads one file, or reports why it can't be. A link counts as what it leads to.
func readFile(set *diag.Set, path string) (f File, ok bool) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case info.Size() > MaxFileBytes:
		set.Add(diag.Position{File: path}, codeFileTooLarge, "the file has %d bytes, at most %d are read", info.Size(), MaxFileBytes).
			Hint = "split it"
		return f, false
	}
	if err == nil {
		f = File{Name: path}
		f.Content, err = os.ReadFile(path)
	}
	if err != nil {
		set.Add(diag.Position{File: path}, codeUnreadableFile, "%v", cause(err))
	}
	return f, err == nil
}

// ReadAll returns the files of some paths, provender.yaml too: files as they are, of folders what Read finds there. The
// error is a diag.Set of those that can't be read; the others are there beside it.
func ReadAll(paths []string) (files []File, _ error) {
	var set diag.Set
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			if config := filepath.Join(path, ConfigName); exists(config) {
				if f, ok := readFile(&set, config); ok {
					files = append(files, f)
				}
			}
			found, err := Read(path)
			collect(&set, err)
			files = append(files, found...)
			continue
		}
		if f, ok := readFile(&set, path); ok {
			files = append(files, f)
		}
	}
	return files, set.Err()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// cause strips the path, which the position has already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Parse reads definition files that are in memory. The error is a diag.Set with every problem found.
func Parse(files []File) (*registry.Definitions, *Positions, error) { return parse(files, nil) }

func parse(files []File, set diag.Set) (*registry.Definitions, *Positions, error) {
	r := &reader{
		set: set, partial: len(set) > 0,
		defs: &registry.Definitions{}, positions: &Positions{at: map[[2]string]declared{}},
	}
	for _, f := range files {
		r.file(f)
	}
	sortByName(r.defs)
	r.check()
	if err := told(r.set); err != nil {
		return nil, nil, err
	}
	return r.defs, r.positions, nil
}

func sortByName(d *registry.Definitions) {
	slices.SortFunc(d.Entities, func(a, b *registry.Entity) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Sources, func(a, b *registry.Source) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Views, func(a, b *registry.FeatureView) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Services, func(a, b *registry.FeatureService) int { return cmp.Compare(a.Name, b.Name) })
}

// reader gathers the definitions of all files.
type reader struct {
	set       diag.Set
	defs      *registry.Definitions
	positions *Positions
	// partial: something could not be read, so that a name that is missing may yet be declared.
	partial bool
}

// Positions tells where definitions and their parts stand. Immutable.
type Positions struct{ at map[[2]string]declared }

// declared is where a definition stands.
type declared struct {
	name diag.Position
	root *yaml.Node
}

// At returns the position of a part of a definition: At("FeatureView", "airport_hourly", "features", "2", "type"), list
// elements by index from 0. A part that is not written has the position of what holds it. A last element "@key" asks for
// the position of that key instead of its value.
func (p *Positions) At(kind, name string, path ...string) diag.Position {
	found, ok := p.at[[2]string{kind, name}]
	if !ok {
		return diag.Position{}
	}
	at, n := found.name, found.root
	for _, element := range path {
		if n = part(n, element); n == nil {
			break
		}
		at.Line, at.Col = n.Line, n.Column
	}
	return at
}

// part returns an element of a list, or what a key of a mapping leads to, nil where there is none.
func part(n *yaml.Node, element string) *yaml.Node {
	if n.Kind == yaml.SequenceNode {
		if i, err := strconv.Atoi(element); err == nil && 0 <= i && i < len(n.Content) {
			return target(n.Content[i])
		}
		return nil
	}
	key, wantsKey := strings.CutPrefix(element, "@")
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := target(n.Content[i]); k.Value == key && wantsKey {
			return k
		} else if k.Value == key {
			return target(n.Content[i+1])
		}
	}
	return nil
}
