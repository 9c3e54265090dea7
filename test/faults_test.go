// Package test has what concerns the tests themselves.
package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaults checks that every row of README.md has tests, and that there are such tests.
func TestFaults(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
	rows := 0
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[len(cells)-1]) == "tests" {
			continue
		}
		rows++
		last := cells[len(cells)-1]
		tests := named.FindAllStringSubmatch(last, -1)
		if len(tests) == 0 || strings.Count(last, "`") != 2*len(tests) {
			t.Errorf("these are not names of tests: %s", last)
		}
		for _, name := range tests {
			if !declares(t, name[1], name[2]) {
				t.Errorf("there is no %s", name[0])
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d rows", rows)
	}
}

// declares reports whether a test file of a folder has a test of a name.
func declares(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
