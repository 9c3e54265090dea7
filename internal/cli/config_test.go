package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	run(t, "init", dir)
	try := func(environ []string, args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		w, _ := world(nil, &stdout, &stderr)
		w.Environ = environ
		code := Main(append([]string{"-C", dir}, args...), w)
		return code, stdout.String(), stderr.String()
	}
	environ := []string{"PROVENDER_ONLINE=redis://:hunter2@host", "PROVENDER_LIMITS_EXPORTS=8"}
	code, out, _ := try(environ, "config", "--set", "limits.exports=9", "-o", "json")
	var r struct {
		Version  int
		Settings []struct{ Key, Value, From string }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitDone {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	got := map[string][2]string{}
	for _, s := range r.Settings {
		got[s.Key] = [2]string{s.Value, s.From}
	}
	for key, want := range map[string][2]string{
		"online":            {"redis://***@host", "PROVENDER_ONLINE"},
		"limits.exports":    {"9", "--set limits.exports"},
		"limits.csv_record": {"64MiB", "default"},
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	if _, out, _ = try(environ, "config"); !strings.Contains(out, "online                       redis://***@host                 PROVENDER_ONLINE\n") {
		t.Errorf("the table:\n%s", out)
	}

	// What is set reaches the command that needs it, and what is wrong is one more problem of the project.
	code, _, told := try([]string{"PROVENDER_REGISTRY=postgres://127.0.0.1:1/x"}, "history")
	if code != exitFailure || !strings.Contains(told, "127.0.0.1") {
		t.Errorf("exit code %d\n%s", code, told)
	}
	code, out, told = try([]string{"PROVENDER_LIMITS_EXPORTS=none"}, "validate", "--set", "online=redis:hunter2")
	if code != exitProblems || !strings.Contains(out, "PROVENDER_LIMITS_EXPORTS: bad-limit") || !strings.Contains(out, "--set online: bad-url") ||
		strings.Contains(out+told, "hunter2") {
		t.Errorf("exit code %d\n%s%s", code, out, told)
	}
}
