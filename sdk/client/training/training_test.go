package training_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/sdk/client/training"
	"github.com/provender-dev/provender/test/flights"
)

var running *flights.Server

// addr is where a server of the flights example listens, which is started when it is first asked for.
var addr = sync.OnceValues(func() (string, error) {
	var err error
	if running, err = flights.Start(); err != nil {
		return "", err
	}
	return running.Addr, nil
})

type withFlights struct{ *testing.M }

func (m withFlights) Run() int {
	code := m.M.Run()
	if running != nil && running.Stop() != nil {
		return 1
	}
	return code
}

func TestMain(m *testing.M) { testenv.NoLeaksMain(withFlights{m}) }

// connect returns a client of the server.
func connect(t testing.TB) *client.Client {
	t.Helper()
	at, err := addr()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// trip is a row of a spine.
type trip struct {
	origin, destination string
	departs             time.Time
	note                string
}

var spineSchema = arrow.NewSchema([]arrow.Field{
	{Name: "number", Type: arrow.PrimitiveTypes.Int32},
	{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "destination", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "departs", Type: arrow.FixedWidthTypes.Timestamp_us},
	{Name: "note", Type: arrow.BinaryTypes.String},
}, nil)

// spine makes batches of so many rows.
func spine(t testing.TB, trips []trip, rows int) array.RecordReader {
	t.Helper()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	t.Cleanup(func() { allocator.AssertSize(t, 0) })
	b := array.NewRecordBuilder(allocator, spineSchema)
	defer b.Release()
	var batches []arrow.RecordBatch
	number := 0
	for part := range slices.Chunk(trips, rows) {
		for _, x := range part {
			b.Field(0).(*array.Int32Builder).Append(int32(number))
			number++
			for i, key := range []string{x.origin, x.destination} {
				if key == "" {
					b.Field(1 + i).AppendNull()
				} else {
					b.Field(1 + i).(*array.StringBuilder).Append(key)
				}
			}
			b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(x.departs.UnixMicro()))
			b.Field(4).(*array.StringBuilder).Append(x.note)
		}
		batches = append(batches, b.NewRecordBatch())
	}
	reader, err := array.NewRecordReader(spineSchema, batches)
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		batch.Release()
	}
	t.Cleanup(reader.Release)
	return reader
}

// trips are random ones, some of them unknown or without a key.
func trips(t testing.TB, n int) []trip {
	rnd := testenv.Rand(t)
	airports := []string{"JFK", "SFO", "ORD", "BOS", "LAX", "XXX", ""}
	all := make([]trip, n)
	for i := range all {
		all[i] = trip{
			airports[rnd.IntN(len(airports))], airports[rnd.IntN(len(airports))],
			time.Date(2001, 6, 1, 0, rnd.IntN(30*24*60), 0, 0, time.UTC), strings.Repeat("x", rnd.IntN(20)),
		}
	}
	return all
}

// TestExport: rows come back in the spine's order with its columns first, and each cell is what history answers for its key
// and time.
func TestExport(t *testing.T) {
	c := connect(t)
	all := trips(t, 80)
	stages := 0
	set, err := training.Export(t.Context(), c, training.Request{
		Service: "delay_model_v1", Time: "departs", Progress: func(training.Progress) { stages++ },
	}, spine(t, all, 30))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	fields := set.Schema().Fields()
	if len(fields) != 5+10 || fields[0].Name != "number" || fields[5].Name != "origin_departures_1h" || set.Report() != nil {
		t.Fatalf("schema %v, report %v", set.Schema(), set.Report())
	}
	row, present := 0, int64(0)
	for batch, err := range set.Batches() {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(batch.NumRows()) {
			x := all[row]
			if got := batch.Column(0).(*array.Int32).Value(i); int(got) != row {
				t.Fatalf("row %d is that of %d", row, got)
			}
			keys := []client.Key{client.Strings("origin", x.origin), client.Strings("destination", x.destination)}
			for k, key := range []string{x.origin, x.destination} {
				if key == "" {
					keys[k] = keys[k].Null(0)
				}
			}
			want, err := c.GetHistoricalFeatures(t.Context(), client.Request{Service: "delay_model_v1", Keys: keys}, x.departs)
			if err != nil {
				t.Fatal(err)
			}
			for k := range want.Columns {
				w, g := &want.Columns[k], batch.Column(5+k)
				if text := fmt.Sprint(w.Value(0)); w.IsNull(0) != g.IsNull(i) || !w.IsNull(0) && w.Type().Kind != client.String && !w.Type().List && text != g.ValueStr(i) {
					t.Errorf("row %d: %s is %s, want %s", row, w.Name, g.ValueStr(i), text)
				}
			}
			if want.Columns[0].Status(0) == client.Present {
				present++
			}
			row++
		}
	}
	r := set.Report()
	if row != len(all) || r == nil || r.Rows != int64(row) || r.Revision != 1 || len(r.Columns) != 10 || r.Columns[0].Present != present ||
		len(r.Reads) != 3 || r.Reads[0].NewestAge < 0 || r.Reads[0].OldestAge == 0 || stages == 0 || !json.Valid(r.Manifest) {
		t.Errorf("%d rows, %d stages, %+v", row, stages, r)
	}
	for range set.Batches() {
		t.Error("a batch after the last")
	}
}

// TestExportIsBounded: batches are cut so that servers take them, and single rows that are larger go as they are.
func TestExportIsBounded(t *testing.T) {
	c := connect(t)
	all := trips(t, 30_000)
	for i := range all {
		all[i].note = strings.Repeat(string(rune('a'+i%26)), i%500)
	}
	all[20_000].note = strings.Repeat("y", 2<<20)
	set, err := training.Export(t.Context(), c, training.Request{Features: []string{"airport_hourly:departures_1h"}, Time: "departs"},
		renamed(t, spine(t, all, 25_000)))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	row, batches := 0, 0
	for batch, err := range set.Batches() {
		if err != nil {
			t.Fatal(err)
		}
		batches++
		notes := batch.Column(4).(*array.String)
		for i := range notes.Len() {
			if notes.Value(i) != all[row].note {
				t.Fatalf("row %d has the note of another", row)
			}
			row++
		}
	}
	if row != len(all) || batches < 3 {
		t.Errorf("%d rows in %d batches", row, batches)
	}
}

// renamed is a spine whose origin is named airport, read through Arrow IPC.
func renamed(t testing.TB, in array.RecordReader) array.RecordReader {
	t.Helper()
	fields := slices.Clone(in.Schema().Fields())
	fields[1].Name = "airport"
	schema := arrow.NewSchema(fields, nil)
	var file bytes.Buffer
	w := ipc.NewWriter(&file, ipc.WithSchema(schema))
	for in.Next() {
		batch := array.NewRecordBatch(schema, in.RecordBatch().Columns(), in.RecordBatch().NumRows())
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
		batch.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	return r
}

// broken is a spine that ends with an error.
type broken struct{ array.RecordReader }

func (broken) Next() bool { return false }
func (broken) Err() error { return errors.New("the disk is gone") }

// TestExportRefuses: what is wrong is an error of package client, by the part at fault.
func TestExportRefuses(t *testing.T) {
	c := connect(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	good := training.Request{Service: "delay_model_v1", Time: "departs"}
	with := func(change func(*training.Request)) training.Request { req := good; change(&req); return req }
	for name, test := range map[string]struct {
		ctx         context.Context
		req         training.Request
		spine       array.RecordReader
		code, field string
		says        string
	}{
		"no service":     {req: with(func(r *training.Request) { r.Service = "delay_model_v2" }), code: client.CodeNotFound, says: "delay_model_v1"},
		"no feature":     {req: training.Request{Features: []string{"route_daily:distanse"}, Time: "departs"}, code: client.CodeInvalid, field: "features[0]", says: "distance"},
		"no time":        {req: with(func(r *training.Request) { r.Time = "" }), code: client.CodeInvalid, field: "time"},
		"no such column": {req: with(func(r *training.Request) { r.Time = "depart" }), code: client.CodeInvalid, field: "time", says: "departs"},
		"no zone":        {req: with(func(r *training.Request) { r.Timezone = "Mars/Base" }), code: client.CodeInvalid, field: "timezone"},
		"not UTF-8":      {req: with(func(r *training.Request) { r.Service = "\xff" }), code: client.CodeInvalid},
		"no keys":        {req: training.Request{Features: []string{"airport_hourly:departures_1h"}, Time: "departs"}, code: client.CodeInvalid, field: "spine", says: "airport"},
		"a broken spine": {req: good, spine: broken{spine(t, trips(t, 1), 1)}, code: client.CodeInvalid, field: "spine", says: "the disk is gone"},
		"canceled":       {ctx: ended, req: good, code: client.CodeCanceled},
	} {
		in := test.spine
		if in == nil {
			in = spine(t, trips(t, 40_000), 10_000)
		}
		if test.ctx == nil {
			test.ctx = t.Context()
		}
		set, err := training.Export(test.ctx, c, test.req, in)
		if err == nil {
			set.Close()
		}
		var failed *client.Error
		if !errors.As(err, &failed) || failed.Code != test.code || failed.Field != test.field || !strings.Contains(failed.Message, test.says) {
			t.Errorf("%s: %#v", name, failed)
		}
	}
}

// TestExportEnds: a spine without rows has an answer without rows; a loop that is left, a context that ends and Close end the call.
func TestExportEnds(t *testing.T) {
	c := connect(t)
	req := training.Request{Service: "delay_model_v1", Time: "departs"}
	set, err := training.Export(t.Context(), c, req, spine(t, nil, 1))
	if err != nil {
		t.Fatal(err)
	}
	for batch, err := range set.Batches() {
		if err != nil || batch.NumRows() > 0 {
			t.Errorf("%v, %v", batch, err)
		}
	}
	if set.Report() == nil || set.Report().Rows != 0 {
		t.Errorf("%+v", set.Report())
	}
	set.Close()
	set.Close()

	many := trips(t, 60_000)
	set, err = training.Export(t.Context(), c, req, spine(t, many, 20_000))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range set.Batches() {
		if err != nil {
			t.Error(err)
		}
		break
	}
	for _, err := range set.Batches() {
		var failed *client.Error
		if !errors.As(err, &failed) || failed.Code != client.CodeCanceled {
			t.Errorf("after the loop was left: %v", err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	if set, err = training.Export(ctx, c, req, spine(t, many, 20_000)); err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	cancel()
	var last error
	for _, err := range set.Batches() {
		last = err
	}
	if !errors.Is(last, context.Canceled) || set.Report() != nil {
		t.Errorf("canceled: %v", last)
	}
}

func ExampleExport() {
	ctx := context.Background()
	at, err := addr() // "127.0.0.1:6565"
	if err != nil {
		panic(err)
	}
	c, err := client.Dial(ctx, at)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	schema := arrow.NewSchema([]arrow.Field{
		{Name: "airport", Type: arrow.BinaryTypes.String}, {Name: "at", Type: arrow.FixedWidthTypes.Timestamp_s},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, airport := range []string{"JFK", "XXX"} {
		b.Field(0).(*array.StringBuilder).Append(airport)
		b.Field(1).(*array.TimestampBuilder).AppendTime(flights.Evening)
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	spine, err := array.NewRecordReader(schema, []arrow.RecordBatch{batch})
	if err != nil {
		panic(err)
	}
	defer spine.Release()

	set, err := training.Export(ctx, c, training.Request{
		Features: []string{"airport_hourly:departures_1h", "airport_hourly:mean_delay_1h"}, Time: "at",
	}, spine)
	if err != nil {
		panic(err)
	}
	defer set.Close()
	for batch, err := range set.Batches() {
		if err != nil {
			panic(err)
		}
		fmt.Println(batch.NumRows(), batch.Column(2), batch.Column(3))
	}
	for _, column := range set.Report().Columns {
		fmt.Println(column.Name, column.Present, "present,", column.NotFound, "not found")
	}
	// Output:
	// 2 [14 0] [11.666666666666666 (null)]
	// departures_1h 1 present, 1 not found
	// mean_delay_1h 1 present, 1 not found
}
