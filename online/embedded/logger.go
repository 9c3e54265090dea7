package embedded

import (
	"fmt"
	"log/slog"
	"os"
)

// logger passes Pebble's messages on: its errors as errors, its running commentary not at all.
type logger struct{ to *slog.Logger }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.to.Error("online store: " + fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it where it finds itself inconsistent. The process ends as by SIGKILL, and what was
// acknowledged is on disk.
func (l logger) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	l.to.Error("online store: Pebble can't go on, so the process ends; start it again")
	os.Exit(1)
}
