package testenv

import (
	"fmt"
	"testing"
	"time"
)

// Patience is how long a test waits for what happens at once, on a busy machine too. What takes longer hangs.
const Patience = 2 * time.Minute

// Until waits for something that happens in the background, looking again and again.
func Until(t testing.TB, what string, met func() bool) {
	t.Helper()
	if err := Await(what, met); err != nil {
		t.Fatal(err)
	}
}

// Await is Until where the test does not end with it.
func Await(what string, met func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !met(); <-tick.C {
		if time.Since(begun) > Patience {
			return fmt.Errorf("waited in vain: %s", what)
		}
	}
	return nil
}
