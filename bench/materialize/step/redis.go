package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/redis"
)

// rowsPerCall is how many rows the bare loader writes by one call of the script.
const rowsPerCall = 100

func (s *settings) ownRedis(ctx context.Context, r rows) (_ []phase, err error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	store, err := redis.Open(s.redis, redis.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := open(ctx, store); err != nil {
		return nil, err
	}
	return r.measure(func(entries []online.Entry) error { return own(ctx, store, entries) }, redisTime(ctx, client))
}

// bareRedis pipelines calls of the script, and looks at nothing but what they answer.
func (s *settings) bareRedis(ctx context.Context, r rows) ([]phase, error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	source, err := os.ReadFile(s.script)
	if err != nil {
		return nil, err
	}
	script := goredis.NewScript(string(source))
	if err := script.Load(ctx, client).Err(); err != nil {
		return nil, err
	}
	return r.measure(func(entries []online.Entry) error {
		return batches(ctx, entries, func(ctx context.Context, batch []online.Entry) error {
			return call(ctx, client, script, batch)
		})
	}, redisTime(ctx, client))
}

func call(ctx context.Context, client *goredis.Client, script *goredis.Script, batch []online.Entry) error {
	pipe := client.Pipeline()
	var calls []*goredis.Cmd
	for rest := batch; len(rest) > 0; {
		n := min(len(rest), rowsPerCall)
		keys, args := make([]string, n), make([]any, 0, 2+2*n)
		args = append(args, "newest", "1")
		for i, e := range rest[:n] {
			keys[i] = "bench:1:" + string(e.Key)
			args = append(args, e.Row, 0)
		}
		calls = append(calls, script.EvalSha(ctx, pipe, keys, args...))
		rest = rest[n:]
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	written := int64(0)
	for _, c := range calls {
		counts, err := c.Int64Slice()
		if err != nil {
			return err
		}
		written += counts[0]
	}
	if written != int64(len(batch)) {
		return fmt.Errorf("%d of %d rows were written", written, len(batch))
	}
	return nil
}

func (s *settings) client() (*goredis.Client, error) {
	options, err := goredis.ParseURL(s.redis)
	if err != nil {
		return nil, err
	}
	return goredis.NewClient(options), nil
}

// redisTime returns the CPU time of this process and of Redis.
func redisTime(ctx context.Context, client *goredis.Client) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		used, err := selfTime()
		if err != nil {
			return 0, err
		}
		info, err := client.Info(ctx, "cpu").Result()
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(info) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if name != "used_cpu_sys" && name != "used_cpu_user" {
				continue
			}
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			used += time.Duration(seconds * float64(time.Second))
		}
		return used, nil
	}
}
