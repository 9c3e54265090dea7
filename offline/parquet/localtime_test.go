package parquet

import (
	"slices"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/registry"
)

// readings by brute force: every instant within two days whose clocks show local.
func shownAt(loc *time.Location, local int64) []int64 {
	var at []int64
	for u := local - 2*daySeconds; u <= local+2*daySeconds; u++ {
		_, offset := time.Unix(u, 0).In(loc).Zone()
		if u+int64(offset) == local {
			at = append(at, u)
		}
	}
	return at
}

func TestLocalTimeAgainstSearch(t *testing.T) {
	for _, test := range []struct {
		zone   string
		around []string // UTC instants of changes, and quiet times
	}{
		{"America/New_York", []string{"2001-04-01T07:00:00Z", "2001-10-28T06:00:00Z", "2001-07-04T00:00:00Z"}},
		{"Europe/Zurich", []string{"2024-03-31T01:00:00Z", "2024-10-27T01:00:00Z"}},
		{"Australia/Lord_Howe", []string{"2024-04-06T15:00:00Z", "2024-10-05T15:30:00Z"}}, // by half an hour
		{"America/Sao_Paulo", []string{"2018-11-04T03:00:00Z", "2018-02-18T02:00:00Z"}},   // at midnight
		{"Pacific/Apia", []string{"2011-12-30T10:00:00Z"}},                                // a day is left out
		{"America/Havana", []string{"2024-11-03T05:00:00Z", "2024-03-10T05:00:00Z"}},
		{"Africa/Monrovia", []string{"1972-01-07T00:44:30Z"}}, // an offset with seconds
	} {
		t.Run(test.zone, func(t *testing.T) {
			loc, err := time.LoadLocation(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			earliest, latest := newLocalTime(loc, registry.AmbiguousEarliest), newLocalTime(loc, registry.AmbiguousLatest)
			strict := newLocalTime(loc, registry.AmbiguousError)
			for _, around := range test.around {
				at, err := time.Parse(time.RFC3339, around)
				if err != nil {
					t.Fatal(err)
				}
				_, before := at.Add(-time.Second).In(loc).Zone()
				_, after := at.In(loc).Zone()
				for _, edge := range []int64{at.Unix() + int64(before), at.Unix() + int64(after)} {
					for _, d := range []int64{-daySeconds, -3600, -1800, -1, 0, 1, 1799, 1800, 3599, 3600, daySeconds} {
						local := edge + d
						shown := shownAt(loc, local)
						e, err1 := earliest.instant(local)
						l, err2 := latest.instant(local)
						s, err3 := strict.instant(local)
						if err1 != nil || err2 != nil || (err3 == nil) != (len(shown) == 1) {
							t.Fatalf("%d: errors %v, %v, %v; shown at %v", local, err1, err2, err3, shown)
						}
						switch {
						case len(shown) == 0:
							// By the offset after the change, and by the one before it.
							if e != local-int64(after) || l != local-int64(before) {
								t.Errorf("skipped %d: %d and %d", local, e, l)
							}
						case e != slices.Min(shown) || l != slices.Max(shown) || len(shown) == 1 && s != shown[0]:
							t.Errorf("%d: %d and %d, shown at %v", local, e, l, shown)
						}
						least, greatest := earliest.bounds(local)
						if least > e || greatest < l {
							t.Errorf("%d: bounds %d and %d, read as %d and %d", local, least, greatest, e, l)
						}
					}
				}
			}
		})
	}
}

func TestDayStart(t *testing.T) {
	for _, test := range []struct{ zone, day, want string }{
		{"UTC", "2001-07-04", "2001-07-04T00:00:00Z"},
		{"America/New_York", "2001-04-01", "2001-04-01T05:00:00Z"},
		{"America/New_York", "2001-04-02", "2001-04-02T04:00:00Z"},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"}, // begins at 01:00
		{"America/Havana", "2024-11-03", "2024-11-03T04:00:00Z"},    // has two midnights
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"},      // does not exist
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"},
	} {
		loc, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.Parse(time.DateOnly, test.day)
		if err != nil {
			t.Fatal(err)
		}
		days := int32(day.Unix() / daySeconds)
		start := instants{local: newLocalTime(loc, ""), at: registry.AtStart}
		got, err := start.date(days)
		if s := time.UnixMicro(got).UTC().Format(time.RFC3339); err != nil || s != test.want {
			t.Errorf("%s in %s starts at %s, want %s (%v)", test.day, test.zone, s, test.want, err)
		}
		end := instants{local: newLocalTime(loc, ""), at: registry.AtEnd}
		if got2, err := end.date(days - 1); err != nil || got2 != got {
			t.Errorf("the day before %s in %s ends at %d, not %d (%v)", test.day, test.zone, got2, got, err)
		}
	}
}

func TestInstants(t *testing.T) {
	ny, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	utc, local := newLocalTime(nil, ""), newLocalTime(ny, registry.AmbiguousError)
	gap := time.Date(2001, 4, 1, 2, 0, 0, 0, time.UTC).UnixNano() // the first local time that does not exist
	for _, test := range []struct {
		name string
		c    instants
		v    int64
		want int64
		err  bool
	}{
		{"ms", instants{local: utc, unit: unitMillis}, 1, 1000, false},
		{"ms before year 1", instants{local: utc, unit: unitMillis}, row.MinTime/1000 - 1, 0, true},
		{"ms overflow", instants{local: utc, unit: unitMillis}, 1 << 62, 0, true},
		{"year 1", instants{local: utc, unit: unitMicros}, row.MinTime, row.MinTime, false},
		{"before year 1", instants{local: utc, unit: unitMicros}, row.MinTime - 1, 0, true},
		{"year 9999", instants{local: utc, unit: unitMicros}, row.MaxTime, row.MaxTime, false},
		{"after year 9999", instants{local: utc, unit: unitMicros}, row.MaxTime + 1, 0, true},
		{"naive after year 9999", instants{local: local, naive: true, unit: unitMicros}, 1 << 62, 0, true},
		{"ns exact", instants{local: utc, unit: unitNanos}, -1000, -1, false},
		{"ns with a rest", instants{local: utc, unit: unitNanos}, -1001, 0, true},
		{"ns up", instants{local: utc, unit: unitNanos, round: RoundUp}, -1001, -1, false},
		{"ns down", instants{local: utc, unit: unitNanos, round: RoundDown}, -1001, -2, false},
		{"ns up, positive", instants{local: utc, unit: unitNanos, round: RoundUp}, 1001, 2, false},
		{"ns down, positive", instants{local: utc, unit: unitNanos, round: RoundDown}, 1001, 1, false},
		{"rounding up does not fall into a gap", instants{local: local, naive: true, unit: unitNanos, round: RoundUp}, gap - 1, gap/1000 + 5*3600_000_000, false},
		{"in the gap", instants{local: local, naive: true, unit: unitNanos, round: RoundUp}, gap, 0, true},
		{"naive before 1970", instants{local: local, naive: true, unit: unitMillis}, -1, -1000 + 5*3600_000_000, false},
		{"with a zone", instants{local: local, unit: unitMicros}, 7, 7, false},
	} {
		got, err := test.c.timestamp(test.v)
		if (err != nil) != test.err || err == nil && got != test.want {
			t.Errorf("%s: %d, %v; want %d", test.name, got, err, test.want)
		}
	}
}
