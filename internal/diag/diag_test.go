package diag

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestSetSortsAndDeduplicates(t *testing.T) {
	var s Set
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	s.Add(Position{"b.yaml", 1, 1}, "x", "last")
	s.Add(Position{"a.yaml", 10, 1}, "x", "third")
	s.Add(Position{"a.yaml", 2, 7}, "y", "second").Hint = "do so"
	s.Add(Position{"a.yaml", 2, 7}, "x", "first %d", 1)
	s.Add(Position{"a.yaml", 2, 7}, "x", "first %d", 1)
	s.Add(Position{File: "a.yaml"}, "x", "whole file")
	s.Add(Position{File: "a.yaml", Line: 1}, "x", "whole line")
	const want = `a.yaml: x: whole file
a.yaml:1: x: whole line
a.yaml:2:7: x: first 1
a.yaml:2:7: y: second (do so)
a.yaml:10:1: x: third
b.yaml:1:1: x: last`
	err := fmt.Errorf("validate: %w", s.Err())
	var got Set
	if !errors.As(err, &got) || got.Error() != want {
		t.Errorf("got:\n%v", got)
	}
	if s[0].Message != "last" {
		t.Error("Err sorts the caller's set")
	}
	b, jsonErr := json.Marshal(got[3])
	if jsonErr != nil || string(b) != `{"file":"a.yaml","line":2,"col":7,"code":"y","message":"second","hint":"do so"}` {
		t.Errorf("%s %v", b, jsonErr)
	}
}

func TestRender(t *testing.T) {
	files := map[string]string{
		"a.yaml": "one\n\té: 'ü' # x\r\nonline: redis://me:hunter2@cache:6379/0?password=hunter3&x=1\n" + strings.Repeat("x", 500),
		"b.bin":  "\xff\n",
	}
	set := Set{
		{Position: Position{"a.yaml", 1, 1}, Code: "c", Message: "m"},
		{Position: Position{"a.yaml", 2, 5}, Code: "c", Message: "m"},
		{Position: Position{"a.yaml", 3, 9}, Code: "c", Message: "m"},
		{Position: Position{"a.yaml", 4, 9}, Code: "c", Message: "m"},
		{Position: Position{"a.yaml", 5, 1}, Code: "c", Message: "m"},
		{Position: Position{"a.yaml", 1, 99}, Code: "c", Message: "m"},
		{Position: Position{"b.bin", 1, 1}, Code: "c", Message: "m"},
		{Position: Position{"gone", 1, 1}, Code: "c", Message: "m"},
		{Position: Position{"a.yaml", 0, 0}, Code: "c", Message: "m"},
	}
	var b strings.Builder
	err := Render(&b, set, func(file string) ([]byte, error) {
		if text, ok := files[file]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no such file")
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `a.yaml:1:1: c: m
     1 | one
       | ^
a.yaml:2:5: c: m
     2 | 	é: 'ü' # x
       | 	   ^
a.yaml:3:9: c: m
     3 | online: redis://***@cache:6379/0?password=***&x=1
a.yaml:4:9: c: m
a.yaml:5:1: c: m
a.yaml:1:99: c: m
     1 | one
       |    ^
b.bin:1:1: c: m
gone:1:1: c: m
a.yaml: c: m
`
	if b.String() != want {
		t.Errorf("got:\n%s", b.String())
	}
	b.Reset()
	if err := Render(&b, set[:1], nil); err != nil || b.String() != "a.yaml:1:1: c: m\n" {
		t.Error(b.String(), err)
	}
}

func TestClosest(t *testing.T) {
	known := []string{"airport_hourly", "route_daily", "delay", "ttl", "é", "a"}
	for name, want := range map[string]string{
		"airport_houry": "airport_hourly", "AIRPORT_HOURLY": "airport_hourly", "airprot_hourly": "airport_hourly",
		"dealy": "delay", "tll": "ttl", "ttls": "ttl", "rout_daly": "route_daily",
		"delay": "", "zzz": "", "": "", "x": "", "completely_else": "", strings.Repeat("a", 1000): "",
	} {
		if got := Closest(name, known); got != want {
			t.Errorf("%.20q: got %q, want %q", name, got, want)
		}
	}
	if got := Suggest("dealy", known); got != `did you mean "delay"?` {
		t.Error(got)
	}
	if got := Suggest("zzz", known); got != "" {
		t.Error(got)
	}
	if got := Closest("ab", []string{"ac", "ad"}); got != "ac" {
		t.Errorf("of equals the first, got %q", got)
	}
}

func TestAnnotate(t *testing.T) {
	set := Set{
		{Position: Position{"/repo/shop/a.yaml", 3, 5}, Code: "bad-name", Message: "100%: no\r\nname", Hint: "a, b: c"},
		{Position: Position{File: "/repo/100%,a:b\n.yaml", Line: 1}, Code: "x", Message: "::error::m"},
		{Position: Position{File: "/elsewhere/a.yaml"}, Code: "x", Message: "m"},
	}
	var b strings.Builder
	if err := Annotate(&b, LevelError, set, "/repo"); err != nil {
		t.Fatal(err)
	}
	if err := Annotate(&b, LevelWarning, set[2:], "/repo"); err != nil {
		t.Fatal(err)
	}
	const want = `::error file=shop/a.yaml,line=3,col=5,title=bad-name::100%25: no%0D%0Aname (a, b: c)
::error file=100%25%2Ca%3Ab%0A.yaml,line=1,title=x::::error::m
::error file=/elsewhere/a.yaml,title=x::m
::warning file=/elsewhere/a.yaml,title=x::m
`
	if b.String() != want {
		t.Errorf("got:\n%s", b.String())
	}
}
