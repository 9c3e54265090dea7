package client_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/flights"
)

// The examples talk to `provender serve` for the flights example, whose clock stands at 2001-06-30T18:00:00Z.

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, addr()) // "127.0.0.1:6565"
	if err != nil {
		panic(err)
	}
	defer c.Close()

	r, err := c.GetFeatures(ctx, client.Request{
		Features: []string{"airport_hourly:departures_1h", "airport_hourly:mean_delay_1h"},
		Keys:     []client.Key{client.Strings("airport", "JFK", "SFO", "XXX")},
	})
	if err != nil {
		panic(err)
	}
	for i := range r.Rows {
		for j := range r.Columns {
			column := &r.Columns[j]
			fmt.Println(i, column.Name, column.Value(i), column.Status(i))
		}
	}
	// Output:
	// 0 departures_1h 14 PRESENT
	// 0 mean_delay_1h 11.666666666666666 PRESENT
	// 1 departures_1h 12 PRESENT
	// 1 mean_delay_1h 8.416666666666666 PRESENT
	// 2 departures_1h 0 NOT_FOUND
	// 2 mean_delay_1h <nil> NOT_FOUND
}

// connect is Dial of the examples.
func connect() *client.Client {
	c, err := client.Dial(context.Background(), addr())
	must(nil, err)
	return c
}

func ExampleDial() {
	ctx := context.Background()
	c, err := client.Dial(ctx, addr(), client.WithToken("a token"), client.WithoutRepeats())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	status, err := c.Status(ctx, []string{"route_daily"})
	fmt.Println(len(status), err)
	// Output:
	// 1 <nil>
}

func ExampleClient_GetFeatures() {
	c := connect()
	defer c.Close()
	r, err := c.GetFeatures(context.Background(), client.Request{
		Service:    "delay_model_v1",
		Keys:       []client.Key{client.Strings("origin", "JFK", "BOS"), client.Strings("destination", "SFO", "JFK")},
		EventTimes: true,
	})
	if err != nil {
		panic(err)
	}
	// By column: nothing is copied, whatever the number of rows.
	delay := r.Column("origin_mean_delay_1h")
	fmt.Println(delay.Type(), delay.Float64s(), delay.Status(0))
	last := r.Column("delays_1d")
	fmt.Println(last.Type(), last.List(0).Int32s())
	fmt.Println(r.Views[delay.View].Name, r.Views[delay.View].EventTimes[0], "of", r.ReadTime)
	// Output:
	// float64 [11.666666666666666 26.36842105263158] PRESENT
	// list<int32> [-34 -14 -26 -6 -21 -33 1 35 -21 147]
	// airport_hourly 2001-06-30 18:00:00 +0000 UTC of 2001-06-30 18:00:00 +0000 UTC
}

func ExampleError() {
	c := connect()
	defer c.Close()
	_, err := c.GetFeatures(context.Background(), client.Request{
		Features: []string{"airport_hourly:mean_dealy_1h"}, Keys: []client.Key{client.Strings("airport", "JFK")},
	})
	var failed *client.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.Code, failed.Field, failed.Suggestion)
	}
	// Output:
	// invalid features[0] did you mean "mean_delay_1h"?
}

func ExampleRows() {
	c := connect()
	defer c.Close()
	type Airport struct {
		Departures int64    `provender:"departures_1h"`
		MeanDelay  *float64 `provender:"mean_delay_1h"`
	}
	r, err := c.GetFeatures(context.Background(), client.Request{
		Features: []string{"airport_hourly:departures_1h", "airport_hourly:mean_delay_1h"},
		Keys:     []client.Key{client.Strings("airport", "JFK", "XXX")},
	})
	if err != nil {
		panic(err)
	}
	airports, err := client.Rows[Airport](r)
	if err != nil {
		panic(err)
	}
	for _, a := range airports {
		fmt.Println(a.Departures, a.MeanDelay != nil)
	}
	// Output:
	// 14 true
	// 0 false
}

func ExampleDecoder() {
	type Airport struct {
		Departures int64             `provender:"departures_1h"`
		MeanDelay  sql.Null[float64] `provender:"mean_delay_1h"`
		Status     client.Status     `provender:"mean_delay_1h,status"`
	}
	type Flight struct {
		Origin      Airport   `provender:"origin_,prefix"`
		Busy        int64     `provender:"destination_departures"`
		Distance    int32     `provender:"distance,zero"`
		LastDelays  []int32   `provender:"delays_1d"`
		BusiestPart string    `provender:"busiest_part,zero"`
		Known       time.Time `provender:"route_daily,event_time"`
	}
	decoder, err := client.NewDecoder[Flight]()
	if err != nil {
		panic(err)
	}
	c := connect()
	defer c.Close()
	r, err := c.GetFeatures(context.Background(), client.Request{
		Service:    "delay_model_v1",
		Keys:       []client.Key{client.Strings("origin", "JFK", "XXX"), client.Strings("destination", "SFO", "JFK")},
		EventTimes: true,
	})
	if err != nil {
		panic(err)
	}
	rows, err := decoder.Rows(r)
	if err != nil {
		panic(err)
	}
	for _, f := range rows {
		fmt.Printf("%+v\n", f)
	}
	// Output:
	// {Origin:{Departures:14 MeanDelay:{V:11.666666666666666 Valid:true} Status:PRESENT} Busy:12 Distance:2586 LastDelays:[-34 -14 -26 -6 -21 -33 1 35 -21 147] BusiestPart:morning Known:2001-06-30 00:00:00 +0000 UTC}
	// {Origin:{Departures:0 MeanDelay:{V:0 Valid:false} Status:NOT_FOUND} Busy:14 Distance:0 LastDelays:[] BusiestPart: Known:0001-01-01 00:00:00 +0000 UTC}
}

func ExampleClient_StreamFeatures() {
	c := connect()
	defer c.Close()
	type Airport struct {
		Departures int64 `provender:"departures_1h"`
	}
	decoder, err := client.NewDecoder[Airport]()
	if err != nil {
		panic(err)
	}
	batches := func(yield func(client.Request) bool) {
		for _, airports := range [][]string{{"JFK", "SFO"}, {"ORD"}} {
			if !yield(client.Request{
				Features: []string{"airport_hourly:departures_1h"}, Keys: []client.Key{client.Strings("airport", airports...)},
			}) {
				return
			}
		}
	}
	var rows []Airport // used again
	for r, err := range c.StreamFeatures(context.Background(), batches) {
		if err != nil {
			panic(err)
		}
		if rows, err = decoder.AppendRows(rows[:0], r); err != nil {
			panic(err)
		}
		fmt.Println(rows)
	}
	// Output:
	// [{14} {12}]
	// [{47}]
}

func ExampleClient_GetHistoricalFeatures() {
	c := connect()
	defer c.Close()
	r, err := c.GetHistoricalFeatures(context.Background(), client.Request{
		Features: []string{"airport_hourly:departures_1h"}, Keys: []client.Key{client.Strings("airport", "JFK")},
	}, time.Date(2001, 6, 1, 12, 0, 0, 0, time.UTC))
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Columns[0].Int64(0), r.Columns[0].Status(0))
	// Output:
	// 9 PRESENT
}

func ExampleClient_Explain() {
	c := connect()
	defer c.Close()
	x, err := c.Explain(context.Background(), client.ExplainRequest{
		View: "airport_hourly", Feature: "mean_delay_1h", Keys: []client.Key{client.Strings("airport", "JFK")},
		At: flights.Evening, Candidates: 1,
	})
	if err != nil {
		panic(err)
	}
	first := x.Before[0]
	fmt.Println(x.Value.Float64(0), x.Status, first.EventTime, first.Place.File, x.RowsBefore)
	// Output:
	// 11.666666666666666 PRESENT 2001-06-30 18:00:00 +0000 UTC lake:airport_hourly/week=2001-06-25/part-0.parquet 1124
}

func ExampleClient_Materialize() {
	c := connect()
	defer c.Close()
	runs, err := c.Materialize(context.Background(), client.MaterializeRequest{Views: []string{"route_daily"}, To: flights.Evening},
		func(p client.Progress) {}) // told now and then
	if err != nil {
		panic(err)
	}
	for _, run := range runs {
		fmt.Println(run.View, run.State, run.T)
	}
	// Output:
	// route_daily succeeded 2001-06-30 18:00:00 +0000 UTC
}

func ExampleClient_PlanMaterialize() {
	c := connect()
	defer c.Close()
	plans, err := c.PlanMaterialize(context.Background(), client.MaterializeRequest{Views: []string{"route_daily"}, To: flights.Evening, Full: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(plans[0].View, plans[0].Reason, len(plans[0].Files), plans[0].Files[0].Why)
	// Output:
	// route_daily --full 8 again
}

func ExampleClient_Runs() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	runs, err := c.Runs(ctx, []string{"airport_hourly"}, 10)
	if err != nil {
		panic(err)
	}
	first, err := c.Run(ctx, runs[len(runs)-1].ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(first.Trigger, first.State, first.RowsRead, first.Written)
	// Output:
	// command succeeded 15069 218
}

func ExampleClient_RetryRun() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	runs, err := c.Runs(ctx, []string{"airport_hourly"}, 1)
	if err != nil {
		panic(err)
	}
	_, err = c.RetryRun(ctx, runs[0].ID, nil)
	fmt.Println(err)
	_, err = c.CancelRun(ctx, runs[0].ID)
	fmt.Println(err)
	// Output:
	// run 1 can't be retried: it is succeeded (a run that failed or was cancelled can; for another one: provender materialize airport_hourly)
	// run 1 is over: it has succeeded (see provender runs)
}

func ExampleClient_Status() {
	c := connect()
	defer c.Close()
	views, err := c.Status(context.Background(), nil)
	if err != nil {
		panic(err)
	}
	for _, v := range views {
		fmt.Println(v.View, v.State, v.T, v.NewestEvent)
	}
	// Output:
	// airport_hourly ok 2001-06-30 18:00:00 +0000 UTC 2001-06-30 18:00:00 +0000 UTC
	// route_daily ok 2001-06-30 18:00:00 +0000 UTC 2001-06-30 00:00:00 +0000 UTC
}

func ExampleClient_ServerStatus() {
	c := connect()
	defer c.Close()
	status, err := c.ServerStatus(context.Background(), []string{"airport_hourly"})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(status.Views), status.Definitions == nil) // definitions come from nowhere by themselves
	// Output:
	// 1 true
}

func ExampleClient_Verify() {
	c := connect()
	defer c.Close()
	reports, err := c.Verify(context.Background(), client.VerifyRequest{Full: true, Now: flights.Evening}, nil)
	if err != nil {
		panic(err)
	}
	for _, r := range reports {
		fmt.Println(r.View, r.Cells == r.Equal, r.Wrong, r.Missing, r.Extra)
	}
	// Output:
	// airport_hourly true 0 0 0
	// route_daily true 0 0 0
}

func ExampleClient_Pause() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	paused, err := c.Pause(ctx, []string{"route_daily"})
	if err != nil {
		panic(err)
	}
	resumed, err := c.Resume(ctx, nil)
	fmt.Println(paused, resumed, err)
	// Output:
	// [route_daily] [route_daily] <nil>
}

func ExampleClient_Prune() {
	c := connect()
	defer c.Close()
	removed, err := c.Prune(context.Background(), true, nil)
	fmt.Println(len(removed), err)
	// Output:
	// 0 <nil>
}

func ExampleClient_Definitions() {
	c := connect()
	defer c.Close()
	revision, list, err := c.Definitions(context.Background(), client.FeatureView, 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(revision.Number)
	for _, d := range list {
		fmt.Println(d.Kind, d.Name)
	}
	// Output:
	// 1
	// FeatureView airport_hourly
	// FeatureView route_daily
}

func ExampleClient_Definition() {
	c := connect()
	defer c.Close()
	_, d, err := c.Definition(context.Background(), client.Entity, "route", 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(d.JSON))
	// Output:
	// {"name":"route","description":"A pair of airports with direct flights","owner":"flights-team@example.com","join_keys":[{"name":"origin","type":"string"},{"name":"destination","type":"string"}]}
}

func ExampleClient_Revisions() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	list, err := c.Revisions(ctx, 1)
	if err != nil {
		panic(err)
	}
	revision, plan, err := c.Revision(ctx, list[0].Number)
	if err != nil {
		panic(err)
	}
	fmt.Println(revision.Number, revision.By, revision.Summary, len(plan) > 0)
	// Output:
	// 1 ann@desk 7 added true
}

func ExampleClient_Apply() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	plan, err := c.Plan(ctx, definitionFiles(), 0)
	if err != nil {
		panic(err)
	}
	for _, p := range plan.Problems {
		fmt.Printf("%s:%d:%d: %s\n", p.File, p.Line, p.Col, p.Message)
	}
	revision, err := c.Apply(ctx, client.ApplyRequest{Plan: plan.JSON, By: "ann@desk"})
	fmt.Println(revision.Number, err) // these definitions are there already
	// Output:
	// 1 <nil>
}

func ExampleClient_PlanRollback() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	plan, err := c.PlanRollback(ctx, 1)
	if err != nil {
		panic(err)
	}
	revision, err := c.Apply(ctx, client.ApplyRequest{Plan: plan})
	fmt.Println(revision.Number, err)
	// Output:
	// 1 <nil>
}

// A server has tokens where its provender.yaml says auth: true.
func ExampleClient_CreateToken() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	secret, token, err := c.CreateToken(ctx, "scoring", []string{"read-online"}, time.Time{})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(secret) > 0, token.Name, token.Roles)
	tokens, err := c.Tokens(ctx, false)
	if err != nil {
		panic(err)
	}
	_, err = c.RevokeToken(ctx, "scoring")
	fmt.Println(len(tokens), err)
}
