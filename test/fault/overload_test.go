package fault

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/project"
)

const (
	idle    = 64 // MiB of a server that was asked nothing
	garbage = 2  // times what is in use, before Go collects it
)

// peak returns the most memory that the server has had resident, in MiB.
func (s *server) peak() int {
	s.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		s.t.Fatal(err)
	}
	return kib >> 10
}

// TestTooMuchInOneCall: a million entities in one call, or a message that is larger than may be, or becomes so, is refused,
// and what to do is told; some at once take no more memory than their messages may have.
func TestTooMuchInOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, project.Embedded)
	w.Must("materialize")
	s := w.serve("")
	million := make([]int64, 1_000_000)
	request := func(keys []int64) client.Request {
		return client.Request{Features: []string{"stats:trips"}, Keys: []client.Key{client.Int64s("driver", keys...)}}
	}
	text := `{"features":["stats:trips"],"keys":{"driver":[1` + strings.Repeat(",1", len(million)-1) + `]}}`
	post := func(body io.Reader, header ...string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.HTTP+"/v1/features:get", body)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		if len(header) == 2 {
			req.Header.Set(header[0], header[1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		answer, err := io.ReadAll(resp.Body)
		return errors.Join(err, fmt.Errorf("%d %s", resp.StatusCode, answer))
	}
	const (
		callers   = 4  // of each kind
		mebibytes = 16 // limits.request_message
	)
	kinds := map[string]struct {
		call func() error
		want []string
	}{
		"a million entities": {
			func() error { _, err := s.client.GetFeatures(t.Context(), request(million)); return err },
			[]string{"1,000,000 entities", "limits.request_entities"},
		},
		"a message beyond the limit": {
			func() error {
				_, err := s.client.GetFeatures(t.Context(), request(make([]int64, 3_000_000)))
				return err
			},
			[]string{"larger than max", "limits.request_message"},
		},
		"a million entities in a stream": {
			func() error {
				for _, err := range s.client.StreamFeatures(t.Context(), func(yield func(client.Request) bool) { yield(request(million)) }) {
					return err
				}
				return nil
			},
			[]string{"1,000,000 entities", "limits.request_entities"},
		},
		"a million entities over HTTP": {
			func() error { return post(strings.NewReader(text)) },
			[]string{"413", "1,000,000 entities", "limits.request_entities"},
		},
		"a body beyond the limit": {
			func() error { return post(io.LimitReader(zeros{}, 1<<30)) },
			[]string{"413", "limits.request_message"},
		},
		"a compressed body": {
			func() error { return post(bytes.NewReader(bombed()), "Content-Encoding", "gzip") },
			[]string{"415", "Content-Encoding"},
		},
		"a compressed message": {
			func() error { return bomb(t, s.addr) },
			[]string{"ResourceExhausted", "after decompression larger than max"},
		},
	}
	var calls sync.WaitGroup
	for name, c := range kinds {
		for range callers {
			calls.Go(func() {
				err := c.call()
				for _, want := range c.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %.300v, want %s", name, err, want)
					}
				}
			})
		}
	}
	calls.Wait()
	if got, most := s.peak(), idle+garbage*len(kinds)*callers*mebibytes; got > most {
		t.Errorf("the server took %d MiB, more than %d", got, most)
	}
	if w.get(0, 1)[0].Trips.Status != "PRESENT" {
		t.Error("the server does not answer any more")
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// bombed is a GiB in a MiB: a MiB again and again.
var bombed = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(make([]byte, 1<<20))
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err) // neither fails in memory
	}
	return bytes.Repeat(b.Bytes(), 1<<10)
})

// bomb sends a message that is compressed, as bombed. The server measures what it unpacks, and stops at its limit.
func bomb(t *testing.T, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	registerBomb.Do(func() { encoding.RegisterCompressor(&packed{bombed()}) })
	_, err = pb.NewOnlineServiceClient(conn).GetFeatures(t.Context(), &pb.GetFeaturesRequest{Service: "s"}, grpc.UseCompressor("gzip"))
	if s, ok := grpcstatus.FromError(err); ok {
		return fmt.Errorf("%s %s", s.Code(), s.Message())
	}
	return err
}

var registerBomb sync.Once

// packed compresses every message into the same bytes.
type packed struct{ bytes []byte }

func (*packed) Name() string { return "gzip" }

func (p *packed) Compress(w io.Writer) (io.WriteCloser, error) { return &packing{w, p.bytes}, nil }

func (*packed) Decompress(r io.Reader) (io.Reader, error) { return r, nil }

type packing struct {
	to    io.Writer
	bytes []byte
}

func (*packing) Write(p []byte) (int, error) { return len(p), nil }

func (p *packing) Close() error {
	_, err := p.to.Write(p.bytes)
	return err
}

// TestCancelStorm: thousands of calls to a server whose store hangs, given up at random moments. Who waited for a turn never
// reaches the store; when it is over the server has no more goroutines than before, and answers as before.
func TestCancelStorm(t *testing.T) {
	t.Parallel()
	rnd := testenv.Rand(t)
	redis := onlinetest.StartRedisServer(t)
	w := newWorld(t, redis.URL+project.Patient)
	w.Must("materialize")
	s := w.serve("")
	w.get(0, 10)
	hmgets := func() int {
		text, err := redis.Client(t).Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(text, "cmdstat_hmget:calls=")
		n, _, _ := strings.Cut(rest, ",")
		calls, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return calls
	}
	const (
		storms, callers, connections = 3, 2000, 10
		waiting, working             = `provender_admission_requests{state="waiting"}`, `provender_admission_requests{state="working"}`
		shed                         = `provender_admission_shed_total{reason="cancelled"}`
	)
	goroutines := s.Metric("go_goroutines")
	for range storms {
		before, given := hmgets(), s.Metric(shed)
		if err := redis.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		var clients []*client.Client
		for range connections {
			c, err := client.Dial(ctx, s.addr, client.WithoutRepeats())
			if err != nil {
				t.Fatal(err)
			}
			for range callers / connections {
				after, id := time.Duration(rnd.Int64N(int64(500*time.Millisecond))), rnd.Int64N(drivers)
				stays := rnd.IntN(4) == 0 // until all are given up
				calls.Go(func() {
					ctx, cancel := context.WithCancel(ctx)
					defer cancel()
					if !stays {
						defer time.AfterFunc(after, cancel).Stop()
					}
					_, err := c.GetFeatures(ctx, client.Request{
						Features: []string{"stats:trips"}, Keys: []client.Key{client.Int64s("driver", id)},
					})
					if err == nil {
						t.Error("answered without a store")
					}
				})
			}
			clients = append(clients, c)
		}
		testenv.Until(t, "many who wait give up", func() bool { return s.Metric(shed) >= given+50 })
		cancel()
		calls.Wait()
		for _, c := range clients {
			_ = c.Close()
		}
		testenv.Until(t, "those who wait are gone", func() bool { return s.Metric(waiting) == 0 })
		if err := redis.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		testenv.Until(t, "nothing is under way", func() bool { return s.Metric(working) == 0 })
		// Those whose turn it was may have got there: of each turn that a caller gave up the next one's, too.
		if n := hmgets() - before; n > callers/4 {
			t.Errorf("%d of %d calls reached the store", n, callers)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	testenv.Until(t, "goroutines are gone", func() bool { return s.Metric("go_goroutines") <= goroutines+10 })
	// A call takes a few goroutines and buffers.
	const kibibytes = 100
	if got, most := s.peak(), idle+garbage*callers*kibibytes>>10; got > most {
		t.Errorf("the server took %d MiB, more than %d", got, most)
	}
	w.equal()
}
