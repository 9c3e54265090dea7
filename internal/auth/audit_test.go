package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A flood of refusals leaves few records, which count the others; changes are all recorded.
func TestAuditFlood(t *testing.T) {
	var log bytes.Buffer
	a := NewAudit(&log, func(err error) { t.Error(err) })
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	flood := func(n int) (records int) {
		log.Reset()
		for range n {
			a.Refusal(Event{Call: "x", Outcome: "Unauthenticated"}, now)
		}
		return strings.Count(log.String(), "\n")
	}
	if n := flood(10_000); n != refusalsAtOnce {
		t.Errorf("%d records", n)
	}
	now = now.Add(time.Second)
	if n := flood(10_000); n != refusalsPerSecond {
		t.Errorf("%d records after a second", n)
	}
	var first struct{ Unrecorded int64 }
	if err := json.NewDecoder(&log).Decode(&first); err != nil || first.Unrecorded != 10_000-refusalsAtOnce {
		t.Errorf("%d were not recorded, %v", first.Unrecorded, err)
	}
	now = now.Add(time.Hour)
	if n := flood(10_000); n != refusalsAtOnce {
		t.Errorf("%d records after an hour", n)
	}
	log.Reset()
	for range 1000 {
		a.Change(Event{Call: "x", Outcome: "OK"})
	}
	if n := strings.Count(log.String(), "\n"); n != 1000 {
		t.Errorf("%d changes", n)
	}
	(*Audit)(nil).Change(Event{})
	(*Audit)(nil).Refusal(Event{}, now)
	if err := (*Audit)(nil).Close(); err != nil {
		t.Error(err)
	}
}

// A file that is moved away or removed is made anew; what can't be written is told.
func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "audit.jsonl")
	var failures []error
	a, err := OpenAudit(path, func(err error) { failures = append(failures, err) })
	if err != nil {
		t.Fatal(err)
	}
	count := func(path string) int {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(raw), "\n")
	}
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 50 {
				a.Change(Event{Call: "x", Outcome: "OK"})
			}
		})
	}
	writers.Wait()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	a.Change(Event{Call: "x", Outcome: "OK"})
	if old, now := count(path+".1"), count(path); old != 400 || now != 1 {
		t.Errorf("%d and %d records", old, now)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if len(failures) > 0 {
		t.Error(failures)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a.Change(Event{}); len(failures) != 1 || !errors.Is(failures[0], os.ErrClosed) {
		t.Errorf("after its end: %v", failures)
	}
	if _, err := OpenAudit(t.TempDir(), nil); err == nil {
		t.Error("a folder is opened")
	}
}
