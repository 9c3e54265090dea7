package client_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/sdk/client"
)

var update = flag.Bool("update", false, "write testdata/errors.golden")

// TestErrors keeps code, text and details of every error of a lookup, as a foreign client sees them.
func TestErrors(t *testing.T) {
	p, c := start(t)
	changed := func(view string, change func(*online.Live)) func() {
		return func() {
			before := p.live[view]
			l := before
			change(&l)
			p.live[view] = l
			p.serve()
			p.live[view] = before
		}
	}
	jfk := client.Strings("airport", "JFK")
	list := func(f ...string) []string { return f }
	fields := func(f ...row.Field) func(*online.Live) { return func(l *online.Live) { l.Fields = f } }
	keys := func(f ...row.Field) func(*online.Live) { return func(l *online.Live) { l.Keys = f } }
	var out strings.Builder
	for _, tt := range []struct {
		name   string
		before func()
		req    client.Request
	}{
		{name: "nothing asked for"},
		{name: "service and features", req: client.Request{Service: "delay_model", Features: list("world:temperature")}},
		{name: "unknown service", req: client.Request{Service: "delay_modle"}},
		{name: "unknown view", req: client.Request{Features: list("world:temperature", "airport_hurly:departures")}},
		{name: "unknown feature", req: client.Request{Features: list("world:temperature", "airport_hourly:departure")}},
		{name: "not view:feature", req: client.Request{Features: list("temperature")}},
		{name: "missing key", req: client.Request{Service: "delay_model", Keys: []client.Key{client.Strings("origin", "JFK")}}},
		{
			name: "unknown key",
			req: client.Request{Service: "delay_model", Keys: []client.Key{
				client.Strings("orign", "JFK"), client.Strings("destination", "SFO"),
			}},
		},
		{name: "key of a global view", req: client.Request{Features: list("world:temperature"), Keys: []client.Key{jfk}}},
		{name: "key twice", req: client.Request{Features: list("airport_static:runways"), Keys: []client.Key{jfk, jfk}}},
		{
			name: "integers for strings",
			req:  client.Request{Features: list("airport_static:runways"), Keys: []client.Key{client.Int64s("airport", 1)}},
		},
		{
			name: "strings for integers",
			req:  client.Request{Features: list("everything:bool"), Keys: []client.Key{client.Strings("driver", "1")}},
		},
		{
			name: "integers and strings",
			req: client.Request{Features: list("everything:bool"), Keys: []client.Key{
				{Name: "driver", Int64s: []int64{1}, Strings: []string{"1"}},
			}},
		},
		{
			name: "unequal lengths",
			req: client.Request{Service: "delay_model", Keys: []client.Key{
				client.Strings("origin", "JFK", "SFO"), client.Strings("destination", "SFO"),
			}},
		},
		{
			name: "unequal nulls",
			req: client.Request{Features: list("airport_static:runways"), Keys: []client.Key{
				{Name: "airport", Strings: []string{"JFK"}, Nulls: []bool{false, true}},
			}},
		},
		{
			name: "too many entities",
			req: client.Request{
				Features: list("everything:bool"), Keys: []client.Key{client.Int64s("driver", make([]int64, 10_001)...)},
			},
		},
		{name: "too many features", req: client.Request{Features: make([]string, 1_001)}},
		{name: "never materialized", req: client.Request{Service: "unready", Keys: []client.Key{jfk}}},
		{name: "training only", req: client.Request{Features: list("training:label"), Keys: []client.Key{jfk}}},
		{
			name: "read time before T",
			req: client.Request{
				Features: list("airport_static:runways"), Keys: []client.Key{jfk}, ReadTime: noon.Add(-time.Microsecond),
			},
		},
		{
			name:   "feature added since",
			before: changed("airport_static", fields(row.Field{Name: "other", Type: columnar.Type{Kind: columnar.Int32}})),
			req: client.Request{
				Service: "delay_model", Keys: []client.Key{client.Strings("origin", "JFK"), client.Strings("destination", "SFO")},
			},
		},
		{
			name:   "type changed since",
			before: changed("airport_static", fields(row.Field{Name: "runways", Type: columnar.Type{Kind: columnar.Int64}})),
			req:    client.Request{Features: list("airport_static:runways"), Keys: []client.Key{jfk}},
		},
		{
			name:   "join key changed since",
			before: changed("airport_static", keys(row.Field{Name: "airport", Type: columnar.Type{Kind: columnar.Int64}})),
			req:    client.Request{Features: list("airport_static:runways"), Keys: []client.Key{jfk}},
		},
		{
			name:   "generation lost",
			before: changed("airport_static", func(l *online.Live) { l.ID = 99 }),
			req:    client.Request{Features: list("airport_static:runways"), Keys: []client.Key{jfk}},
		},
	} {
		if tt.before != nil {
			tt.before()
		}
		_, err := c.GetFeatures(t.Context(), tt.req)
		fmt.Fprintf(&out, "== %s\n%s", tt.name, describe(t, err))
		p.serve()
	}
	must(t, p.store.Close())
	_, err := c.GetFeatures(t.Context(), client.Request{Features: list("world:temperature")})
	fmt.Fprintf(&out, "== store away\n%s", describe(t, err))

	const file = "testdata/errors.golden"
	if *update {
		must(t, os.MkdirAll("testdata", 0o777))
		must(t, os.WriteFile(file, []byte(out.String()), 0o666))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}

// describe prints a call's gRPC status, and fails where the client's error says anything else.
func describe(t *testing.T, err error) string {
	t.Helper()
	e := asError(t, err)
	s, ok := status.FromError(errors.Unwrap(e))
	if !ok {
		t.Fatalf("%v is no status", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", s.Code(), s.Message())
	if e.Message != s.Message() {
		t.Errorf("the client says %q", e.Message)
	}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(&b, "  ErrorInfo %s %s\n", d.Domain, d.Reason)
			for _, k := range slices.Sorted(maps.Keys(d.Metadata)) {
				fmt.Fprintf(&b, "    %s: %s\n", k, d.Metadata[k])
			}
			if e.Suggestion != d.Metadata["suggestion"] || e.Field != d.Metadata["field"] {
				t.Errorf("the client has %+v", e)
			}
		case *errdetails.BadRequest:
			for _, v := range d.FieldViolations {
				fmt.Fprintf(&b, "  BadRequest %s: %s\n", v.Field, v.Description)
			}
		case *errdetails.RetryInfo:
			fmt.Fprintf(&b, "  RetryInfo %s\n", d.RetryDelay.AsDuration())
			if e.RetryAfter != d.RetryDelay.AsDuration() {
				t.Errorf("the client retries after %s", e.RetryAfter)
			}
		default:
			t.Errorf("unexpected detail %T", d)
		}
	}
	return b.String()
}
