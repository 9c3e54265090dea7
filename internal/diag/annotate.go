package diag

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Level is how bad a problem is, in the words of GitHub.
type Level string

// The levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
)

// Annotate writes one workflow command of GitHub per problem, which shows it beside its line in a pull request. Paths
// below the folder root are relative to it: GitHub knows files by their place in the repository.
func Annotate(w io.Writer, level Level, set Set, root string) error {
	for _, d := range set {
		properties := []string{"file=" + propertyEscapes.Replace(relative(root, d.File))}
		if d.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", d.Line))
		}
		if d.Col > 0 {
			properties = append(properties, fmt.Sprintf("col=%d", d.Col))
		}
		properties = append(properties, "title="+propertyEscapes.Replace(d.Code))
		message := d.Message
		if d.Hint != "" {
			message += " (" + d.Hint + ")"
		}
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", level, strings.Join(properties, ","), dataEscapes.Replace(message)); err != nil {
			return err
		}
	}
	return nil
}

// relative returns the path of a file below root, with slashes, or the file as it is.
func relative(root, file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.ToSlash(file)
	}
	return filepath.ToSlash(rel)
}

var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
