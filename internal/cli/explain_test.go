package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/examples/flights"
)

// history is the flights example as it is shipped, applied, never materialized; with a view for everybody, whose rows tie,
// one of an int64 key, and one of a week that is there twice, with a correction.
func history(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "flights")
	if _, err := flights.Unpack(dir, flights.End); err != nil {
		t.Fatal(err)
	}
	week, err := os.ReadFile(filepath.Join(dir, "data", "airport_hourly", "week=2001-06-18", "part-0.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "twice", "a.parquet"), week)
	put(t, filepath.Join(dir, "twice", "b.parquet"), week)
	hour := time.Date(2001, 6, 18, 1, 0, 0, 0, time.UTC).UnixMicro()
	late := []flights.AirportHour{{IATA: "SFO", Hour: hour, Departures: 99, LoadedAt: hour + 8*3600e6}}
	if err := parquet.WriteFile(filepath.Join(dir, "twice", "late.parquet"), late); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "definitions", "more.yaml"), []byte(`
kind: FeatureView
name: twice
entities: [airport]
keys: {airport: iata}
source: {parquet: "twice/**", event_time: hour, created_time: loaded_at}
features: [{name: departures_1h, type: int64}]
---
kind: FeatureView
name: latest
entities: []
source: {parquet: "lake:airport_hourly/**", event_time: hour, created_time: loaded_at}
features:
  - {name: iata, type: string}
  - {name: departures_1h, type: int64}
---
kind: Entity
name: distance
join_keys: [{name: distance, type: int64}]
---
kind: FeatureView
name: by_distance
entities: [distance]
source: {parquet: "lake:route_daily/**", event_time: {column: day, at: end}}
ttl: 1d
features:
  - {name: flights_1d, type: int64}
  - {name: mean_delay_1d, type: float64}
`))
	run(t, "apply", "--yes", "-C", dir)
	return dir
}

// checkGolden compares what a command prints with a file of testdata. Text is for terminals of 100 columns.
func checkGolden(t *testing.T, dir, name string, args []string) {
	t.Helper()
	got := run(t, append(args, "-C", dir)...)
	for line := range strings.Lines(got) {
		if strings.HasPrefix(name, "explain") && !strings.HasSuffix(name, "json") && lipgloss.Width(strings.TrimSuffix(line, "\n")) > 100 {
			t.Errorf("longer than 100 columns: %s", line)
		}
	}
	golden := filepath.Join("testdata", "history", name)
	if *update {
		put(t, golden, []byte(got))
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s, -want +got; go test -update accepts it:\n%s", golden, diff)
	}
}

// What explain and get --at say of history. No store is opened: there is none.
func TestHistory(t *testing.T) {
	dir := history(t)
	for name, line := range map[string]string{
		"explain-present":   "explain airport_hourly:mean_delay_1h --entity airport=JFK --at 2001-06-20T15:42:07.25Z",
		"explain-edge":      "explain airport_hourly:mean_delay_1h --entity airport=ABI --at 2001-06-20T19:00:00Z --candidates 1",
		"explain-expired":   "explain airport_hourly:departures_1h --entity airport=JFK --at 2001-07-01T10:00:00Z --candidates 1",
		"explain-too-old":   "explain airport_hourly:departures_1h --entity airport=JFK --at 2002-01-01 --candidates 0",
		"explain-too-early": "explain airport_hourly:departures_1h --entity airport=JFK --at 2001-01-01 --candidates 1",
		"explain-near":      "explain airport_hourly:departures_1h --entity airport=jfk --at 2001-06-20",
		"explain-composite": "explain route_daily:delays_1d --entity origin=JFK,destination=SFO --at 2001-06-20",
		"explain-no-route":  "explain route_daily:distance --entity origin=JFK,destination=ABI --at 2001-08-20",
		"explain-no-value":  "explain airport_hourly:mean_delay_1h --entity airport=BOS --at 2001-06-20T01:00:00Z --candidates 1",
		"explain-null":      "explain airport_hourly:departures_1h --entity airport= --at 2001-06-20",
		"explain-tie":       "explain latest:departures_1h --at 2001-06-20T15:42:07.25Z",
		"explain-tie-int":   "explain by_distance:flights_1d --entity distance=2586 --at 2001-06-20T00:00:00.000001Z",
		"explain-copies":    "explain twice:departures_1h --entity airport=JFK --at 2001-06-18T02:00:00Z",
		"explain-corrected": "explain twice:departures_1h --entity airport=SFO --at 2001-06-18T02:00:00Z",
		"explain.json":      "explain by_distance:flights_1d --entity distance=2586 --at 2001-06-20 --candidates 1 -o json",
		"explain-near.json": "explain route_daily:flights_1d --entity origin=jfk,destination=SFO --at 2001-06-20 -o json",

		"get":          "get --service delay_model_v1 --entity origin=JFK,destination=SFO --entity destination=,origin=ABI --at 2001-06-20T15:42:07.25Z",
		"get-expired":  "get --features airport_hourly:departures_1h,airport_hourly:share_late_1h --entity airport=JFK --at 2001-07-01T12:00:00Z",
		"get-too-old":  "get --features airport_hourly:departures_1h --entity airport=JFK --at 2001-07-01T12:00:00.000001Z",
		"get-global":   "get --features latest:iata --at 2001-06-20T15:42:07.25Z",
		"get-null":     "get --features airport_hourly:departures_1h,airport_hourly:mean_delay_1h --entity airport=BOS --at 2001-06-20T01:00:00Z",
		"get-int.json": "get --features by_distance:flights_1d --entity distance=2586 --entity distance= --entity distance=-1 --at 2001-06-20 -o json",
	} {
		t.Run(name, func(t *testing.T) { checkGolden(t, dir, name, strings.Fields(line)) })
	}
	put(t, filepath.Join(dir, "pairs.csv"), []byte("destination,origin\nSFO,JFK\n,JFK\n\"\",XXX\n"))
	t.Run("get-entities", func(t *testing.T) {
		checkGolden(t, dir, "get-entities", []string{
			"get", "--features", "route_daily:flights_1d,route_daily:busiest_part", "--entities", filepath.Join(dir, "pairs.csv"),
			"--at", "2001-06-20",
		})
	})
	if _, err := os.Stat(filepath.Join(dir, ".provender", "online")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an online store was opened: %v", err)
	}
}

// Explain tells how far runs have come with the row that answers.
func TestExplainRuns(t *testing.T) {
	dir := history(t)
	explain := func(at, want string) {
		t.Helper()
		got := run(t, "explain", "airport_hourly:mean_delay_1h", "--entity", "airport=JFK", "--at", at, "-C", dir)
		if !strings.Contains(got, want) {
			t.Errorf("want %s\n%s", want, got)
		}
	}
	explain("2001-06-20", "none: the view was not materialized yet")
	run(t, "materialize", "airport_hourly", "--to", "2001-06-30T12:30:00Z", "-C", dir)
	explain("2001-06-20", "run 1 read the file; generation 1 is complete up to 2001-06-30T12:30:00Z")
	explain("2001-06-30T13:00:00Z", "run 1 read the file; the row waits for a run beyond 2001-06-30T12:30:00Z")
	rows := []flights.AirportHour{{IATA: "JFK", Hour: flights.End.UnixMicro(), LoadedAt: flights.End.UnixMicro() + 3600e6}}
	added := filepath.Join(dir, "data", "airport_hourly", "late.parquet")
	if err := parquet.WriteFile(added, rows); err != nil {
		t.Fatal(err)
	}
	explain("2001-07-01", "none has read the file yet; generation 1 is complete up to 2001-06-30T12:30:00Z")
	run(t, "materialize", "airport_hourly", "--to", "2001-07-02", "-C", dir)
	explain("2001-07-01", "run 2 read the file")
	rows[0].Departures++
	if err := parquet.WriteFile(added, rows); err != nil {
		t.Fatal(err)
	}
	explain("2001-07-01", "the file has changed since run 2 read it")
}

func TestHistoryErrors(t *testing.T) {
	dir := history(t)
	for line, want := range map[string]string{
		"explain airport_hourly --entity airport=JFK":                                    `"airport_hourly" names no feature` + "\n  write view:feature",
		"explain airport_hourl:x --entity airport=JFK":                                   `did you mean "airport_hourly"?`,
		"explain airport_hourly:mean_delay --entity airport=JFK":                         `did you mean "mean_delay_1h"?`,
		"explain airport_hourly:mean_delay_1h":                                           "view airport_hourly needs an entity\n  give it with --entity airport=…",
		"explain route_daily:distance":                                                   "--entity origin=…,destination=…",
		"explain route_daily:distance --entity origin=JFK":                               `key "destination" is missing; the keys are: origin, destination`,
		"explain airport_hourly:mean_delay_1h --entity airprt=JFK":                       `did you mean "airport"?`,
		"explain airport_hourly:mean_delay_1h --entity airport=JFK --entity airport=SFO": "--entity is given 2 times; explain takes one entity",
		"explain airport_hourly:mean_delay_1h --entity airport=JFK --candidates -1":      "--candidates is -1: want 0 or more",
		"explain airport_hourly:mean_delay_1h --entity airport=JFK --at yesterday":       "is not an instant",
		"explain by_distance:flights_1d --entity distance=2586.0":                        `key "distance" is int64, "2586.0" is not`,
		"explain latest:iata --entity airport=JFK":                                       "these features are the same for everybody\n  leave the entity out",
		"explain a:b c:d": `takes no argument "c:d"`,
		"explain":         "needs VIEW:FEATURE",
		"get --features airport_hourly:mean_delay_1h --at 2001-06-20":                         "no entities: the keys are airport",
		"get --features airport_hourly:mean_dely_1h --entity airport=JFK --at 2001-06-20":     `did you mean "mean_delay_1h"?`,
		"get --service delay_model_v2 --entity airport=JFK --at 2001-06-20":                   `did you mean "delay_model_v1"?`,
		"get --service delay_model_v1 --entity origin=JFK --at 2001-06-20":                    `key "destination" is missing`,
		"get --features latest:iata --entity airport=JFK --at 2001-06-20":                     "these features are the same for everybody",
		"get --features latest:iata --at 2001-06-20 --now 2001-06-20":                         "--at and --now can't be given together",
		"get --features by_distance:flights_1d --entity distance=far --at 2001-06-20":         `key "distance" is int64, "far" is not`,
		"get --features by_distance:flights_1d --entities nothing.csv --at 2001-06-20":        "nothing.csv",
		"get --features airport_hourly:mean_delay_1h --entity airport=JFK --at 20010620T1200": "is not an instant",
	} {
		t.Run(line, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			w, _ := world(strings.NewReader(""), &stdout, &stderr)
			if code := Main(append(strings.Fields(line), "-C", dir), w); code != exitFailure || stdout.Len() > 0 {
				t.Errorf("exit code %d\n%s", code, &stdout)
			}
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("want %s\ngot %s", want, &stderr)
			}
		})
	}
}

// A limit of provender.yaml is kept by every command that reads the files, and its breach names it.
func TestLimits(t *testing.T) {
	dir := history(t)
	config := filepath.Join(dir, "provender.yaml")
	content, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	entity := []string{"--entity", "airport=JFK", "--at", "2001-06-20"}
	for _, args := range [][]string{
		{"plan"},
		{"materialize", "airport_hourly", "--to", "2001-06-30"},
		append([]string{"get", "--features", "airport_hourly:mean_delay_1h"}, entity...),
		append([]string{"explain", "airport_hourly:mean_delay_1h"}, entity...),
		{"export", "--service", "delay_model_v1", "--spine", filepath.Join(dir, "data", "flights.parquet"), "--time", "departs", "--out", filepath.Join(dir, "out.parquet")},
	} {
		for limit, value := range map[string]string{"parquet_footer": "100", "parquet_group_values": "10", "parquet_page": "100"} {
			if args[0] == "plan" && limit == "parquet_page" {
				continue // it reads footers
			}
			t.Run(args[0]+" "+limit, func(t *testing.T) {
				put(t, config, append(bytes.Clone(content), []byte("limits: {"+limit+": "+value+"}\n")...))
				var stdout, stderr bytes.Buffer
				w, _ := world(strings.NewReader(""), &stdout, &stderr)
				code := Main(append(args, "-C", dir), w)
				if code == exitDone || !strings.Contains(stderr.String()+stdout.String(), "over the limit of "+value+" (limits."+limit+")") {
					t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
				}
			})
		}
	}
	put(t, config, append(bytes.Clone(content), []byte("limits: {request_entities: 1, request_features: 2, request_message: 10KB}\n")...))
	run(t, "materialize", "-C", dir, "--to", "2001-06-30")
	for _, c := range []struct{ line, want string }{
		{"get --features airport_hourly:departures_1h --entity airport=JFK --entity airport=SFO", "2 entities, the limit is 1 (limits.request_entities)"},
		{"get --service delay_model_v1 --entity origin=JFK,destination=SFO", "features, the limit is 2 (limits.request_features)"},
		{"get --features airport_hourly:departures_1h --entity airport=" + strings.Repeat("x", 20_000), "raise the server's limits.request_message"},
	} {
		var stdout, stderr bytes.Buffer
		w, _ := world(strings.NewReader(""), &stdout, &stderr)
		if code := Main(append(strings.Fields(c.line), "-C", dir), w); code != exitFailure || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("exit code %d, want %q\n%s%s", code, c.want, &stdout, &stderr)
		}
	}
}
