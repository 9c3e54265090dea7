package load

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// maxExamples bounds the texts that a tally keeps.
const maxExamples = 5

// Tally is what calls came to.
type Tally struct {
	Answers  int
	Refusals map[string]Refusals // by code, as sdk/client has it; "http_503"; "connection"
	Wrong    int                 // cells' rows that history does not allow
	Missing  int                 // rows that are there and were NOT_FOUND
	Examples []string            // some of those two
	Longest  time.Duration       // call of all
	Took     time.Duration       // all calls

	begun time.Time
	times [buckets]int // of answers
}

// Refusals are calls that failed in one way.
type Refusals struct {
	Calls   int
	Quick   int // within a quarter of a second
	Longest time.Duration
	Last    string // text
}

func newTally() Tally { return Tally{Refusals: map[string]Refusals{}, begun: time.Now()} }

func (t *Tally) clone() Tally {
	c := *t
	c.Refusals, c.Examples = maps.Clone(t.Refusals), slices.Clone(t.Examples)
	return c
}

func (t *Tally) add(err error, took time.Duration) {
	t.Longest = max(t.Longest, took)
	if err == nil {
		t.Answers++
		t.times[bucketOf(took)]++
		return
	}
	r := t.Refusals[code(err)]
	r.Calls++
	if took < time.Second/4 {
		r.Quick++
	}
	r.Longest, r.Last = max(r.Longest, took), err.Error()
	t.Refusals[code(err)] = r
}

// Failed is how many calls were not answered.
func (t *Tally) Failed() (calls int) {
	for _, r := range t.Refusals {
		calls += r.Calls
	}
	return calls
}

// FailedBut is how many calls were not answered for other reasons than some codes.
func (t *Tally) FailedBut(codes ...string) (calls int) {
	for code, r := range t.Refusals {
		if !slices.Contains(codes, code) {
			calls += r.Calls
		}
	}
	return calls
}

// Rate is answers per second.
func (t *Tally) Rate() float64 { return float64(t.Answers) / t.Took.Seconds() }

// Answers are counted in buckets, each 2^(1/8) times as wide as the one before, from a microsecond on.
const (
	perDouble = 8
	buckets   = 32 * perDouble
)

func bucketOf(d time.Duration) int {
	us := float64(d) / float64(time.Microsecond)
	return min(max(int(math.Log2(us)*perDouble), 0), buckets-1)
}

// Quantile is within how long so great a share of the answers came, to a tenth; 0 without answers.
func (t *Tally) Quantile(q float64) time.Duration {
	left := int(math.Ceil(q * float64(t.Answers)))
	if left == 0 {
		return 0
	}
	for i, n := range t.times {
		if left -= n; left <= 0 {
			return time.Duration(math.Exp2(float64(i+1)/perDouble) * float64(time.Microsecond))
		}
	}
	return t.Longest
}

func (t *Tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d answers, p50 %s, p99 %s, the longest call %s", t.Answers, round(t.Quantile(0.5)), round(t.Quantile(0.99)), round(t.Longest))
	for _, code := range slices.Sorted(maps.Keys(t.Refusals)) {
		r := t.Refusals[code]
		fmt.Fprintf(&b, "; %d %s within %s (%d quick)", r.Calls, code, round(r.Longest), r.Quick)
	}
	if t.Wrong+t.Missing > 0 {
		fmt.Fprintf(&b, "; %d rows are wrong, %d missing: %s", t.Wrong, t.Missing, strings.Join(t.Examples, "; "))
	}
	return b.String()
}

func round(d time.Duration) time.Duration { return d.Round(max(time.Microsecond, d/1000)) }
