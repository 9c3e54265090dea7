package cli_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/provender-dev/provender/examples/flights"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/internal/testenv/pki"
)

// airports makes the project of flights, applied.
func airports(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "flights")
	if _, err := flights.Unpack(dir, flights.End); err != nil {
		t.Fatal(err)
	}
	provender(t, "apply", "--yes", "-C", dir)
	return dir
}

// pyarrow's client, which knows nothing of us, gets what an export writes: by TCP with TLS and a token, and by the
// project's socket.
func TestFlightPyarrow(t *testing.T) {
	dir := airports(t)
	ca := pki.New(t)
	ca.Write(t, dir, "server", pki.Leaf{})
	pki.Put(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	configure(t, dir, "tls: {cert: server.crt, key: server.key}, auth: true")
	s := &service{scheme: "https://", web: secured(&tls.Config{RootCAs: ca.Pool()})}
	s.start(t, dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	token := func(role string) string {
		return strings.TrimSpace(provender(t, "token", "create", "t-"+role, "--role", role, "-C", dir))
	}
	c := exec.CommandContext(t.Context(), testenv.Python(t, "../.."), "testdata/flight.py",
		"grpc+tls://localhost"+s.grpc[strings.LastIndex(s.grpc, ":"):], "grpc+unix://"+filepath.Join(dir, ".provender", "provender.sock"),
		filepath.Join(dir, "ca.crt"), token("read-offline"), token("read-online"), dir, t.TempDir(), fmt.Sprint(testenv.Seed(t)))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("flight.py: %v\n%s\n%s", err, out, &s.log)
	}
	s.stop(t)
}

// An export that is under way at SIGTERM comes to its end.
func TestFlightDrains(t *testing.T) {
	dir := airports(t)
	s := startServe(t, dir)
	client, err := flight.NewClientWithMiddleware("passthrough:///"+s.grpc, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stream, err := client.DoExchange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "airport", Type: arrow.BinaryTypes.String}, {Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	const rows = 500_000
	for i := range rows {
		b.Field(0).(*array.StringBuilder).Append("JFK")
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(flights.End.UnixMicro() - int64(i)))
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	w := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
	w.SetFlightDescriptor(&flight.FlightDescriptor{
		Type: flight.DescriptorCMD, Cmd: []byte(`{"features": ["airport_hourly:departures_1h"], "time": "at", "progress": true}`),
	})
	if err := errors.Join(w.Write(batch), w.Close(), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || !bytes.Contains(m.AppMetadata, []byte("progress")) {
		t.Fatal(m, err)
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	last := ""
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = string(m.AppMetadata)
	}
	if !strings.Contains(last, fmt.Sprintf(`"rows":%d`, rows)) {
		t.Errorf("the last message is %s", last)
	}
	if err := s.process.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &s.log)
	}
}
