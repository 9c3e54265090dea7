// Floor is what a lookup can cost at least: a bare gRPC server that passes bytes through from Redis by MGET, and one
// that answers without asking anybody. Bench/online starts it.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"github.com/provender-dev/provender/bench/internal/raw"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	url := flags.String("redis", "", "URL of the Redis for the rows")
	entities := flags.Int("entities", 0, "entities to write rows of before listening")
	views := flags.Int("views", 0, "rows of each entity")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options, err := redis.ParseURL(*url)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	if err := load(ctx, client, *entities, *views); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw.Codec{}))
	s.RegisterService(description(), &floor{client})
	defer context.AfterFunc(ctx, s.Stop)()
	fmt.Fprintf(stdout, "{\"grpc\": %q}\n", l.Addr())
	return s.Serve(l)
}

// rowBytes is the size of a packed row: ten values of 8 bytes, times, and what a format needs.
const rowBytes = 100

func key(view int, entity []byte) string {
	return "floor:" + string('0'+byte(view)) + ":" + string(entity)
}

// load writes rows of random bytes: nobody looks into them.
func load(ctx context.Context, client *redis.Client, entities, views int) error {
	const batch = 1000
	random := rand.NewChaCha8([32]byte{})
	pipe := client.Pipeline()
	var row [rowBytes]byte
	for entity := range entities {
		id := binary.LittleEndian.AppendUint64(nil, uint64(entity))
		for view := range views {
			_, _ = random.Read(row[:]) // never fails
			pipe.Set(ctx, key(view, id), string(row[:]), 0)
		}
		if (entity+1)%batch == 0 || entity+1 == entities {
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("load rows: %w", err)
			}
		}
	}
	return nil
}

type floor struct{ client *redis.Client }

type handler interface {
	lookup(ctx context.Context, in []byte) ([]byte, error)
	echo(ctx context.Context, in []byte) ([]byte, error)
}

func description() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "floor.Floor",
		HandlerType: (*handler)(nil),
		Methods:     []grpc.MethodDesc{method("Lookup", handler.lookup), method("Echo", handler.echo)},
	}
}

func method(name string, call func(handler, context.Context, []byte) ([]byte, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(raw.Message)
			if err := decode(in); err != nil {
				return nil, err
			}
			out, err := call(srv.(handler), ctx, in.Body)
			if err != nil {
				return nil, err
			}
			return &raw.Message{Body: out}, nil
		},
	}
}

// lookup answers a request of one byte, the number of views, and then of 8 bytes per entity, with the entities' rows.
func (f *floor) lookup(ctx context.Context, in []byte) ([]byte, error) {
	if len(in) < 9 || len(in)%8 != 1 {
		return nil, errors.New("want a number of views, and entities of 8 bytes")
	}
	views, ids := int(in[0]), in[1:]
	keys := make([]string, 0, len(ids)/8*views)
	for ; len(ids) > 0; ids = ids[8:] {
		for view := range views {
			keys = append(keys, key(view, ids[:8]))
		}
	}
	rows, err := f.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(rows)*rowBytes)
	for i, row := range rows {
		text, ok := row.(string)
		if !ok {
			return nil, fmt.Errorf("no row for %q", strings.ToValidUTF8(keys[i], "?"))
		}
		out = append(out, text...)
	}
	return out, nil
}

// echo answers a request of 4 bytes, a number, with that number of bytes.
func (f *floor) echo(_ context.Context, in []byte) ([]byte, error) {
	if len(in) != 4 {
		return nil, errors.New("want a size of 4 bytes")
	}
	return make([]byte, binary.LittleEndian.Uint32(in)), nil
}
