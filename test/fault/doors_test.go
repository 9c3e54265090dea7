package fault

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/sdk/client"
	"github.com/provender-dev/provender/test/project"
)

// said is what is said of a driver, by whichever way it was asked for.
type said struct{ Trips, Rating saidCell }

type saidCell struct {
	Value  float64 // trips are below 2^53
	Status string
}

// doors checks that a server of the project says of everybody over gRPC, over HTTP and to Feast's clients what the command
// line says.
func (h *history) doors(p *project.Project) {
	h.t.Helper()
	var rows []struct{ Features said }
	if err := json.NewDecoder(strings.NewReader(h.answers(p))).Decode(&rows); err != nil {
		h.t.Fatal(err)
	}
	want := make([]said, len(rows))
	drivers := make([]int64, len(rows))
	for d := range rows {
		want[d], drivers[d] = rows[d].Features, int64(d)
	}
	s := p.Serve("")
	for door, ask := range map[string]func(*testing.T, *project.Server, []int64) []said{"gRPC": byGRPC, "HTTP": byHTTP, "Feast": byFeast} {
		if got := ask(h.t, s, drivers); !slices.Equal(got, want) {
			h.t.Errorf("%s says\n%v\nnot what the command line says:\n%v", door, got, want)
		}
	}
}

func byGRPC(t *testing.T, s *project.Server, drivers []int64) []said {
	c, err := client.Dial(t.Context(), s.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.GetFeatures(t.Context(), client.Request{
		Features: []string{"stats:trips", "stats:rating"}, Keys: []client.Key{client.Int64s("driver", drivers...)},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]said, r.Rows)
	trips, rating := &r.Columns[0], &r.Columns[1]
	for d := range out {
		out[d] = said{
			saidCell{float64(trips.Int64(d)), trips.Status(d).String()}, saidCell{rating.Float64(d), rating.Status(d).String()},
		}
	}
	return out
}

// byJSON posts a request and decodes its answer.
func byJSON(t *testing.T, url string, request, answer any) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}

// column is a feature's cells in both kinds of JSON.
type column struct {
	Values   []*float64
	Statuses []string
}

func (c *column) cell(d int) saidCell {
	cell := saidCell{Status: strings.TrimSuffix(c.Statuses[d], "_VALUE")}
	if c.Values[d] != nil {
		cell.Value = *c.Values[d]
	}
	return cell
}

func join(trips, rating *column) []said {
	out := make([]said, len(trips.Values))
	for d := range out {
		out[d] = said{trips.cell(d), rating.cell(d)}
	}
	return out
}

func byHTTP(t *testing.T, s *project.Server, drivers []int64) []said {
	var answer struct{ Columns [2]column }
	byJSON(t, "http://"+s.HTTP+"/v1/features:get", map[string]any{
		"features": []string{"stats:trips", "stats:rating"}, "keys": map[string]any{"driver": drivers},
	}, &answer)
	return join(&answer.Columns[0], &answer.Columns[1])
}

func byFeast(t *testing.T, s *project.Server, drivers []int64) []said {
	var answer struct{ Results [3]column } // the first has the keys
	byJSON(t, "http://"+s.HTTP+"/get-online-features", map[string]any{
		"features": []string{"stats:trips", "stats:rating"}, "entities": map[string]any{"driver": drivers},
	}, &answer)
	return join(&answer.Results[1], &answer.Results[2])
}
