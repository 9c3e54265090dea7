package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/provender-dev/provender/internal/rpc"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/serving"
	"github.com/provender-dev/provender/sdk/client"
)

// airports returns requests of n entities each.
func airports(n, size int) iter.Seq[client.Request] {
	return func(yield func(client.Request) bool) {
		for i := range n {
			names := make([]string, size)
			for k := range names {
				names[k] = fmt.Sprint("A", (i*size+k)%7)
			}
			if !yield(client.Request{Features: []string{"airport_hourly:departures"}, Keys: []client.Key{client.Strings("airport", names...)}}) {
				return
			}
		}
	}
}

// TestStreamFeatures: a stream of any requests answers as the same calls one by one, in order.
func TestStreamFeatures(t *testing.T) {
	p, c := start(t)
	for i := range 6 {
		p.put("airport_hourly", fmt.Sprintf("%q", fmt.Sprint("A", i)), noon, fmt.Sprint(i), "null", "null")
	}
	rnd := testenv.Rand(t)
	var requests []client.Request
	for range 50 {
		for req := range airports(1, rnd.IntN(200)) {
			req.EventTimes = rnd.IntN(2) == 0
			requests = append(requests, req)
		}
	}
	at := 0
	for got, err := range c.StreamFeatures(t.Context(), slices.Values(requests)) {
		must(t, err)
		want, err := c.GetFeatures(t.Context(), requests[at])
		must(t, err)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(client.Response{}, client.Column{}, client.Values{})); diff != "" {
			t.Fatalf("request %d: %s", at, diff)
		}
		at++
	}
	if at != len(requests) {
		t.Errorf("%d answers to %d requests", at, len(requests))
	}
	for range c.StreamFeatures(t.Context(), airports(0, 0)) {
		t.Error("an answer to no request")
	}
}

// TestStreamEnds: what ends a stream: a request that is refused, here or there, the caller's loop, and its context.
func TestStreamEnds(t *testing.T) {
	p, c := start(t)
	p.put("airport_hourly", `"A1"`, noon, "1", "null", "null")
	good := slices.Collect(airports(3, 2))
	for name, bad := range map[string]client.Request{
		"unknown feature":   {Features: []string{"airport_hourly:departure"}},
		"text that is none": {Features: good[0].Features, Keys: []client.Key{client.Strings("airport", "\xff")}},
	} {
		answers := 0
		var failure error
		for _, err := range c.StreamFeatures(t.Context(), slices.Values(append(slices.Clone(good), bad, good[0]))) {
			if err != nil {
				failure = err
				break
			}
			answers++
		}
		var failed *client.Error
		if !errors.As(failure, &failed) || failed.Code != client.CodeInvalid {
			t.Errorf("%s: %v", name, failure)
		}
		if answers > 3 || name == "unknown feature" && answers != 3 {
			t.Errorf("%s: %d answers before it", name, answers)
		}
	}
	for range c.StreamFeatures(t.Context(), airports(1_000_000, 10)) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.StreamFeatures(ctx, airports(1_000_000, 10)) {
		cancel()
		var failed *client.Error
		if err != nil && (!errors.As(err, &failed) || failed.Code != client.CodeCanceled) {
			t.Error(err)
		}
	}
}

// counted counts the lookups that were begun, and panics at one of them.
type counted struct {
	rpc.Lookups
	begun   atomic.Int64
	panicAt int64
}

func (c *counted) Lookup(ctx context.Context, req *serving.Request) (*serving.Answer, error) {
	if c.begun.Add(1) == c.panicAt {
		panic("secret")
	}
	return c.Lookups.Lookup(ctx, req)
}

// TestStreamIsBounded: a client that does not read its answers is not read from.
func TestStreamIsBounded(t *testing.T) {
	p, _ := start(t)
	counter := &counted{Lookups: lookups(func() *serving.Server { return p.server })}
	const window = 1 << 20 // bytes, whatever gRPC would make of it
	c := dial(t, rpc.Services{Lookups: counter}, io.Discard, grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window))
	const size, requests = 5000, 2000 // answers of 70 kB, 140 MB in all
	next, stop := iter.Pull2(c.StreamFeatures(t.Context(), airports(requests, size)))
	if _, err, ok := next(); !ok || err != nil {
		t.Fatal(err)
	}
	// Until nothing moves any more: the windows are full.
	for last := int64(-1); last != counter.begun.Load(); {
		last = counter.begun.Load()
		for range 1000 {
			if _, err := c.GetFeatures(t.Context(), client.Request{Features: []string{"world:temperature"}}); err != nil {
				t.Fatal(err)
			}
			counter.begun.Add(-1)
		}
	}
	if n := counter.begun.Load(); n > requests/10 {
		t.Errorf("%d of %d requests were looked up while nobody read", n, requests)
	}
	stop()
}

// TestStreamPanic: a panic in a lookup of a stream is an error without its text, and the server goes on.
func TestStreamPanic(t *testing.T) {
	p, _ := start(t)
	var log bytes.Buffer
	c := dial(t, rpc.Services{Lookups: &counted{Lookups: lookups(func() *serving.Server { return p.server }), panicAt: 3}}, &log)
	var failure error
	for _, err := range c.StreamFeatures(t.Context(), airports(10, 1)) {
		failure = err
	}
	var failed *client.Error
	if !errors.As(failure, &failed) || failed.Code != client.CodeInternal || strings.Contains(failure.Error(), "secret") {
		t.Errorf("got %v", failure)
	}
	n := 0
	for _, err := range c.StreamFeatures(t.Context(), airports(10, 1)) {
		must(t, err)
		n++
	}
	if n != 10 || !strings.Contains(log.String(), "secret") {
		t.Errorf("%d answers; log: %s", n, log.String())
	}
}
