package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // validation must not depend on the machine's zone files
	"unicode"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/registry"
)

const maxNameLength = 63

const namePattern = `^[a-z][a-z0-9_]*$`

var (
	nameExpression = regexp.MustCompile(namePattern)
	// reserved are the columns that a row's own times have in answers and exports.
	reserved = []string{"event_time", "created_time"}
)

// checkName reports a name that is not one. Names of columns in answers must not be reserved words.
func (d *decoder) checkName(n *yaml.Node, what, name string, column bool) {
	switch {
	case len(name) > maxNameLength:
		d.add(n, codeBadName, "%s has %d characters, at most %d are allowed", what, len(name), maxNameLength)
	case !nameExpression.MatchString(name):
		d.add(n, codeBadName, "%s %q is not a name", what, name).
			Hint = "lower-case letters, digits and _, beginning with a letter"
	case column && slices.Contains(reserved, name):
		d.add(n, codeReservedName, "%s %q is the name of a row's own time", what, name)
	}
}

// name returns the value of the key "name", which must be there.
func (m *mapping) name(what string, column bool) string {
	n := m.need("name", "")
	if n == nil {
		return ""
	}
	s, ok := m.scalar(n, "name")
	if ok {
		m.checkName(n, what, s, column)
	}
	return s
}

// was returns the name that the definition had before, "" where the key is absent.
func (m *mapping) was(column bool) string {
	n := m.get("was")
	if n == nil {
		return ""
	}
	s, ok := m.scalar(n, "was")
	if ok {
		m.checkName(n, "was", s, column)
	}
	return s
}

// column returns a column of a file, a spine or a request; "" where the key is absent.
func (m *mapping) column(key string) string {
	n := m.get(key)
	if n == nil {
		return ""
	}
	s, ok := m.scalar(n, key)
	if ok {
		m.checkColumn(n, key, s)
	}
	return s
}

func (d *decoder) checkColumn(n *yaml.Node, what, column string) {
	if strings.TrimSpace(column) == "" || len(column) > 255 || strings.ContainsFunc(column, unicode.IsControl) {
		d.add(n, codeBadColumn, "%s: %q is not a column name", what, column)
	}
}

// typ returns a column's type, the zero Type where it is missing or wrong.
func (m *mapping) typ(key string) columnar.Type {
	n := m.need(key, "one of "+strings.Join(columnar.TypeNames()[:8], ", ")+", or list<…>")
	if n == nil {
		return columnar.Type{}
	}
	s, ok := m.scalar(n, key)
	if !ok {
		return columnar.Type{}
	}
	t, err := columnar.ParseType(s)
	if err != nil {
		p := m.add(n, codeUnknownType, "%v", err)
		if p.Hint = typeHints[strings.ToLower(s)]; p.Hint == "" {
			p.Hint = diag.Suggest(s, columnar.TypeNames())
		}
	}
	return t
}

// typeHints are types of other systems whose spelling does not lead to ours.
var typeHints = map[string]string{
	"int": "write int64", "integer": "write int64", "long": "write int64", "bigint": "write int64",
	"float": "write float32 or float64", "double": "write float64", "number": "write float64",
	"text": "write string", "varchar": "write string", "str": "write string",
	"binary": "write bytes", "boolean": "write bool", "datetime": "write timestamp", "date": "write timestamp",
}

// ttl returns a positive duration, 0 where the key is absent.
func (m *mapping) ttl(key string) time.Duration {
	n := m.get(key)
	if n == nil {
		return 0
	}
	const never = "leave it out for features that never expire"
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		if strings.Trim(n.Value, "-+0") == "" || n.Value[0] == '-' {
			m.add(n, codeBadTTL, "%s must be positive, not %s", key, n.Value).Hint = never
		} else {
			m.add(n, codeBadDuration, "%s: %s has no unit", key, n.Value).Hint = "write " + n.Value + "s for seconds"
		}
		return 0
	}
	s, ok := m.scalar(n, key)
	if !ok {
		return 0
	}
	ttl, err := registry.ParseDuration(s)
	switch {
	case err != nil:
		m.add(n, codeBadDuration, "%s: %v", key, err).Hint = "write 90s, 15m, 6h or 30d"
	case ttl <= 0:
		m.add(n, codeBadTTL, "%s must be positive, not %s", key, s).Hint = never
	}
	return ttl
}

// timezone returns an IANA time zone, otherwise where the key is absent.
func (m *mapping) timezone(key, otherwise string) string {
	n := m.get(key)
	if n == nil {
		return otherwise
	}
	s, ok := m.scalar(n, key)
	if !ok {
		return otherwise
	}
	// LoadLocation reads "" as UTC and "Local" as whatever the machine has.
	_, err := time.LoadLocation(s)
	if err != nil || s == "" || s == "Local" {
		m.add(n, codeBadTimezone, "%s: unknown time zone %q", key, s).Hint = "write UTC, or a name such as Europe/Berlin"
	}
	return s
}

// schedule returns a cron schedule, "" where the key is absent.
func (m *mapping) schedule(key string) string {
	n := m.get(key)
	if n == nil {
		return ""
	}
	s, ok := m.scalar(n, key)
	if !ok {
		return ""
	}
	if err := checkSchedule(s); err != nil {
		m.add(n, codeBadSchedule, "%s %q: %v", key, s, err).
			Hint = `five fields: minute, hour, day, month, weekday, such as "*/15 * * * *"`
	}
	return s
}

// checkSchedule returns why s is not a schedule. The parser panics on some texts.
func checkSchedule(s string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("not a cron expression")
		}
	}()
	if s == "" {
		return errors.New("empty")
	}
	if strings.HasPrefix(s, "TZ=") || strings.HasPrefix(s, "CRON_TZ=") {
		return errors.New("the time zone belongs in schedule_timezone")
	}
	if every, ok := strings.CutPrefix(s, "@every "); ok {
		// The parser rounds less than a second up without a word.
		if d, err := time.ParseDuration(every); err != nil || d < time.Second {
			return errors.New("@every wants a duration of a second or more")
		}
	}
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return err
	}
	if schedule.Next(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return errors.New("it never fires")
	}
	return nil
}

// defaultValue returns a feature's default in canonical JSON, nil where the key is absent or wrong.
func (m *mapping) defaultValue(key string, t columnar.Type) json.RawMessage {
	n := m.get(key)
	if n == nil || t.Kind == columnar.Invalid {
		return nil
	}
	raw, err := nodeJSON(n)
	if err == nil && string(raw) == "null" {
		err = errors.New("a default is a value, not null")
	}
	var v *columnar.Vector
	if err == nil {
		v, err = columnar.ParseJSON(t, raw)
	}
	if err != nil {
		p := m.add(n, codeBadDefault, "%s of type %s: %v", key, t, err)
		if t.Kind == columnar.String && !t.List && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!str" && n.ShortTag() != "!!null" {
			p.Hint = fmt.Sprintf("write %q with the quotes", n.Value)
		}
		return nil
	}
	return columnar.AppendJSON(nil, v, 0)
}

var floatNames = map[string]string{
	".nan": `"NaN"`, ".inf": `"Infinity"`, "+.inf": `"Infinity"`, "-.inf": `"-Infinity"`,
}

// nodeJSON returns a scalar or a list of scalars as JSON.
func nodeJSON(n *yaml.Node) (json.RawMessage, error) {
	n = target(n)
	switch n.Kind {
	case yaml.MappingNode:
		return nil, errors.New("want a value, got a mapping")
	case yaml.SequenceNode:
		out := []byte{'['}
		for i, c := range n.Content {
			if target(c).Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("element %d: want a value, got %s", i, describe(target(c)))
			}
			e, err := nodeJSON(c)
			if err != nil {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, e...)
		}
		return append(out, ']'), nil
	}
	switch n.ShortTag() {
	case "!!null":
		return json.RawMessage("null"), nil
	case "!!bool":
		return json.RawMessage(strings.ToLower(n.Value)), nil
	case "!!int", "!!float":
		if name := floatNames[strings.ToLower(n.Value)]; name != "" {
			return json.RawMessage(name), nil
		}
		number := strings.TrimPrefix(n.Value, "+")
		if !json.Valid([]byte(number)) {
			return nil, fmt.Errorf("%s is not a plain decimal number", n.Value)
		}
		return json.RawMessage(number), nil
	default:
		return json.Marshal(n.Value)
	}
}
