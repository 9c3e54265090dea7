package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/loop"
	"github.com/provender-dev/provender/bench/internal/process"
)

// layout is what the data takes in a Redis of its own.
type layout struct {
	Title    string  `json:"title"`
	Listpack int     `json:"hash_max_listpack_value"`
	Bytes    float64 `json:"bytes_per_entity"`
}

// The values of hash-max-listpack-value: Redis's default, and what docs/how-to/redis.md recommends.
const (
	defaultListpack     = 64
	recommendedListpack = 128
)

// measureMemory loads the data into one Redis after another.
func (b *bench) measureMemory(ctx context.Context) (layouts []layout, err error) {
	ours := func(ctx context.Context, server *process.Process) error {
		_, err := b.materialized(ctx, b.provender, lookups.Project{Online: redisURL(server.Addr, 0)})
		return err
	}
	feast := func(ctx context.Context, server *process.Process) error { return loadFeast(ctx, server.Addr, b.data) }
	for _, l := range []struct {
		title    string
		listpack int
		load     func(context.Context, *process.Process) error
	}{
		{"Provender, recommended setting", recommendedListpack, ours},
		{"Provender, Redis's default", defaultListpack, ours},
		{"Feast's default layout", defaultListpack, feast},
	} {
		b.say("memory: %s", l.title)
		bytes, err := b.memoryOf(ctx, l.listpack, l.load)
		if err != nil {
			return nil, err
		}
		layouts = append(layouts, layout{l.title, l.listpack, bytes})
	}
	return layouts, nil
}

// memoryOf returns by how many bytes per entity a load makes a fresh Redis larger.
func (b *bench) memoryOf(ctx context.Context, listpack int, load func(context.Context, *process.Process) error) (bytes float64, err error) {
	server, err := process.StartRedis(ctx, b.dir, listpack)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	before, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	if err := load(ctx, server); err != nil {
		return 0, err
	}
	after, err := settledMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(b.data.Entities), nil
}

// settledMemory returns the memory in use once it has not changed for two seconds: tables that grew are moved in steps,
// and the old one goes with the last.
func settledMemory(ctx context.Context, client *redis.Client) (int64, error) {
	last, same := int64(0), 0
	for {
		used, err := usedMemory(ctx, client)
		if err != nil {
			return 0, err
		}
		if used != last {
			same = 0
		}
		if same++; same == 10 {
			return used, nil
		}
		last = used
		if err := loop.Wait(ctx, 200*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

func usedMemory(ctx context.Context, client *redis.Client) (int64, error) {
	info, err := client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, "used_memory:"); found {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("INFO memory: no used_memory")
}

// loadFeast writes the data as Feast does by default: a hash per entity with a field per feature, the hash of
// "view:feature", and one per view for its event time; values are serialized messages.
func loadFeast(ctx context.Context, addr string, d lookups.Dataset) error {
	const batch = 500
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	var floats, ints [lookups.ViewCount][lookups.PerType]string
	for view := range lookups.ViewCount {
		for i := range lookups.PerType {
			floats[view][i] = feastField(lookups.ViewName(view) + ":" + lookups.FloatName(view, i))
			ints[view][i] = feastField(lookups.ViewName(view) + ":" + lookups.IntName(view, i))
		}
	}
	pipe := client.Pipeline()
	for entity := range int64(d.Entities) {
		key := feastKey("bench", entity)
		for view := range lookups.ViewCount {
			x := d.Row(entity, view)
			pairs := []any{"_ts:" + lookups.ViewName(view), feastTime(x.Event)}
			for i := range lookups.PerType {
				pairs = append(pairs, floats[view][i], feastDouble(x.Floats[i]), ints[view][i], feastInt(x.Ints[i]))
			}
			pipe.HSet(ctx, key, pairs...)
		}
		if (entity+1)%batch == 0 || entity+1 == int64(d.Entities) {
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("load Feast's layout: %w", err)
			}
		}
	}
	return nil
}

// feastKey is the serialized entity key (version 3) and the project's name: the number of join keys, each as type and
// text, each value as type and bytes. The types are feast.types.ValueType: 2 a string, 4 an int64.
func feastKey(project string, entity int64) string {
	le := binary.LittleEndian
	key := le.AppendUint32(nil, 1)
	key = le.AppendUint32(key, 2)
	key = le.AppendUint32(key, uint32(len(lookups.JoinKey)))
	key = append(key, lookups.JoinKey...)
	key = le.AppendUint32(key, 4)
	key = le.AppendUint32(key, 8)
	key = le.AppendUint64(key, uint64(entity))
	return string(append(key, project...))
}

// feastDouble and feastInt are a serialized feast.types.Value: double_val = 5, int64_val = 4.
func feastDouble(v float64) string {
	return string(protowire.AppendFixed64(protowire.AppendTag(nil, 5, protowire.Fixed64Type), math.Float64bits(v)))
}

func feastInt(v int64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), uint64(v)))
}

// feastTime is a serialized google.protobuf.Timestamp of whole seconds.
func feastTime(micros int64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(micros/1e6)))
}

// feastField is MurmurHash3 (32 bits, x86, seed 0), least significant byte first.
func feastField(name string) string {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*c1, 15) * c2 }
	var h uint32
	rest := []byte(name)
	for ; len(rest) >= 4; rest = rest[4:] {
		h = bits.RotateLeft32(h^mix(binary.LittleEndian.Uint32(rest)), 13)*5 + 0xe6546b64
	}
	if len(rest) > 0 {
		var last [4]byte
		copy(last[:], rest)
		h ^= mix(binary.LittleEndian.Uint32(last[:]))
	}
	h ^= uint32(len(name))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return string(binary.LittleEndian.AppendUint32(nil, h^h>>16))
}
