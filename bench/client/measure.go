package main

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/ratio"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/sdk/client"
)

// cost is what calls took.
type cost struct {
	Calls       int           `json:"calls"`
	Wall        time.Duration `json:"wall_ns"`
	CPU         time.Duration `json:"cpu_ns"` // of this process
	Allocations uint64        `json:"allocations"`
	Bytes       uint64        `json:"bytes"`
}

func (c cost) wall() float64        { return float64(c.Wall.Microseconds()) / float64(c.Calls) }
func (c cost) cpu() float64         { return float64(c.CPU.Microseconds()) / float64(c.Calls) }
func (c cost) allocations() float64 { return float64(c.Allocations) / float64(c.Calls) }
func (c cost) bytes() float64       { return float64(c.Bytes) / float64(c.Calls) }

// turn is about how long one way is measured before the next has its turn: what else the machine does hits all alike.
const turn = 20 * time.Millisecond

// way is one way of looking up.
type way struct {
	title string
	call  func(ctx context.Context, entities []int64) error
}

// values are the features of a view.
type values struct {
	Float0 float64 `provender:"float0"`
	Float1 float64 `provender:"float1"`
	Float2 float64 `provender:"float2"`
	Float3 float64 `provender:"float3"`
	Float4 float64 `provender:"float4"`
	Int0   int64   `provender:"int0"`
	Int1   int64   `provender:"int1"`
	Int2   int64   `provender:"int2"`
	Int3   int64   `provender:"int3"`
	Int4   int64   `provender:"int4"`
}

// narrow and wide are the rows of services of one view and of five.
type (
	narrow struct {
		View0 values `provender:"v0_,prefix"`
	}
	wide struct {
		View0 values `provender:"v0_,prefix"`
		View1 values `provender:"v1_,prefix"`
		View2 values `provender:"v2_,prefix"`
		View3 values `provender:"v3_,prefix"`
		View4 values `provender:"v4_,prefix"`
	}
)

func ways(conn *grpc.ClientConn, w lookups.Workload) []way {
	service := lookups.ServiceName(w.Views)
	stub, c := pb.NewOnlineServiceClient(conn), client.New(conn)
	request := func(entities []int64) client.Request {
		return client.Request{Service: service, Keys: []client.Key{client.Int64s(lookups.JoinKey, entities...)}}
	}
	rows := func(r *client.Response) error { _, err := client.Rows[narrow](r); return err }
	if w.Views > 1 {
		rows = func(r *client.Response) error { _, err := client.Rows[wide](r); return err }
	}
	return []way{
		{"stub", func(ctx context.Context, entities []int64) error {
			_, err := stub.GetFeatures(ctx, &pb.GetFeaturesRequest{
				Service: service, Keys: []*pb.KeyColumn{{Name: lookups.JoinKey, Int64S: entities}},
			})
			return err
		}},
		{"client", func(ctx context.Context, entities []int64) error {
			_, err := c.GetFeatures(ctx, request(entities))
			return err
		}},
		{"client, rows", func(ctx context.Context, entities []int64) error {
			r, err := c.GetFeatures(ctx, request(entities))
			if err != nil {
				return err
			}
			return rows(r)
		}},
	}
}

// measure checks answers, then measures the ways by turns, each round, and each turn, beginning with another one.
func (r *report) measure(ctx context.Context, s settings, conn *grpc.ClientConn, w lookups.Workload) error {
	requests := w.Requests(s.data)
	if err := check(ctx, s.data, client.New(conn), w, requests[:max(1, 100/w.Entities)]); err != nil {
		return err
	}
	all := ways(conn, w)
	first := len(r.Results)
	for _, x := range all {
		r.Results = append(r.Results, result{Title: x.title, Workload: fmt.Sprintf("%d × %d", w.Entities, 2*lookups.PerType*w.Views)})
	}
	for round := range s.rounds + 1 {
		costs := make([]cost, len(all))
		begun := time.Now()
		for n := 0; time.Since(begun) < s.measure*time.Duration(len(all)); n++ {
			for i := range all {
				k := (round + n + i) % len(all)
				if err := costs[k].add(ctx, all[k], requests, n); err != nil {
					return err
				}
			}
		}
		if round == 0 {
			continue // to warm up
		}
		for k, c := range costs {
			r.Results[first+k].Runs = append(r.Results[first+k].Runs, c)
		}
	}
	stub := &r.Results[first]
	for k := 1; k < len(all); k++ {
		x := &r.Results[first+k]
		bar := ratio.Bar{
			Title: x.Title + " ÷ stub: " + x.Workload, AtMost: true,
			Got: ratio.Of(x.each(cost.wall), stub.each(cost.wall)), CPU: ratio.Of(x.each(cost.cpu), stub.each(cost.cpu)),
		}
		if x.Title == "client" {
			bar.Want = 1.05
		}
		r.Bars = append(r.Bars, bar.Judged())
	}
	return nil
}

// add makes calls for a turn.
func (c *cost) add(ctx context.Context, w way, requests [][]int64, n int) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, begun := used(), time.Now()
	calls := 0
	for ; time.Since(begun) < turn; calls++ {
		if err := w.call(ctx, requests[(n*7+calls)%len(requests)]); err != nil {
			return fmt.Errorf("%s: %w", w.title, err)
		}
	}
	c.Wall += time.Since(begun)
	c.CPU += used() - cpu
	runtime.ReadMemStats(&after)
	c.Calls += calls
	c.Allocations += after.Mallocs - before.Mallocs
	c.Bytes += after.TotalAlloc - before.TotalAlloc
	return nil
}

// used returns the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // of which nothing can be wrong
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// check compares every value of some answers with what the seed says.
func check(ctx context.Context, d lookups.Dataset, c *client.Client, w lookups.Workload, requests [][]int64) error {
	for _, entities := range requests {
		r, err := c.GetFeatures(ctx, client.Request{
			Service: lookups.ServiceName(w.Views), Keys: []client.Key{client.Int64s(lookups.JoinKey, entities...)},
		})
		if err != nil {
			return err
		}
		for view := range w.Views {
			for i := range lookups.PerType {
				floats, ints := r.Column(lookups.FloatName(view, i)), r.Column(lookups.IntName(view, i))
				if floats == nil || ints == nil {
					return fmt.Errorf("no column %s or %s", lookups.FloatName(view, i), lookups.IntName(view, i))
				}
				for row, entity := range entities {
					want := d.Row(entity, view)
					if floats.Float64(row) != want.Floats[i] || ints.Int64(row) != want.Ints[i] || floats.Status(row) != client.Present {
						return fmt.Errorf("entity %d, view %d: %v and %d, want %v and %d", entity, view, floats.Float64(row), ints.Int64(row), want.Floats[i], want.Ints[i])
					}
				}
			}
		}
	}
	return nil
}
