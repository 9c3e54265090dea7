package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/offline"
)

// In a pipe an export is told every few seconds, with its share and what is left, and a short one not at all.
func TestProgressOfExportInPipe(t *testing.T) {
	var stderr bytes.Buffer
	now := time.Unix(0, 0)
	w, _ := world(nil, nil, &stderr)
	w.Now = func() time.Time { return now }
	p := (&app{World: w}).progress()
	for i := range int64(31) {
		stage := "orders"
		if i > 20 {
			stage = "write"
		}
		p.export(offline.Progress{Stage: stage, Done: i * 1000, Size: 40_000, Part: float64(i) / 40})
		now = now.Add(time.Second)
	}
	p.close()
	want := `orders: 12%, 5,000 of 40,000 rows, 35s left
orders: 25%, 10,000 of 40,000 rows, 30s left
orders: 37%, 15,000 of 40,000 rows, 25s left
orders: 50%, 20,000 of 40,000 rows, 20s left
write: 62%, 25,000 of 40,000 rows, 15s left
write: 75%, 30,000 of 40,000 rows, 10s left
`
	if stderr.String() != want {
		t.Errorf("%s\nwant\n%s", &stderr, want)
	}
}

// On a terminal it is one bar, which is gone at the end.
func TestProgressOfExportOnTerminal(t *testing.T) {
	drawn := watch("50%, 20,000 of 40,000 rows, 20s left")
	now := time.Unix(0, 0)
	w, _ := world(nil, nil, drawn)
	w.Now, w.StderrTerminal = func() time.Time { return now }, true
	p := (&app{World: w}).progress()
	p.export(offline.Progress{Stage: "orders", Size: 40_000})
	now = now.Add(20 * time.Second)
	p.export(offline.Progress{Stage: "orders", Done: 20_000, Size: 40_000, Part: 0.5})
	<-drawn.arrived
	p.close()
	if strings.Contains(drawn.String(), "orders: 50%") {
		t.Errorf("a plain line on a terminal: %s", drawn)
	}
}

func TestShare(t *testing.T) {
	for want, of := range map[string][2]int64{
		"-": {0, 5}, "100%": {5, 5}, "0.1%": {1, 1_000_000}, "99.9%": {999_999, 1_000_000}, "33.3%": {1, 3},
	} {
		if got := share(of[0], of[1]); got != want {
			t.Errorf("share(%d, %d) = %s, want %s", of[0], of[1], got, want)
		}
	}
	if got := share(0, 0); got != "-" {
		t.Errorf("share of nothing: %s", got)
	}
}
