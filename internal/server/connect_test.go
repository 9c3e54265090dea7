package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/registry/definition"
	"github.com/provender-dev/provender/sdk/client"
)

func open(t *testing.T, dir string) *Project {
	t.Helper()
	p, err := Open(dir, definition.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "provender.yaml"), []byte("version: 1\nproject: test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// One process holds the embedded store and serves the others; when it goes away, the next one takes the store over.
func TestHolderGoesAway(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { testenv.NoLeaks(t, before) }) // after the projects are closed
	dir := project(t)
	first, second := open(t, dir), open(t, dir)
	logger := slog.New(slog.DiscardHandler)
	holder, err := first.connect(t.Context(), logger)
	if err != nil {
		t.Fatal(err)
	}
	if holder.foreign {
		t.Fatal("the first process does not hold the store")
	}
	calls := 0
	err = second.Do(t.Context(), logger, func(ctx context.Context, c *client.Client) error {
		calls++
		if _, err := c.Status(ctx, nil); err != nil {
			t.Errorf("call %d: %v", calls, err)
		}
		if calls == 1 {
			if err := holder.close(); err != nil {
				t.Error(err)
			}
		}
		_, err := c.Status(ctx, nil)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".provender", "*.sock")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A failure of the call itself is not repeated.
func TestNoRepeat(t *testing.T) {
	dir := project(t)
	first, second := open(t, dir), open(t, dir)
	logger := slog.New(slog.DiscardHandler)
	holder, err := first.connect(t.Context(), logger)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.close()
	calls := 0
	err = second.Do(t.Context(), logger, func(ctx context.Context, c *client.Client) error {
		calls++
		_, err := c.GetFeatures(ctx, client.Request{Service: "none"})
		return err
	})
	if err == nil || calls != 1 {
		t.Errorf("%d calls: %v", calls, err)
	}
}
