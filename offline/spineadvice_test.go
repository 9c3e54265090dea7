package offline

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
)

// A spine that can't be joined is told with what to do.
func TestSpineAdvice(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ content, want, fix string }{
		"gone.csv":       {"", "there is no spine ", "by a path from the folder you are in"},
		"semicolons.csv": {"airport;t\nJFK;2001-01-01T12:00:00Z\n", `no time column "t"`, "separate the fields by commas"},
		"other.csv":      {"iata,t\nJFK,2001-01-01T12:00:00Z\n", `no key column "airport"`, "`join` the key to another one"},
		"near.csv":       {"Airport,t\nJFK,2001-01-01T12:00:00Z\n", `no key column "airport"`, `did you mean "Airport"?`},
	} {
		path := w.path(name)
		if c.content != "" {
			if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Export(t.Context(), w.request("one", path))
		wantInvalid(t, name, err, c.want)
		var told *problem.Error
		if !errors.As(err, &told) || !strings.Contains(told.Suggestion, c.fix) {
			t.Errorf("%s: %v, want to be told: %s", name, err, c.fix)
		}
	}
}
