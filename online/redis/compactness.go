package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/internal/checkup"
)

const (
	sampleKeys  = 200 // entities per primary
	sampleScans = 50  // calls of SCAN per primary at most
	// longestAdvised is the longest row that a compact hash is advised for: it is walked from its start.
	longestAdvised = 1024
)

// sampled are entities as the servers keep them.
type sampled struct {
	loose, compact         int   // kept as a hash table, as one compact block
	looseBytes, blockBytes int64 // what they take
	estimate               int64 // what the loose ones would take, compact
	longest                int   // row, in bytes
}

// compactness tells whether entities are kept as compact as they can be, by a sample of them. Rows above the server's
// limit turn an entity into a hash table.
func (s *Store) compactness(ctx context.Context, nodes []*redis.Client, o *owner) checkup.Check {
	c := checkup.Check{Name: "memory", State: checkup.OK}
	var all sampled
	setting, limit := "hash-max-listpack-value", 0
	for _, node := range nodes {
		name, value, err := listpackLimit(ctx, node)
		if err == nil {
			err = all.add(ctx, node, o)
		}
		if redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "ERR unknown") {
			c.Text = "the server does not tell its settings, or what keys take: " + reply(err)
			return c
		}
		if err != nil {
			return checkup.Failed(c.Name, s.failure(ctx, "sample keys", err))
		}
		if limit == 0 || value < limit {
			setting, limit = name, value
		}
	}
	n := all.loose + all.compact
	switch {
	case n == 0:
		c.Text = fmt.Sprintf("no entity is stored yet; %s is %d", setting, limit)
	case all.loose == 0:
		c.Text = fmt.Sprintf("entities are compact: %d bytes each, of a sample of %d; the longest row has %d, %s is %d",
			all.blockBytes/int64(n), n, all.longest, setting, limit)
	case all.longest > longestAdvised:
		c.Text = fmt.Sprintf("an entity takes %d bytes, of a sample of %d; rows of up to %d bytes are too long to be kept compact",
			(all.blockBytes+all.looseBytes)/int64(n), n, all.longest)
	case all.longest <= limit:
		c.Text = fmt.Sprintf("%d of %d sampled entities are still hash tables of %d bytes, though no row is longer than %s, %d",
			all.loose, n, all.looseBytes/int64(all.loose), setting, limit)
		c.Fix = "they turn compact, about " + strconv.FormatInt(all.estimate/int64(all.loose), 10) +
			" bytes, where a server reads its snapshot or follows another one anew: restart it, or fail over"
	default:
		c.State = checkup.Warning
		c.Text = fmt.Sprintf("%d of %d sampled entities are hash tables of %d bytes: their rows have up to %d bytes, %s is %d; compact they would take about %d",
			all.loose, n, all.looseBytes/int64(all.loose), all.longest, setting, limit, all.estimate/int64(all.loose))
		c.Fix = fmt.Sprintf("CONFIG SET %s %d, and the same in its configuration; entities that are there turn compact when a server reads its snapshot or "+
			"follows another one anew", setting, advised(all.longest))
	}
	return c
}

// advised is a limit with some room above the longest row that was seen.
func advised(longest int) int { return max(128, (longest+63)/64*64) }

// listpackLimit returns the longest value of a compact hash, and what the server calls the setting.
func listpackLimit(ctx context.Context, node *redis.Client) (name string, limit int, err error) {
	settings, err := node.ConfigGet(ctx, "hash-max-*-value").Result()
	if err != nil {
		return "", 0, err
	}
	for _, name := range []string{"hash-max-listpack-value", "hash-max-ziplist-value"} {
		if value, ok := settings[name]; ok {
			limit, err := strconv.Atoi(value)
			return name, limit, err
		}
	}
	return "", 0, errors.New("the server has no setting hash-max-listpack-value")
}

// add samples entities of one primary.
func (all *sampled) add(ctx context.Context, node *redis.Client, o *owner) error {
	var keys []string
	cursor := uint64(0)
	for range sampleScans {
		found, next, err := node.ScanType(ctx, cursor, o.prefix+":*", scanCount, "hash").Result()
		if err != nil {
			return err
		}
		keys = append(keys, slices.DeleteFunc(found, func(key string) bool { return strings.HasPrefix(key, o.slotLead) })...)
		if cursor = next; cursor == 0 || len(keys) >= sampleKeys {
			break
		}
	}
	keys = keys[:min(len(keys), sampleKeys)]
	pipe := node.Pipeline()
	encodings, usages, hashes := make([]*redis.StringCmd, len(keys)), make([]*redis.IntCmd, len(keys)), make([]*redis.MapStringStringCmd, len(keys))
	for i, key := range keys {
		encodings[i], usages[i], hashes[i] = pipe.ObjectEncoding(ctx, key), pipe.MemoryUsage(ctx, key, 0), pipe.HGetAll(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	for i := range keys {
		err := errors.Join(encodings[i].Err(), usages[i].Err(), hashes[i].Err())
		switch {
		case errors.Is(err, redis.Nil), isWrongType(err), isRedirect(err):
			continue // it has gone, or moved away
		case err != nil:
			return err
		}
		for _, row := range hashes[i].Val() {
			all.longest = max(all.longest, len(row))
		}
		if encodings[i].Val() == "hashtable" {
			all.loose++
			all.looseBytes += usages[i].Val()
			all.estimate += compactBytes(keys[i], hashes[i].Val())
		} else {
			all.compact++
			all.blockBytes += usages[i].Val()
		}
	}
	return nil
}

// compactBytes is about what a hash takes as one block, its key and its place in the server's table included.
func compactBytes(key string, hash map[string]string) int64 {
	block := 7
	for name, row := range hash {
		for _, n := range []int{len(name), len(row)} {
			block += n + 2
			if n > 63 {
				block += 2
			}
		}
	}
	const object, entry = 16, 24
	return int64(object + entry + allocated(len(key)+2) + allocated(block))
}

// allocated is what jemalloc takes for n bytes: four steps between two powers of two.
func allocated(n int) int {
	if n <= 128 {
		return (n + 15) / 16 * 16
	}
	power := 128
	for power*2 < n {
		power *= 2
	}
	step := power / 4
	return (n + step - 1) / step * step
}
