package load

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/provender-dev/provender/sdk/client"
)

// right is the row of a version as it should be answered.
func right(driver, version int) Row {
	if version == 0 {
		return Row{TripsStatus: client.NotFound, RatingStatus: client.NotFound}
	}
	r := Row{Trips: Trips(driver, version), TripsStatus: client.Present, RatingStatus: client.Null}
	if rating, ok := Rating(version); ok {
		r.Rating, r.RatingStatus = rating, client.Present
	}
	return r
}

// TestJudge: what history does not allow is found, each in its way.
func TestJudge(t *testing.T) {
	h := NewHistory(3)
	h.Put(1, 0, 2)
	h.Settle()
	h.Put(2, 0, 2)
	damaged := right(1, 1)
	damaged.RatingStatus = client.Damaged
	mixture := right(1, 1)
	mixture.Rating = 2
	for _, tt := range []struct {
		name    string
		driver  int
		row     Row
		wrong   string
		missing bool
	}{
		{"settled", 0, right(0, 1), "", false},
		{"written", 0, right(0, 2), "", false},
		{"gone back", 0, right(0, 1), "of no version from 2 to 2", false},
		{"not yet written", 1, right(1, 3), "of no version from 1 to 2", false},
		{"another's", 1, right(0, 1), "of no version", false},
		{"absent", 1, right(1, 0), "NOT_FOUND", true},
		{"damaged", 1, damaged, "a mixture", false},
		{"of two versions", 1, mixture, "a mixture", false},
		{"from nowhere", 2, right(2, 1), "who is nowhere", false},
		{"nowhere", 2, right(2, 0), "", false},
		{"beyond all", 7, right(7, 0), "", false},
	} {
		wrong, missing := h.judge(tt.driver, h.floor(tt.driver), tt.row)
		if (tt.wrong == "") != (wrong == "") || !strings.Contains(wrong, tt.wrong) || missing != tt.missing {
			t.Errorf("%s: %q %v", tt.name, wrong, missing)
		}
	}
	h.MayGoBack(true)
	if wrong, _ := h.judge(0, h.floor(0), right(0, 1)); wrong != "" {
		t.Error(wrong)
	}
	if _, missing := h.judge(0, h.floor(0), right(0, 0)); !missing {
		t.Error("absent is no past")
	}
}

// TestTally: answers, refusals, the time that calls take, and how a fault ends.
func TestTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHistory(20)
		h.Put(1, 0, 20)
		h.Settle()
		begun := time.Now()
		away := func() bool { d := time.Since(begun); return d > time.Second && d < 3*time.Second }
		l := Start(Config{History: h, Pace: 10, Callers: 1, Deadline: 200 * time.Millisecond, Asks: []Ask{
			func(ctx context.Context, drivers []int64, rows []Row) error {
				if away() {
					<-ctx.Done()
					return &client.Error{Code: client.CodeDeadlineExceeded}
				}
				<-time.After(10 * time.Millisecond)
				for i, d := range drivers {
					rows[i] = right(int(d), 0)
					if d < 20 {
						rows[i] = right(int(d), 1)
					}
				}
				return nil
			},
		}})
		<-time.After(2500 * time.Millisecond)
		l.FaultEnds()
		if _, _, recovered := l.Recovery(); recovered {
			t.Error("no answer has come")
		}
		<-time.After(2 * time.Second)
		first, steady, recovered := l.Recovery()
		if !recovered || first < 500*time.Millisecond || first > 800*time.Millisecond || steady < 500*time.Millisecond || steady >= first {
			t.Errorf("first %s, steady %s, %v", first, steady, recovered)
		}
		part := l.Cut()
		total := l.Stop()
		late := total.Refusals[client.CodeDeadlineExceeded]
		if late.Calls < 9 || late.Calls > 11 || late.Longest != 200*time.Millisecond || total.Failed() != late.Calls || total.FailedBut(client.CodeDeadlineExceeded) != 0 {
			t.Errorf("%s", &total)
		}
		if total.Answers < 20 || total.Wrong+total.Missing > 0 || total.Longest != late.Longest || part.Answers > total.Answers {
			t.Errorf("%s", &total)
		}
		if q := total.Quantile(0.99); q < 10*time.Millisecond || q > 11*time.Millisecond {
			t.Errorf("p99 %s", q)
		}
	})
}
