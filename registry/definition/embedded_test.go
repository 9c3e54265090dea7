package definition

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseEmbedded(t *testing.T) {
	for _, tt := range []struct {
		url      string
		want     Embedded
		problems []string // message, and hint in brackets
	}{
		{"embedded://.provender/online", Embedded{Path: ".provender/online"}, nil},
		{"embedded:///srv/a&b", Embedded{Path: "/srv/a&b"}, nil},
		{"embedded://x?", Embedded{Path: "x"}, nil},
		{"embedded://x?cache=64MiB&max_size=2GB", Embedded{Path: "x", Cache: 64 << 20, MaxSize: 2e9}, nil},
		{"embedded://x?max_size=134217728&cache=1.5%20GiB", Embedded{Path: "x", Cache: 3 << 29, MaxSize: 128 << 20}, nil},
		{
			"embedded://?cahce=1GiB&cache=fast&cache=1GiB&max_size=5&sync=off&cache",
			Embedded{},
			[]string{
				"nothing stands behind embedded:// [write embedded://PATH]",
				`an embedded store has no parameter "cahce" [did you mean "cache"?]`,
				"the parameter cache is not a size [write cache=256MiB, or a number of bytes]",
				"the parameter cache stands there twice []",
				"the parameter max_size must be at least 128MiB [write max_size=50GiB]",
				`an embedded store has no parameter "sync" [there are cache and max_size]`,
				"the parameter cache stands there twice []",
			},
		},
		{"embedded://x?cache=2TiB", Embedded{Path: "x"}, []string{"the parameter cache must be from 1MiB to 1TiB [write cache=256MiB]"}},
		{"embedded://x?cache=-1", Embedded{Path: "x"}, []string{"the parameter cache must be from 1MiB to 1TiB [write cache=256MiB]"}},
		{"embedded://x?cache=%zz", Embedded{Path: "x"}, []string{"the parameter cache is not a size [write cache=256MiB, or a number of bytes]"}},
	} {
		got, problems := ParseEmbedded(tt.url)
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.Message+" ["+p.Hint+"]")
		}
		if got != tt.want || !slices.Equal(texts, tt.problems) {
			t.Errorf("%s: got %+v and\n%s", tt.url, got, strings.Join(texts, "\n"))
		}
	}
}

// Problems of the URL come with their place, beside those of other keys; a value from a variable is not repeated.
func TestEmbeddedProblems(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, ConfigName), []byte(`version: 1
project: flights
online: "embedded://x?cache=${SIZE}&maxsize=1"
server: {grpc: nowhere}
`))
	_, err := LoadConfig(dir, Outside{Environ: []string{"SIZE=canary"}})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"provender.yaml:3:9: bad-url: online: the parameter cache is not a size",
		`provender.yaml:3:9: bad-url: online: an embedded store has no parameter "maxsize"`,
		"provender.yaml:4:16: bad-address",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}
