package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // so that clients watch it
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/provender-dev/provender/sdk/client"
)

// What is looked up, in a project with the definitions of test/project.
var features = []string{"stats:trips", "stats:rating"}

// Client asks by a client, which should not make calls again (client.WithoutRepeats): what fails is to be seen.
func Client(c *client.Client) Ask {
	return func(ctx context.Context, drivers []int64, rows []Row) error {
		r, err := c.GetFeatures(ctx, client.Request{Features: features, Keys: []client.Key{client.Int64s("driver", drivers...)}})
		if err != nil {
			return err
		}
		if r.Rows != len(rows) || len(r.Columns) != len(features) {
			return fmt.Errorf("%d rows of %d columns for %d drivers", r.Rows, len(r.Columns), len(rows))
		}
		trips, rating := &r.Columns[0], &r.Columns[1]
		for i := range rows {
			rows[i] = Row{TripsStatus: trips.Status(i), RatingStatus: rating.Status(i)}
			if rows[i].TripsStatus == client.Present {
				rows[i].Trips = trips.Int64(i)
			}
			if rows[i].RatingStatus == client.Present {
				rows[i].Rating = rating.Float64(i)
			}
		}
		return nil
	}
}

// HTTPError is an answer other than 200.
type HTTPError struct {
	Status int
	Body   string
}

func (e *HTTPError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Status, e.Body) }

// HTTP asks by POST to a server's base URL, http://host:port.
func HTTP(c *http.Client, base string) Ask {
	return func(ctx context.Context, drivers []int64, rows []Row) error {
		in, err := json.Marshal(map[string]any{"features": features, "keys": map[string][]int64{"driver": drivers}})
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/features:get", bytes.NewReader(in))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		// A connection may end just as it is used: HTTP/1.1 has no remedy but that the client, told that it may, asks again.
		req.Header["Idempotency-Key"] = nil
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return &HTTPError{resp.StatusCode, string(body)}
		}
		var out struct {
			Columns []struct {
				Values   []*float64
				Statuses []string
			}
		}
		if err := json.Unmarshal(body, &out); err != nil {
			return err
		}
		if len(out.Columns) != len(features) {
			return fmt.Errorf("%d columns", len(out.Columns))
		}
		for i := range rows {
			rows[i] = Row{}
			for k := range out.Columns {
				c := &out.Columns[k]
				if len(c.Values) != len(rows) || len(c.Statuses) != len(rows) {
					return fmt.Errorf("%d values, %d statuses for %d drivers", len(c.Values), len(c.Statuses), len(rows))
				}
				value := 0.0
				if c.Values[i] != nil {
					value = *c.Values[i]
				}
				if k == 0 {
					rows[i].Trips, rows[i].TripsStatus = int64(value), statusOf(c.Statuses[i])
				} else {
					rows[i].Rating, rows[i].RatingStatus = value, statusOf(c.Statuses[i])
				}
			}
		}
		return nil
	}
}

func statusOf(name string) client.Status {
	for s := client.Present; s <= client.Damaged; s++ {
		if s.String() == name {
			return s
		}
	}
	return client.StatusInvalid
}

// roundRobin takes servers by turns, those that say that they are ready.
const roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`

// Dial connects to all of some servers, as a client of a headless service in Kubernetes does: calls go round those that
// are ready, and what is lost is connected again.
func Dial(addrs ...string) (*grpc.ClientConn, error) {
	found := manual.NewBuilderWithScheme("servers")
	var state resolver.State
	for _, addr := range addrs {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: addr})
	}
	found.InitialState(state)
	return grpc.NewClient("servers:///all", grpc.WithResolvers(found), grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		}))
}
