package definition

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// maxValueBytes bounds a file that holds a value.
const maxValueBytes = 64 << 10

// values are what ${VAR} and ${file:PATH} of provender.yaml stand for.
type values struct {
	dir    string // of relative paths
	getenv func(string) string
}

// content returns what a file holds, without white space around it: secrets are often mounted as files.
func (v values) content(path string) (string, error) {
	path = filepath.FromSlash(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", cause(err)
	case !info.Mode().IsRegular(): // a pipe could keep us waiting
		return "", errors.New("not a regular file")
	case info.Size() > maxValueBytes:
		return "", errors.New("it is larger than 64 KiB")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", cause(err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", errors.New("it is empty")
	}
	return text, nil
}
