package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/redis/go-redis/v9"

	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/link"
	"github.com/provender-dev/provender/test/load"
	"github.com/provender-dev/provender/test/project"
)

// site is servers, their store, and what the files say. Over Redis it is two servers with one registry: the first is never
// harmed itself, so that its memory tells; over the embedded store it is one.
type site struct {
	settings
	dir     string
	data    string // folder of the source
	command string // folder that commands run in
	redis   *process
	client  *redis.Client
	link    *link.Link
	servers []*server
	history *load.History
	conns   []func() error

	running sync.Mutex // one run at a time
	version int
	base    time.Time
}

// open makes and starts everything.
func open(ctx context.Context, s settings, dir string) (_ *site, err error) {
	x := &site{settings: s, dir: dir, data: filepath.Join(dir, "data"), history: load.NewHistory(s.entities), base: time.Now().Add(-24 * time.Hour)}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.close())
		}
	}()
	online, names := project.Embedded, []string{"a"}
	if s.store == storeRedis {
		names = []string{"a", "b", "command"}
		folder := filepath.Join(dir, "redis")
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, err
		}
		var addr string
		if x.redis, addr, err = newRedis(folder, dir); err != nil {
			return nil, err
		}
		if err := x.redis.start(); err != nil {
			return nil, err
		}
		x.client = redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
		if x.link, err = link.New(addr); err != nil {
			return nil, err
		}
		online = "redis://" + x.link.Addr
	}
	if err := os.Mkdir(x.data, 0o755); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := x.folder(name, online); err != nil {
			return nil, err
		}
	}
	x.command = filepath.Join(dir, names[len(names)-1])
	if err := x.put(0, s.entities); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"apply", "--yes"}, {"materialize"}} {
		if err := x.run(ctx, args...); err != nil {
			return nil, err
		}
	}
	x.history.Settle()
	for _, name := range names[:min(2, len(names))] {
		server := newServer(s.provender, name, filepath.Join(dir, name), dir)
		x.servers = append(x.servers, server)
		if err := server.start(); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// folder makes a project's, as each machine has one.
func (x *site) folder(name, online string) error {
	folder := filepath.Join(x.dir, name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	config := fmt.Sprintf("version: 1\nproject: soak\nregistry: sqlite://%s\nonline: %s\nroots: {lake: %s}\n%s",
		filepath.Join(x.dir, "registry.db"), online, x.data, strings.ReplaceAll(x.config, ";", "\n"))
	if err := os.WriteFile(filepath.Join(folder, "provender.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	definitions := strings.Replace(project.Definitions, "data/**", `"lake:**"`, 1)
	return os.WriteFile(filepath.Join(folder, "definitions.yaml"), []byte(definitions), 0o644)
}

// put writes a file with the next version of some drivers.
func (x *site) put(from, to int) error {
	x.version++
	rows := make([]project.Row, 0, to-from)
	at := x.base.Add(time.Duration(x.version) * time.Second)
	for d := from; d < to; d++ {
		row := project.Row{Driver: int64(d), At: at, Written: at, Trips: load.Trips(d, x.version)}
		if rating, ok := load.Rating(x.version); ok {
			row.Rating = &rating
		}
		rows = append(rows, row)
	}
	name := fmt.Sprintf("%04d.parquet", x.version)
	if err := parquet.WriteFile(filepath.Join(x.data, "_"+name), rows); err != nil {
		return err
	}
	x.history.Put(x.version, from, to)
	return os.Rename(filepath.Join(x.data, "_"+name), filepath.Join(x.data, name))
}

// commandTime is how long a command may take.
const commandTime = 5 * time.Minute

// run runs a command to its end.
func (x *site) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	said, err := exec.CommandContext(ctx, x.provender, append([]string{"-C", x.command}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("provender %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(said)))
	}
	return nil
}

// swapTime is more than servers take to follow a new generation.
const swapTime = 5 * time.Second

// materialize brings a new version of a random part of the drivers; whole: into a new generation.
func (x *site) materialize(ctx context.Context, rnd *rand.Rand, whole bool) error {
	x.running.Lock()
	defer x.running.Unlock()
	from := rnd.IntN(x.entities)
	if err := x.put(from, from+1+rnd.IntN(x.entities-from)); err != nil {
		return err
	}
	if whole {
		// Servers follow one after the other.
		x.history.MayGoBack(true)
		defer x.history.MayGoBack(false)
		if err := x.run(ctx, "materialize", "--full"); err != nil {
			return err
		}
		wait(ctx, swapTime)
		x.history.Settle()
		return nil
	}
	if err := x.run(ctx, "materialize"); err != nil {
		return err
	}
	x.history.Settle()
	return nil
}

// refill runs until it succeeds.
func (x *site) refill(ctx context.Context) error {
	x.running.Lock()
	defer x.running.Unlock()
	var err error
	for range 10 {
		if err = x.run(ctx, "materialize"); err == nil {
			x.history.Settle()
			return nil
		}
		wait(ctx, time.Second)
	}
	return err
}

// start asks all servers by so many callers.
func (x *site) start(callers int, pace float64) (*load.Load, error) {
	addrs := make([]string, len(x.servers))
	for i, s := range x.servers {
		addrs[i] = s.grpc
	}
	config := load.Config{
		History: x.history, Callers: callers, Pace: pace, Drivers: x.drivers, Deadline: x.deadline, Seed: x.seed,
	}
	for range callers {
		conn, err := load.Dial(addrs...)
		if err != nil {
			return nil, err
		}
		x.conns = append(x.conns, conn.Close)
		config.Asks = append(config.Asks, load.Client(client.New(conn, client.WithoutRepeats())))
	}
	return load.Start(config), nil
}

// stored is what Redis has in memory, 0 where it does not tell.
func (x *site) stored(ctx context.Context) int64 {
	if x.client == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var used int64
	for line := range strings.Lines(x.client.Info(ctx, "memory").Val()) {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			_, _ = fmt.Sscan(text, &used)
		}
	}
	return used
}

func (x *site) close() error {
	var errs []error
	for _, end := range x.conns {
		errs = append(errs, end())
	}
	for _, s := range x.servers {
		errs = append(errs, s.end(syscall.SIGTERM))
	}
	if x.link != nil {
		x.link.Close()
	}
	if x.client != nil {
		errs = append(errs, x.client.Close())
	}
	if x.redis != nil {
		errs = append(errs, x.redis.end(syscall.SIGKILL))
	}
	return errors.Join(errs...)
}

// wait returns after a while, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
