package pit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// base is the day that times of day belong to.
var base = time.Date(2024, 1, 10, 0, 0, 0, 0, time.UTC)

// Parse reads the cases of a file.
func Parse(text string) ([]*Case, error) {
	var cases []*Case
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "case "); ok {
			cases = append(cases, &Case{Name: name, Line: i + 1})
			continue
		}
		if len(cases) == 0 {
			return nil, fmt.Errorf("line %d: begin with `case NAME`", i+1)
		}
		if err := cases[len(cases)-1].add(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return cases, nil
}

func (c *Case) add(line int, text string) (err error) {
	words, err := split(text)
	if err != nil {
		return err
	}
	step := Step{Line: line}
	switch verb, args := words[0], words[1:]; verb {
	case "view":
		return c.View.parse(args)
	case "row":
		step.Row, err = c.row(args)
	case "delete":
		step.Delete = args[0]
	case "run":
		step.Run, err = parseRun(args)
	case "ask":
		step.Ask, err = c.ask(line, args)
	case "online":
		step.Online, err = c.ask(line, args)
	default:
		err = fmt.Errorf("unknown verb %q", verb)
	}
	c.Steps = append(c.Steps, step)
	return err
}

func parseRun(args []string) (r *Run, err error) {
	r = new(Run)
	if r.To, err = parseInstant(args[0]); err != nil {
		return nil, err
	}
	for _, arg := range args[1:] {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "full":
			r.Full = true
		case "cut":
			if r.Cut, err = strconv.Atoi(value); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown word %q of a run", arg)
		}
	}
	return r, nil
}

// split cuts a line at spaces outside of quotes and brackets.
func split(text string) (words []string, err error) {
	depth, quoted, start := 0, false, -1
	for i := 0; i <= len(text); i++ {
		if i == len(text) || text[i] == ' ' && depth == 0 && !quoted {
			if start >= 0 {
				words = append(words, text[start:i])
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
		switch text[i] {
		case '"':
			quoted = !quoted
		case '[':
			depth++
		case ']':
			depth--
		}
	}
	if quoted || depth != 0 {
		return nil, fmt.Errorf("open quote or bracket in %q", text)
	}
	return words, nil
}

func (v *View) parse(args []string) error {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "ttl":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			v.TTL = d.Microseconds()
		case "rewrites":
			v.Rewrites = value
		case "keys", "features":
			for _, one := range strings.Split(value, ",") {
				n, typ, _ := strings.Cut(one, ":")
				typ, literal, hasDefault := strings.Cut(typ, "=")
				col := Column{Name: n, Type: typ, Literal: literal}
				if hasDefault {
					d, err := parseValue(typ, literal)
					if err != nil {
						return err
					}
					col.Default = &d
				}
				if name == "keys" {
					v.Keys = append(v.Keys, col)
				} else {
					v.Features = append(v.Features, col)
				}
			}
		default:
			return fmt.Errorf("unknown setting %q", name)
		}
	}
	return nil
}

func (c *Case) row(args []string) (r *Row, err error) {
	r = &Row{File: "a", Keys: nulls(len(c.View.Keys)), Values: nulls(len(c.View.Features))}
	if r.Event, err = parseInstant(args[0]); err != nil {
		return nil, err
	}
	for _, arg := range args[1:] {
		name, literal, _ := strings.Cut(arg, "=")
		switch name {
		case "file":
			r.File = literal
		case "created":
			r.Created = new(Instant)
			*r.Created, err = parseInstant(literal)
		default:
			if !set(r.Keys, c.View.Keys, name, literal, &err) && !set(r.Values, c.View.Features, name, literal, &err) {
				return nil, fmt.Errorf("no key or feature %q", name)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (c *Case) ask(line int, args []string) (a *Ask, err error) {
	a = &Ask{Line: line, Keys: nulls(len(c.View.Keys)), Want: make([]Cell, len(c.View.Features))}
	if a.At, err = parseInstant(args[0]); err != nil {
		return nil, err
	}
	args = args[1:]
	for ; len(args) > 0 && args[0] != "=>"; args = args[1:] {
		name, literal, _ := strings.Cut(args[0], "=")
		if !set(a.Keys, c.View.Keys, name, literal, &err) {
			return nil, fmt.Errorf("no key %q", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(args) < 2 {
		return nil, fmt.Errorf("what is expected? (=> x=1 or => NOT_FOUND)")
	}
	for _, arg := range args[1:] {
		if err := c.want(a.Want, arg); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// want reads NOT_FOUND, EXPIRED (all features), or feature=literal, feature=NULL.
func (c *Case) want(cells []Cell, arg string) error {
	name, literal, one := strings.Cut(arg, "=")
	for i, f := range c.View.Features {
		cell := Cell{Status: name, Value: Value{Null: true}}
		if f.Default != nil {
			cell.Value = *f.Default
		}
		if one {
			if f.Name != name {
				continue
			}
			v, err := parseValue(f.Type, literal)
			if err != nil {
				return err
			}
			cell = Cell{Status: "PRESENT", Value: v}
			if v.Null {
				cell.Status = "NULL"
			}
		}
		cells[i] = cell
	}
	return nil
}

func nulls(n int) []Value {
	values := make([]Value, n)
	for i := range values {
		values[i].Null = true
	}
	return values
}

func set(values []Value, columns []Column, name, literal string, err *error) bool {
	for i, c := range columns {
		if c.Name == name {
			values[i], *err = parseValue(c.Type, literal)
			return true
		}
	}
	return false
}

// parseInstant reads 10:00, 10:00:01.5, 2d10:00 (the day after next), -1d10:00, each with an offset like +1us or -1ns.
func parseInstant(s string) (Instant, error) {
	day := 0
	if i := strings.IndexByte(s, 'd'); i > 0 {
		var err error
		if day, err = strconv.Atoi(s[:i]); err != nil {
			return 0, fmt.Errorf("time %q: %w", s, err)
		}
		s = s[i+1:]
	}
	var offset time.Duration
	if i := strings.IndexAny(s, "+-"); i > 0 {
		var err error
		if offset, err = time.ParseDuration(s[i:]); err != nil {
			return 0, fmt.Errorf("time %q: %w", s, err)
		}
		s = s[:i]
	}
	if strings.Count(s, ":") == 1 {
		s += ":00"
	}
	t, err := time.Parse("15:04:05", s)
	if err != nil {
		return 0, fmt.Errorf("time %q: %w", s, err)
	}
	t = base.AddDate(0, 0, day).Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute +
		time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond()) + offset)
	return Instant(t.UnixNano()), nil
}

// parseValue reads null, numbers, NaN, Inf, true, "text" (for string and bytes) and [a,b].
func parseValue(typ, s string) (Value, error) {
	if s == "null" || s == "NULL" {
		return Value{Null: true}, nil
	}
	if elem, list := strings.CutPrefix(typ, "list<"); list {
		inner, opens := strings.CutPrefix(s, "[")
		inner, closes := strings.CutSuffix(inner, "]")
		if !opens || !closes {
			return Value{}, fmt.Errorf("%s %q: not a list", typ, s)
		}
		v := Value{}
		if inner == "" {
			return v, nil
		}
		for _, one := range strings.Split(inner, ",") {
			e, err := parseValue(strings.TrimSuffix(elem, ">"), one)
			if err != nil {
				return Value{}, err
			}
			v.List = append(v.List, e)
		}
		return v, nil
	}
	switch typ {
	case "string", "bytes":
		text, err := strconv.Unquote(s)
		return Value{Str: text}, err
	case "bool":
		b, err := strconv.ParseBool(s)
		return Value{Bits: uint64(boolInt(b))}, err
	case "int32", "int64":
		n, err := strconv.ParseInt(s, 10, 64)
		return Value{Bits: uint64(n)}, err
	case "float64":
		f, err := strconv.ParseFloat(s, 64)
		return Value{Bits: math.Float64bits(f)}, err
	case "float32":
		f, err := strconv.ParseFloat(s, 32)
		return Value{Bits: uint64(math.Float32bits(float32(f)))}, err
	case "timestamp":
		t, err := parseInstant(s)
		return Value{Bits: uint64(floorMicros(t))}, err
	}
	return Value{}, fmt.Errorf("unknown type %q", typ)
}
