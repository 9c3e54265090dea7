package metrics

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/admission"
	"github.com/provender-dev/provender/internal/clock"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/online/serving"
)

// timed answers lookups that took some time, or fails.
type timed struct {
	Lookups
	took time.Duration
	err  error
}

func (l *timed) Lookup(_ context.Context, req *serving.Request) (*serving.Answer, error) {
	req.Took.Ended = req.Took.Began + clock.Instant(l.took)
	if l.err != nil {
		return nil, l.err
	}
	a := &serving.Answer{Rows: 1}
	a.Cells[columnar.Present] = 2
	return a, nil
}

func TestTraffic(t *testing.T) {
	stats := admission.Stats{Working: 3, Waiting: 2}
	m := New(Config{Admission: func() admission.Stats { return stats }, Logger: slog.New(slog.DiscardHandler)})
	look := func(n int, took time.Duration, err error) {
		l := m.Count(&timed{took: took, err: err})
		for range n {
			_, _ = l.Lookup(t.Context(), &serving.Request{})
		}
	}
	traffic := func() Traffic {
		t.Helper()
		got, err := m.Traffic()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if _, _, some := traffic().Quantile(.5); some {
		t.Error("a quantile of no lookups")
	}
	look(1000, 4*time.Second, nil) // before what is asked for
	before := traffic()
	look(90, 3*time.Millisecond, nil)
	look(9, 70*time.Millisecond, nil)
	look(1, time.Minute, errors.New("broken"))
	stats.Refused[0] = 5
	d := traffic().Since(before)
	if d.Lookups["OK"] != 99 || d.Lookups["INTERNAL"] != 1 || d.Cells["PRESENT"] != 198 || d.Cells["NULL"] != 0 || d.Now["working"] != 3 || d.Now["waiting"] != 2 {
		t.Errorf("%+v", d)
	}
	if got := d.Shed[admission.Reasons()[0].String()]; got != 5 {
		t.Errorf("%v were shed", got)
	}
	for _, c := range []struct {
		share  float64
		took   float64 // seconds, interpolated within a bucket
		longer bool
	}{
		{.45, .0025 + .0025*.5, false}, {.9, .005, false}, {.945, .05 + .05*.5, false}, {.99, .1, false}, {.999, 5, true},
	} {
		took, longer, some := d.Quantile(c.share)
		if !some || longer != c.longer || math.Abs(took.Seconds()-c.took) > 1e-6 {
			t.Errorf("%v: %v, %v, %v; want %v s", c.share, took, longer, some, c.took)
		}
	}
}
