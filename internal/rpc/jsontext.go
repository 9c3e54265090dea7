package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
)

// Requests are read from their JSON text without a value per value: what checkJSON has passed is cut into parts by
// members and elements, and only what is wanted is decoded.

// checkJSON returns an Invalid error unless text is one JSON value.
func checkJSON(text []byte) error {
	if json.Valid(text) {
		return nil
	}
	var syntax *json.SyntaxError
	message := "the body is not JSON"
	if err := json.Unmarshal(text, new(json.RawMessage)); errors.As(err, &syntax) {
		message += fmt.Sprintf(": %v, at byte %d", syntax, syntax.Offset)
	}
	return problem.New(problem.Invalid, "%s", message)
}

// members calls visit for every member of an object of valid JSON, in order, until its error. A value that is no object
// is an error that names field, the path of the value, "" for the body.
func members(text []byte, field string, visit func(name string, value []byte) error) error {
	c := cursor{text: text}
	if c.peek() != '{' {
		return mistyped(text, field, "an object")
	}
	for c.at++; c.peek() != '}'; c.comma() {
		name, err := stringOf(c.value(), field)
		if err != nil {
			return err
		}
		c.peek()
		c.at++ // the colon
		if err := visit(name, c.value()); err != nil {
			return err
		}
	}
	return nil
}

// elements is members for an array.
func elements(text []byte, field string, visit func(i int, value []byte) error) error {
	c := cursor{text: text}
	if c.peek() != '[' {
		return mistyped(text, field, "an array")
	}
	i := 0
	for c.at++; c.peek() != ']'; c.comma() {
		if err := visit(i, c.value()); err != nil {
			return err
		}
		i++
	}
	return nil
}

// stringOf decodes a string. One that is not UTF-8, or has half a surrogate pair, is an error: nothing is replaced.
func stringOf(text []byte, field string) (string, error) {
	if plain, ok := plainString(text); ok {
		return string(plain), nil
	}
	if text[0] != '"' {
		return "", mistyped(text, field, "a string")
	}
	v, err := columnar.ParseJSON(columnar.Type{Kind: columnar.String}, text)
	if err != nil {
		return "", &problem.Error{Code: problem.Invalid, Message: at(field) + err.Error(), Field: field, Err: err}
	}
	return string(v.BytesAt(0)), nil
}

// boolOf decodes a bool.
func boolOf(text []byte, field string) (bool, error) {
	switch string(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, mistyped(text, field, "true or false")
}

// plainString returns what stands between the quotes of a string, where that is its text.
func plainString(text []byte) ([]byte, bool) {
	if text[0] != '"' {
		return nil, false
	}
	text = text[1 : len(text)-1]
	return text, bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text)
}

// mistyped tells that a value is not what a field takes.
func mistyped(text []byte, field, want string) error {
	var got string
	switch text[0] {
	case '{':
		got = "an object"
	case '[':
		got = "an array"
	case '"':
		got = "a string"
	case 't', 'f':
		got = "a bool"
	case 'n':
		got = "null"
	default:
		got = "a number"
	}
	return &problem.Error{Code: problem.Invalid, Message: at(field) + "want " + want + ", got " + got, Field: field}
}

// at begins a message about a field; the body is called so.
func at(field string) string {
	if field == "" {
		field = "the body"
	}
	return field + ": "
}

func indexed(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// cursor is a place in valid JSON.
type cursor struct {
	text []byte
	at   int
}

// peek passes over space and returns the byte behind it.
func (c *cursor) peek() byte {
	for {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
}

// comma passes over one, if it is next.
func (c *cursor) comma() {
	if c.peek() == ',' {
		c.at++
	}
}

// value passes over a value and returns its text.
func (c *cursor) value() []byte {
	c.peek()
	start, depth := c.at, 0
	for c.at < len(c.text) {
		switch c.text[c.at] {
		case '"':
			for c.at++; c.text[c.at] != '"'; c.at++ {
				if c.text[c.at] == '\\' {
					c.at++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what a number or a word is in
				return c.text[start:c.at]
			}
			depth--
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return c.text[start:c.at]
			}
			c.at++
			continue
		default: // part of a number or a word, or a colon within
			c.at++
			continue
		}
		c.at++
		if depth == 0 {
			return c.text[start:c.at]
		}
	}
	return c.text[start:c.at]
}
