package offline

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// fact is a row of a source or of a spine. A key of "null" is a null.
type fact struct {
	keys []string
	at   int64
}

// warningsOf exports a spine against a view of one source and returns the warnings.
func warningsOf(t *testing.T, ttl time.Duration, kind columnar.Type, history, spine []fact, opts SpineOptions) []Warning {
	t.Helper()
	dir := t.TempDir()
	width := len(history[0].keys)
	entity := &registry.Entity{Name: "thing"}
	entities := []string{entity.Name}
	if width == 0 {
		entities = nil
	}
	names := []string{"a", "b"}[:width]
	columns := func(facts []fact, times columnar.Type) []field {
		var fields []field
		for c, name := range names {
			v := columnar.NewVector(kind, len(facts))
			for _, f := range facts {
				switch {
				case f.keys[c] == "null":
					v.AppendNull()
				case kind == int64Type:
					x, err := strconv.ParseInt(f.keys[c], 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					v.AppendInt64(x)
				default:
					v.AppendString(f.keys[c])
				}
			}
			fields = append(fields, field{name, v})
		}
		at := columnar.NewVector(times, len(facts))
		for _, f := range facts {
			at.AppendInt64(f.at)
		}
		return append(fields, field{"t", at})
	}
	for _, name := range names {
		entity.JoinKeys = append(entity.JoinKeys, registry.JoinKey{Name: name, Type: kind})
	}
	values := columnar.NewVector(int64Type, len(history))
	for i := range history {
		values.AppendInt64(int64(i))
	}
	writeFile(t, filepath.Join(dir, "things/a.parquet"), 1000, append(columns(history, timeType), field{"x", values})...)
	times := timeType
	if opts.Unit != "" {
		times = int64Type
	}
	writeFile(t, filepath.Join(dir, "spine.parquet"), 1000, columns(spine, times)...)
	snapshot, err := registry.Compile(1, &registry.Definitions{
		Entities: []*registry.Entity{entity},
		Sources: []*registry.Source{{
			Name: "things", Parquet: []string{"things"}, EventTime: registry.TimeColumn{Column: "t"}, Timezone: "UTC",
			Ambiguous: registry.AmbiguousError, Rewrites: registry.RewritesRebuild,
		}},
		Views: []*registry.FeatureView{{
			Name: "things", Entities: entities, Source: "things", TTL: ttl,
			Features: []*registry.Feature{{Name: "x", Type: int64Type}},
		}},
		Services: []*registry.FeatureService{{Name: "s", Features: []registry.ServiceView{{View: "things"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	opts.Time = "t"
	report, err := Export(t.Context(), ExportRequest{
		Service: snapshot.Services["s"], Snapshot: snapshot, Source: source.New(dir, nil),
		Spine: filepath.Join(dir, "spine.parquet"), SpineOptions: opts, Out: filepath.Join(dir, "out.parquet"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return report.Warnings
}

// wantWarning wants one warning with texts in it; no code: no warning.
func wantWarning(t *testing.T, got []Warning, code string, texts ...string) {
	t.Helper()
	switch {
	case code == "":
		if len(got) > 0 {
			t.Errorf("warnings %+v, want none", got)
		}
		return
	case len(got) != 1 || got[0].Code != code:
		t.Fatalf("warnings %+v, want %s", got, code)
	}
	for _, text := range texts {
		if !strings.Contains(got[0].Text+"\n"+got[0].Fix, text) {
			t.Errorf("%s: %s\n%s\nwant %q in it", code, got[0].Text, got[0].Fix, text)
		}
	}
}

const anyDay = 24 * hour

// dense returns history of 40 things, one row every two hours for 30 days.
func dense(name func(i int) string) []fact {
	var facts []fact
	for i := range 40 {
		for n := range int64(30 * 12) {
			facts = append(facts, fact{[]string{name(i)}, noon + n*2*hour + int64(i)})
		}
	}
	return facts
}

// among returns spine rows of 40 things at times among those of dense.
func among(random *rand.Rand, name func(i int) string) []fact {
	var facts []fact
	for range 400 {
		facts = append(facts, fact{[]string{name(random.IntN(40))}, noon + anyDay + random.Int64N(28*anyDay)})
	}
	return facts
}

func TestWarningsOfKeys(t *testing.T) {
	random := testenv.Rand(t)
	upper := func(i int) string { return fmt.Sprintf("K%02dX", i) }
	lower := func(i int) string { return fmt.Sprintf("k%02dx", i) }
	digits := func(format string) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, 7*i+1) }
	}
	for _, c := range []struct {
		name          string
		source, spine func(i int) string
		code          string
		texts         []string
	}{
		{"as they are", upper, upper, "", nil},
		{
			"lower case", upper, lower, WarnKeyFormat,
			[]string{"100% of the rows are EXPIRED or NOT_FOUND", "in upper case", `the spine has "k`, `the source "K`, "write the spine's column in upper case"},
		},
		{"upper case", lower, upper, WarnKeyFormat, []string{"in lower case"}},
		{"blanks", upper, func(i int) string { return " " + upper(i) + " " }, WarnKeyFormat, []string{"without blanks", `" K`}},
		{"zeros in front", digits("%d"), digits("%06d"), WarnKeyFormat, []string{"without leading zeros"}},
		{"no zeros in front", digits("%06d"), digits("%d"), WarnKeyFormat, []string{"with leading zeros", "up to 6 digits"}},
		{"of a float", digits("%d"), digits("%d.0"), WarnKeyFormat, []string{`without ".0"`, "float"}},
		{"others", upper, digits("%d"), WarnUnknownKeys, []string{"none of the", `the source "K00X"`, "`join`"}},
		{"a third others", upper, func(i int) string { return upper(i * 3 / 2) }, "", nil},
		{"most others", upper, func(i int) string { return upper(i * 3) }, WarnMostlyAbsent, []string{"of those sampled, ", "% have a key that is nowhere in the source"}},
		{"most in lower case", upper, func(i int) string {
			if i%4 > 0 {
				return lower(i)
			}
			return upper(i)
		}, WarnKeyFormat, []string{"in upper case", "% of the keys sampled are not in the source"}},
		{"most null", upper, func(i int) string {
			if i%4 > 0 {
				return "null"
			}
			return upper(i)
		}, WarnNullKeys, []string{"of the spine's rows have no a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := warningsOf(t, 6*time.Hour, stringType, dense(c.source), among(random, c.spine), SpineOptions{})
			wantWarning(t, got, c.code, c.texts...)
		})
	}
}

func TestWarningsOfKeysInOtherOrder(t *testing.T) {
	var history, spine []fact
	for i := range 100 {
		history = append(history, fact{[]string{fmt.Sprint("from", i), fmt.Sprint("to", i)}, noon})
		spine = append(spine, fact{[]string{fmt.Sprint("to", i), fmt.Sprint("from", i)}, noon + hour})
	}
	got := warningsOf(t, 0, stringType, history, spine, SpineOptions{})
	wantWarning(t, got, WarnKeyFormat, "the other way round", `("to0", "from0")`, `("from0", "to0")`, "`join`")
}

func TestWarningsOfNumbers(t *testing.T) {
	random := testenv.Rand(t)
	name := func(i int) string { return strconv.Itoa(i) }
	got := warningsOf(t, 6*time.Hour, int64Type, dense(name), among(random, func(i int) string { return strconv.Itoa(i + 1000) }), SpineOptions{})
	wantWarning(t, got, WarnUnknownKeys, "the source 0")
	got = warningsOf(t, 6*time.Hour, int64Type, dense(name), among(random, name), SpineOptions{})
	wantWarning(t, got, "")
}

// moved returns facts at other times.
func moved(facts []fact, to func(int64) int64) []fact {
	out := make([]fact, len(facts))
	for i, f := range facts {
		out[i] = fact{f.keys, to(f.at)}
	}
	return out
}

func later(d time.Duration) func(int64) int64 {
	return func(t int64) int64 { return t + d.Microseconds() }
}

func TestWarningsOfTimes(t *testing.T) {
	random := testenv.Rand(t)
	name := func(i int) string { return fmt.Sprint("n", i) }
	// rare has a row of a thing now and then, and the spine asks minutes later.
	var rare, soon []fact
	for i := range 400 {
		f := fact{[]string{name(i % 40)}, noon + random.Int64N(365*anyDay)}
		rare = append(rare, f)
		soon = append(soon, fact{f.keys, f.at + hour/60 + random.Int64N(hour/4)})
	}
	// daily has a row of every thing at midnight.
	var daily []fact
	for i := range 40 {
		for d := range int64(30) {
			daily = append(daily, fact{[]string{name(i)}, noon - 12*hour + d*anyDay})
		}
	}
	atNoon := func(t int64) int64 { return noon + (t-noon)/anyDay*anyDay }
	summer := func(t int64) int64 { // of a zone an hour ahead of UTC, two hours in the middle half of the year
		if t > noon+91*anyDay && t < noon+274*anyDay {
			return t + 2*hour
		}
		return t + hour
	}
	spine := among(random, name)
	// Half a day before the first of daily, and a third as much after it.
	var firstDay []fact
	for i := range 400 {
		firstDay = append(firstDay, fact{[]string{name(i % 40)}, noon - 24*hour + int64(i%40)*hour*16/40})
	}
	for _, c := range []struct {
		name          string
		ttl           time.Duration
		source, spine []fact
		code          string
		texts         []string
	}{
		{"as they are", 6 * time.Hour, dense(name), spine, "", nil},
		{"rare ones found", time.Hour, rare, soon, "", nil},
		{"local east", time.Hour, rare, moved(soon, later(5*time.Hour)), WarnTimeZone, []string{"to 5h earlier", "ahead of UTC", "--timezone"}},
		{"local of India", time.Hour, rare, moved(soon, later(5*time.Hour+30*time.Minute)), WarnTimeZone, []string{"5h30m earlier"}},
		{"local west", time.Hour, rare, moved(soon, later(-8*time.Hour)), WarnTimeZone, []string{"8h to", "behind UTC"}},
		{"local with summer time", 30 * time.Minute, rare, moved(soon, summer), WarnTimeZone, []string{"1h to 2h earlier"}},
		{"no zone is so far", time.Hour, rare, moved(soon, later(20*time.Hour)), WarnShortTTL, nil},
		{
			"at the first event", 0, moved(rare, func(int64) int64 { return noon }), moved(soon, func(int64) int64 { return noon - 7*hour }),
			WarnBeforeFirst,
			[]string{"end 7h before the first event", "behind UTC, say it with --timezone"},
		},
		{"the first day of daily ones", 72 * time.Hour, daily, firstDay, WarnBeforeFirst, []string{"most of those lie before the first event, 2001-01-01T00:00:00Z"}},
		{
			"before", 6 * time.Hour, dense(name), moved(spine, later(-400*24*time.Hour)), WarnBeforeFirst,
			[]string{"before the first event, 2001-01-01T12:00:00Z"},
		},
		{"before, without ttl", 0, dense(name), moved(spine, later(-60*24*time.Hour)), WarnBeforeFirst, nil},
		{"after", 6 * time.Hour, dense(name), moved(spine, later(60*24*time.Hour)), WarnAfterNewest, []string{"after the newest event, 2001-01-31T10:00:00", "the ttl is 6h"}},
		{
			"most of it, and what is missing is after", 6 * time.Hour, dense(name), moved(spine, later(16*24*time.Hour)), WarnAfterNewest,
			[]string{"most of those lie after the newest event, 2001-01-31T10:00:00", "on the median, and the ttl is 6h"},
		},
		{"daily, ttl of an hour", time.Hour, daily, spine, WarnShortTTL, []string{"1d apart", "the ttl is 1h"}},
		{"daily, asked at noon", 6 * time.Hour, daily, moved(spine, atNoon), WarnShortTTL, []string{"1d apart", "newest is 12h old"}},
		{"a third expired", 16 * time.Hour, daily, spine, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantWarning(t, warningsOf(t, c.ttl, stringType, c.source, c.spine, SpineOptions{}), c.code, c.texts...)
		})
	}
}

func TestWarningsWithoutKeys(t *testing.T) {
	history := []fact{{at: noon}, {at: noon + hour}}
	var spine []fact
	for i := range int64(300) {
		spine = append(spine, fact{at: noon + i*anyDay})
	}
	got := warningsOf(t, 6*time.Hour, stringType, history, spine, SpineOptions{})
	wantWarning(t, got, WarnAfterNewest, "most of those lie after the newest event, 2001-01-01T13:00:00Z")
}

func TestWarningsOfUnits(t *testing.T) {
	random := testenv.Rand(t)
	name := func(i int) string { return fmt.Sprint("n", i) }
	spine := among(random, name)
	millis := func(t int64) int64 { return t / 1000 }
	got := warningsOf(t, 6*time.Hour, stringType, dense(name), moved(spine, millis), SpineOptions{Unit: "us"})
	wantWarning(t, got, WarnTimeUnit, "the spine's times lie about 1970-01-12", "from 2001-01-01 to 2001-01-31", "say --time-unit ms")
	got = warningsOf(t, 6*time.Hour, stringType, dense(name), moved(spine, millis), SpineOptions{Unit: "ms"})
	wantWarning(t, got, "")
	// A timestamp that was made from a number of another unit.
	got = warningsOf(t, 6*time.Hour, stringType, dense(name), moved(spine, millis), SpineOptions{})
	wantWarning(t, got, WarnTimeUnit, "1000 times too small")
	got = warningsOf(t, 6*time.Hour, stringType, dense(name), moved(spine, func(t int64) int64 { return t * 20 }), SpineOptions{})
	wantWarning(t, got, WarnAfterNewest)
}

func TestWarningNeedsMost(t *testing.T) {
	history := []fact{{[]string{"a"}, noon}}
	spine := []fact{{[]string{"a"}, noon}, {[]string{"x"}, noon}}
	wantWarning(t, warningsOf(t, 0, stringType, history, spine, SpineOptions{}), "")
	wantWarning(t, warningsOf(t, 0, stringType, history, append(spine, spine[1]), SpineOptions{}), WarnMostlyAbsent, "67% of the rows")
	wantWarning(t, warningsOf(t, 0, stringType, history, nil, SpineOptions{}), "")
}

func TestPercent(t *testing.T) {
	for want, of := range map[string][2]int{
		"0%": {0, 7}, "100%": {7, 7}, "under 1%": {1, 1000}, "over 99%": {999, 1000}, "50%": {1, 2}, "1%": {1, 100}, "99%": {99, 100},
	} {
		if got := percent(of[0], of[1]); got != want {
			t.Errorf("percent(%d, %d) = %s, want %s", of[0], of[1], got, want)
		}
	}
}
