package parquet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
)

// Drift returns err, an error of f.Bind(columns), telling also what another file of the same source has, or nil where the
// two do not differ: a reader of the error must know whether the definition is wrong or one file.
func (f *File) Drift(err error, columns []Column, other *File) error {
	var p *problem.Error
	if !errors.As(err, &p) {
		return nil
	}
	for _, c := range columns {
		if _, bindErr := f.bind(c); bindErr == nil {
			continue
		}
		here, there := f.describe(c.Name), other.describe(c.Name)
		if here == there {
			return nil
		}
		told := *p
		told.Message += fmt.Sprintf("; %s has %s, and the files of one source must agree", other.path, there)
		told.Suggestion = "rewrite one of them, or make them two sources"
		return &told
	}
	return nil
}

// describe tells what a file has under a name.
func (f *File) describe(name string) string {
	var found []string
	for _, c := range f.Columns() {
		if c.Name == name {
			found = append(found, c.Physical)
		}
		if strings.HasPrefix(c.Name, name+".") {
			return "a group of columns"
		}
	}
	if len(found) == 0 {
		return "no such column"
	}
	return strings.Join(found, " and ")
}
