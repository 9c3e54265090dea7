package embedded

import (
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
)

// TestMaxSize: a store that is full says so, naming the setting, and goes on to answer; there is room again once a
// generation went.
func TestMaxSize(t *testing.T) {
	const most = 16 << 20
	s, shrinksTo := watched(t, Options{MaxBytes: most, DropRate: 1 << 30, memTable: 1 << 20})
	other := online.Generation{ID: 2, Keyspace: 1}
	for _, g := range []online.Generation{gen, other} {
		if err := s.CreateGeneration(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	entries := benchRows(1, 10_000)
	fill := func(g online.Generation) (written int64, err error) {
		for i := range int64(100) {
			for k := range entries {
				entries[k].Key = row.AppendInt64Key(nil, i*int64(len(entries))+int64(k))
			}
			result, err := s.Write(t.Context(), g, entries, online.WinNewest)
			written += result.Written
			if err != nil {
				return written, err
			}
		}
		return written, nil
	}
	written, err := fill(gen)
	if problem.CodeOf(err) != problem.Exhausted || !strings.Contains(err.Error(), "max_size") || written == 0 {
		t.Fatalf("%d rows, %v", written, err)
	}
	shrinksTo(most) // compactions under way have written their files, and not yet removed what they replace
	rows := func() (n int64) {
		if err := s.Scan(t.Context(), gen, func(_, _ []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n != written {
		t.Errorf("%d rows are there, %d were acknowledged", n, written)
	}
	if err := s.Delete(t.Context(), gen, [][]byte{entries[0].Key}); err != nil {
		t.Error(err)
	}
	if err := s.DropGeneration(t.Context(), gen); err != nil {
		t.Fatal(err)
	}
	shrinksTo(most / 4)
	if _, err := s.Write(t.Context(), other, entries, online.WinNewest); err != nil {
		t.Error(err)
	}
}
