package cli

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// field is one value of a CSV record. An empty field that is not quoted is a null, as DuckDB reads it.
type field struct {
	value string
	null  bool
}

// entities are rows of request keys as a user wrote them: text, by name.
type entities struct {
	names []string
	rows  [][]field
	where func(row int) string // how messages call a row
}

// parseEntityFlags reads --entity values: "origin=JFK,destination=SFO", values quoted as in CSV.
func parseEntityFlags(flags []string) (*entities, error) {
	e := &entities{where: func(row int) string { return "--entity " + flags[row] }}
	for _, flag := range flags {
		names, row, err := parsePairs(flag)
		if err != nil {
			return nil, usagef("--entity %s: %w", flag, err)
		}
		if e.names == nil {
			e.names = names
		}
		ordered := make([]field, len(e.names))
		seen := make([]bool, len(e.names))
		for i, name := range names {
			at := slices.Index(e.names, name)
			if at < 0 {
				return nil, usagef("--entity %s: key %q is not in the first --entity; every one must give the same keys", flag, name)
			}
			if seen[at] {
				return nil, usagef("--entity %s: key %q is given twice", flag, name)
			}
			ordered[at], seen[at] = row[i], true
		}
		if len(names) < len(e.names) {
			return nil, usagef("--entity %s: every --entity must give the same keys: %s", flag, strings.Join(e.names, ", "))
		}
		e.rows = append(e.rows, ordered)
	}
	return e, nil
}

// parsePairs splits "a=1,b="x,y"" into names and values. An empty text has no pairs: the key of a global view.
func parsePairs(s string) (names []string, row []field, err error) {
	for rest := s; rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok || name == "" || strings.ContainsAny(name, `,"`) {
			return nil, nil, errors.New(`want key=value[,key=value], a value with a comma in quotes as in city="Washington, DC"`)
		}
		f, n, err := scanField(after)
		if err != nil {
			return nil, nil, err
		}
		names, row = append(names, strings.TrimSpace(name)), append(row, f)
		if rest = after[n:]; rest != "" {
			if rest = rest[1:]; rest == "" {
				return nil, nil, errors.New("a comma at the end")
			}
		}
	}
	return names, row, nil
}

// scanField reads one CSV field off the front of s and returns how many bytes it took; a comma, or nothing, follows.
func scanField(s string) (field, int, error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s, ',')
		if end < 0 {
			end = len(s)
		}
		if strings.Contains(s[:end], `"`) {
			return field{}, 0, errors.New(`a quote inside a value that does not begin with one; write "" for a quote within quotes`)
		}
		return field{value: s[:end], null: end == 0}, end, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		if i+1 < len(s) && s[i+1] != ',' {
			return field{}, 0, errors.New("text after a closing quote")
		}
		return field{value: b.String()}, i + 1, nil
	}
	return field{}, 0, errors.New("a quote that is not closed")
}

// maxEntityLine bounds one line of an --entities file.
const maxEntityLine = 1 << 20

// readEntitiesFile reads --entities: CSV with a header that names the keys; "-" is stdin.
func readEntitiesFile(path string, stdin io.Reader) (*entities, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usagef("--entities: %w", err)
		}
		defer f.Close()
		r = f
	}
	var lines []int
	e := &entities{where: func(row int) string { return path + ":" + strconv.Itoa(lines[row]) }}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxEntityLine)
	for line := 1; scan.Scan(); line++ {
		text := strings.TrimSuffix(scan.Text(), "\r")
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text == "" && len(e.names) != 1 {
			continue
		}
		row, err := parseRecord(text)
		if err != nil {
			return nil, usagef("%s:%d: %w", path, line, err)
		}
		if e.names == nil {
			for _, f := range row {
				e.names = append(e.names, strings.TrimSpace(f.value))
			}
			continue
		}
		if len(row) != len(e.names) {
			return nil, usagef("%s:%d: %d values under a header of %d", path, line, len(row), len(e.names))
		}
		e.rows, lines = append(e.rows, row), append(lines, line)
	}
	if err := scan.Err(); err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	if e.names == nil {
		return nil, usagef("%s is empty: want a header that names the keys, then one line per entity", path)
	}
	return e, nil
}

func parseRecord(s string) ([]field, error) {
	var row []field
	for {
		f, n, err := scanField(s)
		if err != nil {
			return nil, err
		}
		row = append(row, f)
		if n == len(s) {
			return row, nil
		}
		s = s[n+1:]
	}
}

// columns types the rows by what a service asks for: one vector per request key, in that order. Every key must be
// given, and none besides.
func (e *entities) columns(keys []registry.RequestKey) ([]*columnar.Vector, error) {
	wanted := make([]string, len(keys))
	for i, k := range keys {
		wanted[i] = k.Name
	}
	for _, name := range e.names {
		if len(wanted) == 0 {
			err := problem.New(problem.Invalid, "there is no key %q: these features are the same for everybody", name)
			err.Suggestion = "leave the entity out"
			return nil, err
		}
		if slices.Index(wanted, name) < 0 {
			err := problem.New(problem.Invalid, "there is no key %q; the keys are: %s", name, strings.Join(wanted, ", "))
			err.Suggestion = diag.Suggest(name, wanted)
			return nil, err
		}
	}
	columns := make([]*columnar.Vector, len(keys))
	for i, k := range keys {
		at := slices.Index(e.names, k.Name)
		if at < 0 {
			return nil, problem.New(problem.Invalid, "key %q is missing; the keys are: %s", k.Name, strings.Join(wanted, ", "))
		}
		v := columnar.NewVector(columnar.Type{Kind: k.Kind}, len(e.rows))
		for r, row := range e.rows {
			switch f := row[at]; {
			case f.null:
				v.AppendNull()
			case k.Kind == columnar.Int64:
				x, err := strconv.ParseInt(f.value, 10, 64)
				if err != nil {
					return nil, problem.New(problem.Invalid, "%s: key %q is int64, %q is not", e.where(r), k.Name, f.value)
				}
				v.AppendInt64(x)
			default:
				v.AppendString(f.value)
			}
		}
		columns[i] = v
	}
	return columns, nil
}
