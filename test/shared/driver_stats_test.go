//go:build shared

package shared

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
)

const driverProject = `
version: 1
project: drivers
roots: {lake: %s}
online: "%s"
`

const driverDefinitions = `
kind: Entity
name: driver
join_keys: [{name: driver_id, type: int64}]
---
kind: FeatureView
name: driver_stats
entities: [driver]
source:
  parquet: lake:driver_stats.parquet
  event_time: event_timestamp
  created_time: created
features:
  - {name: conv_rate, type: float32}
  - {name: acc_rate, type: float32}
  - {name: avg_daily_trips, type: int32}
---
kind: FeatureService
name: driver_activity
features: [{view: driver_stats}]
`

// driverSQL is the newest row of each driver, by DuckDB; floats by their bits.
const driverSQL = `
import duckdb, json, struct, sys
rows = duckdb.sql(f"""
    SELECT driver_id, conv_rate, acc_rate, avg_daily_trips FROM '{sys.argv[1]}'
    QUALIFY row_number() OVER (PARTITION BY driver_id ORDER BY event_timestamp DESC, created DESC NULLS LAST) = 1
    ORDER BY driver_id""").fetchall()
json.dump([[r[0], r[1], r[2], r[3]] for r in rows], sys.stdout)
`

// TestDriverStats declares Feast's own sample, materializes it into Redis through the command line, reads it back and
// compares it with DuckDB.
func TestDriverStats(t *testing.T) {
	dir := t.TempDir()
	data, err := filepath.Abs(sharedData)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "provender.yaml"), fmt.Sprintf(driverProject, data, onlinetest.StartRedis(t)))
	write(t, filepath.Join(dir, "drivers.yaml"), driverDefinitions)
	cli := command(t, dir)
	cli("apply", "--yes")
	cli("materialize")
	cli("verify", "--full")

	var want [][4]any
	decode(t, output(t, exec.Command(testenv.Python(t, "../.."), "-c", driverSQL, filepath.Join(data, "driver_stats.parquet"))), &want)
	if len(want) == 0 {
		t.Fatal("DuckDB found no driver")
	}
	args := []string{"get", "--service", "driver_activity", "-o", "json"}
	for _, w := range want {
		args = append(args, "--entity", fmt.Sprint("driver_id=", w[0]))
	}
	var got struct {
		Rows []struct {
			Features map[string]struct {
				Value  any    `json:"value"`
				Status string `json:"status"`
			} `json:"features"`
		} `json:"rows"`
	}
	decode(t, cli(args...), &got)
	if len(got.Rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(got.Rows), len(want))
	}
	for i, w := range want {
		for f, name := range []string{"conv_rate", "acc_rate", "avg_daily_trips"} {
			cell, ok := got.Rows[i].Features[name]
			if !ok || cell.Status != "PRESENT" && cell.Status != "NULL" {
				t.Errorf("driver %v, %s: %+v", w[0], name, cell)
			}
			// JSON has the shortest decimal of the value's own width, Python of its exact double: compare as float32.
			if !sameNumber(cell.Value, w[f+1]) {
				t.Errorf("driver %v, %s: %v, DuckDB has %v", w[0], name, cell.Value, w[f+1])
			}
		}
	}
}

func sameNumber(a, b any) bool {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	return ok1 == ok2 && float32(x) == float32(y)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, stderr.Bytes())
	}
	return out
}

func decode(t *testing.T, data []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}
