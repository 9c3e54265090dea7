package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemd: the unit is one that systemd takes, without a warning, and lets the server do little.
func TestSystemd(t *testing.T) {
	unit := read(t, "deploy", "systemd", "provender.service")
	path := filepath.Join(t.TempDir(), "provender.service")
	installed := strings.Replace(unit, "/usr/bin/provender", os.Getenv("PROVENDER_TEST_BINARY"), 1)
	if installed == unit {
		t.Fatal("the unit starts another program")
	}
	write(t, path, installed)
	if said := do(t, "systemd-analyze", "verify", "--man=no", path); strings.Contains(said, path) {
		t.Error(said)
	}
	// In tenths: 1.5 of 10, where 10 is no protection at all.
	do(t, "systemd-analyze", "security", "--offline=true", "--threshold=15", path)
	for _, want := range []string{"TimeoutStopSec=40s", "WorkingDirectory=/var/lib/provender", "StateDirectory=provender", "User=provender"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the unit has no %s", want)
		}
	}
	accounts := t.TempDir()
	if err := os.Mkdir(filepath.Join(accounts, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	do(t, "systemd-sysusers", "--root="+accounts, absolute(t, filepath.Join(root, "deploy", "systemd", "provender.sysusers")))
	passwd, err := os.ReadFile(filepath.Join(accounts, "etc", "passwd"))
	if err != nil || !strings.Contains(string(passwd), "provender:") {
		t.Errorf("%s %v", passwd, err)
	}
}
