package lookups

import (
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	provenderv1 "github.com/provender-dev/provender/proto/provender/v1"
)

// Workload is a kind of request: all features of the first views for some entities.
type Workload struct {
	Name            string
	Entities, Views int
}

// Workloads returns W1, W2 and W3.
func Workloads() []Workload {
	return []Workload{{"W1", 1, 1}, {"W2", 1, ViewCount}, {"W3", 100, ViewCount}}
}

// requestCount is how many requests are made of a workload; callers go round.
const requestCount = 1000

// Requests returns the entities of each request.
func (w Workload) Requests(d Dataset) [][]int64 {
	r := rand.New(rand.NewPCG(d.Seed, uint64(w.Entities)<<32|uint64(w.Views)))
	requests := make([][]int64, requestCount)
	for i := range requests {
		requests[i] = make([]int64, w.Entities)
		for j := range requests[i] {
			requests[i][j] = r.Int64N(int64(d.Entities))
		}
	}
	return requests
}

// Encode returns a GetFeaturesRequest for the workload's service.
func (w Workload) Encode(entities []int64) ([]byte, error) {
	return proto.Marshal(&provenderv1.GetFeaturesRequest{
		Service: ServiceName(w.Views),
		Keys:    []*provenderv1.KeyColumn{{Name: JoinKey, Int64S: entities}},
	})
}
