package testenv

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// NoLeaks fails a test that leaves goroutines behind. Some end in the background, those of connections for example, and have
// the time to.
func NoLeaks(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := leaks(options); err != nil {
		t.Error(err)
	}
}

// NoLeaksMain is a TestMain that runs a package's tests, and fails where they leave goroutines behind.
func NoLeaksMain(m goleak.TestingM, options ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := leaks(options); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// leaks looks, half a second at a time, until no goroutine is left, or one hangs.
func leaks(options []goleak.Option) error {
	begun := time.Now()
	for {
		err := goleak.Find(options...)
		if err == nil || time.Since(begun) > Patience {
			return err
		}
	}
}
