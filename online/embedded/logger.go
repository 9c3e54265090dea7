package embedded

import (
	"fmt"
	"log/slog"
)

// logger passes Pebble's messages on: its errors as errors, its running commentary not at all.
type logger struct{ to *slog.Logger }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.to.Error("online store: " + fmt.Sprintf(format, args...))
}

// fatal is what Pebble panics with through logger where it can't go on: a failed write or sync of its log.
type fatal struct{ message string }

func (f fatal) Error() string { return f.message }

// recovered returns what Pebble panicked with through logger; other panics go on. nil is none.
func recovered(r any) error {
	if r == nil {
		return nil
	}
	f, ours := r.(fatal)
	if !ours {
		panic(r)
	}
	return f
}

// Fatalf must not return. Store.commit recovers from it; in Pebble's own goroutines it ends the process.
func (l logger) Fatalf(format string, args ...any) {
	f := fatal{fmt.Sprintf(format, args...)}
	l.to.Error("online store: " + f.message)
	panic(f)
}
