// Package testenv is what tests of several packages take from their environment.
package testenv

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Seed returns what PROVENDER_SEED says, else 1, or with PROVENDER_TEST_LONG a new seed, and logs it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv("PROVENDER_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("PROVENDER_SEED: %v", err)
		}
	} else if Long() {
		seed = rand.Uint64N(1 << 63) // Python and int64 take it, too
	}
	t.Logf("PROVENDER_SEED=%d", seed)
	return seed
}

// Long reports that random tests are to run many times over.
func Long() bool { return os.Getenv("PROVENDER_TEST_LONG") != "" }

// Rand returns a generator made of Seed.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(Seed(t), 0))
}

// Python returns the interpreter that PROVENDER_TEST_PYTHON names, else that of the virtual environment which
// scripts/test makes in root, the repository's folder.
func Python(t testing.TB, root string) string {
	t.Helper()
	path := os.Getenv("PROVENDER_TEST_PYTHON")
	if path == "" {
		path = filepath.Join(root, ".cache", "engines", "bin", "python")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Python with DuckDB: run ./scripts/test once, which installs it in .cache/engines (%v)", err)
	}
	return path
}
