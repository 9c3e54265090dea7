package server

import (
	"testing"

	"github.com/provender-dev/provender/registry/definition"
)

// The name of a store is where it is: with other settings it is the same, and is not filled again.
func TestStoreName(t *testing.T) {
	for url, want := range map[string]string{
		"embedded://.provender/online":                         "embedded://.provender/online",
		"embedded://.provender/online?cache=1GiB&max_size=2TB": "embedded://.provender/online",
		"embedded:///srv/me@home/online?cache=1GiB":            "embedded:///srv/me@home/online",
		"redis://me:secret@cache:6379/3?pool_size=9":           "redis://cache:6379/3",
	} {
		p := &Project{Config: &definition.Config{Online: url}}
		if got := p.storeName(); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
