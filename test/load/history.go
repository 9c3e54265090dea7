package load

import (
	"fmt"
	"sync/atomic"

	"github.com/provender-dev/provender/sdk/client"
)

// Versions is beyond every version of a driver's row.
const Versions = 1000

// Trips and Rating are the values of a driver's row in a version, 1 to Versions-1; a later one is dated later. They tell
// driver and version.
func Trips(driver, version int) int64 { return int64(driver)*Versions + int64(version) }

// Rating is null in every third version.
func Rating(version int) (value float64, ok bool) { return float64(version), version%3 > 0 }

// Row is what is answered of one driver.
type Row struct {
	Trips                     int64
	Rating                    float64
	TripsStatus, RatingStatus client.Status
}

// History is which versions of each driver an answer may have. Safe for concurrent use.
type History struct {
	drivers []driver
	mixed   atomic.Bool
}

type driver struct {
	least, most atomic.Int32 // 0: none
	seen        atomic.Int32
}

// NewHistory is one of so many drivers, none of which has a row yet.
func NewHistory(drivers int) *History { return &History{drivers: make([]driver, drivers)} }

// Put says that files have a version of the drivers from ≤ d < to: from now on it may be answered.
func (h *History) Put(version, from, to int) {
	for d := from; d < to; d++ {
		raise(&h.drivers[d].most, int32(version))
	}
}

// Settle says that what files have is what every server answers from now on.
func (h *History) Settle() {
	for d := range h.drivers {
		raise(&h.drivers[d].least, h.drivers[d].most.Load())
	}
}

// MayGoBack says whether answers may show what was true before: where the store went back and nobody has noticed yet, or
// where several servers take up a new generation one after the other. They are never of a driver's first version's past.
func (h *History) MayGoBack(may bool) {
	if !may {
		for d := range h.drivers {
			h.drivers[d].seen.Store(0)
		}
	}
	h.mixed.Store(may)
}

func raise(at *atomic.Int32, to int32) {
	for {
		was := at.Load()
		if was >= to || at.CompareAndSwap(was, to) {
			return
		}
	}
}

// floor is the least version that a call which begins now may see.
func (h *History) floor(d int) int32 {
	if d >= len(h.drivers) {
		return 0
	}
	return max(h.drivers[d].least.Load(), h.drivers[d].seen.Load())
}

// judge says what is wrong with a row, "" for nothing; floor is from when the call began. missing: the row is there and
// was told to be absent.
func (h *History) judge(d int, floor int32, r Row) (wrong string, missing bool) {
	absent := r.TripsStatus == client.NotFound && r.RatingStatus == client.NotFound
	if d >= len(h.drivers) || h.drivers[d].most.Load() == 0 {
		if !absent {
			return fmt.Sprintf("driver %d, who is nowhere, is %v", d, r), false
		}
		return "", false
	}
	if h.mixed.Load() {
		floor = min(floor, 1)
	}
	if absent {
		if floor == 0 {
			return "", false
		}
		return fmt.Sprintf("driver %d is NOT_FOUND", d), true
	}
	version := r.Trips - Trips(d, 0)
	if r.TripsStatus != client.Present || version < max(int64(floor), 1) || version > int64(h.drivers[d].most.Load()) {
		return fmt.Sprintf("driver %d is %v, of no version from %d to %d", d, r, floor, h.drivers[d].most.Load()), false
	}
	rating, ok := Rating(int(version))
	if ok && (r.RatingStatus != client.Present || r.Rating != rating) || !ok && r.RatingStatus != client.Null {
		return fmt.Sprintf("driver %d is %v, a mixture", d, r), false
	}
	raise(&h.drivers[d].seen, int32(version))
	return "", false
}

func (r Row) String() string {
	return fmt.Sprintf("%s %d, %s %v", r.TripsStatus, r.Trips, r.RatingStatus, r.Rating)
}
