package offline

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// staleAge is how long what a killed export left stays.
const staleAge = 24 * time.Hour

// lock marks a temporary file or folder as in use. The lock goes with the process, however it ends. Where the file system
// has no locks, age alone protects it.
func lock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// sweep removes what exports to the same name left beside it when they were killed. What it can't remove stays.
func sweep(path string) {
	folder, prefix := filepath.Dir(path), "."+filepath.Base(path)+".tmp-"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		suffix, ok := strings.CutPrefix(entry.Name(), prefix)
		if !ok || len(suffix) != temporaryLength {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > staleAge {
			removeUnlocked(filepath.Join(folder, entry.Name()))
		}
	}
}

func removeUnlocked(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.RemoveAll(path) // the next export tries again
	}
}
