package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPage: the page has what its inputs give.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	got, err := compute(text)
	if err != nil {
		t.Fatal(err)
	}
	if got != text {
		t.Errorf("the tables of %s are not those of its inputs: go run ./bench/capacity", page)
	}
	for _, bad := range [][2]string{{"`redis_w1`", "`redis_w9`"}, {"computed: cost", "computed: costs"}, {"<!-- computed: runs -->", ""}} {
		if _, err := compute(strings.Replace(text, bad[0], bad[1], 1)); err == nil {
			t.Errorf("%s is not missed", bad[0])
		}
	}
}

// TestFormulas: by hand, for inputs that make it easy.
func TestFormulas(t *testing.T) {
	p := plan{
		"server_w1": 100, "server_cores": 8, "server_load": 0.5, "redis_w1": 20, "redis_load": 0.5,
		"views": 5, "row": 87, "expires": 1, "rebuilt": 1, "redis_memory": 32, "redis_filled": 0.5, "write_redis": 10, "read": 1,
	}
	for _, test := range []struct {
		what      string
		got, want float64
	}{
		{"servers", p.servers(1e6, "w1"), 26}, // 100 cores busy ÷ 4 of each, and one
		{"few servers", p.servers(10, "w1"), 2},
		{"an entity", p.entity(), 692}, // 75 + 1.15 × 500 + 42
		{"data", p.data(1e6), 692e6 * 1.2},
		{"primaries by memory", p.byMemory(1e6), 1},
		{"more primaries by memory", p.byMemory(1e9), 49}, // 830.4e9 ÷ 17.18e9
		{"a cluster has three", p.byMemory(4e7), 3},
		{"primaries by lookups", p.byLookups(1e6, "w1"), 40},
		{"a run, by Redis", p.full(1e9, 4), 2500},
		{"a run, by the server", p.full(1e9, 40), 2000},
	} {
		if diff := test.got - test.want; diff > 1e-3 || diff < -1e-3 {
			t.Errorf("%s: %v, want %v", test.what, test.got, test.want)
		}
	}
}
