package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	provenderv1 "github.com/provender-dev/provender/proto/provender/v1"
)

// workload is a kind of request: all features of the first views for some entities.
type workload struct {
	name            string
	entities, views int
}

func workloads() []workload {
	return []workload{{"W1", 1, 1}, {"W2", 1, viewCount}, {"W3", 100, viewCount}}
}

// requestCount is how many requests are made of a workload; callers go round.
const requestCount = 1000

// requests returns the entities of each request.
func (w workload) requests(d dataset) [][]int64 {
	r := rand.New(rand.NewPCG(d.Seed, uint64(w.entities)<<32|uint64(w.views)))
	requests := make([][]int64, requestCount)
	for i := range requests {
		requests[i] = make([]int64, w.entities)
		for j := range requests[i] {
			requests[i][j] = r.Int64N(int64(d.Entities))
		}
	}
	return requests
}

// target is one way to look features up.
type target struct {
	name   string // in -only
	title  string
	addr   string
	method string
	server *process
	redis  *process // nil where it asks none
	encode func(w workload, entities []int64) ([]byte, error)
	// check tells what is wrong with an answer.
	check func(d dataset, w workload, entities []int64, answer []byte) error
	// only is the one workload to run, "" for all.
	only string
	// stream: one bidirectional stream in place of callers, its requests sent as fast as the server takes them.
	stream bool
}

// bodies returns a workload's requests as this target reads them.
func (t *target) bodies(d dataset, w workload) ([][]byte, error) {
	requests := w.requests(d)
	bodies := make([][]byte, len(requests))
	for i, entities := range requests {
		var err error
		if bodies[i], err = t.encode(w, entities); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

func encodeOwn(w workload, entities []int64) ([]byte, error) {
	return proto.Marshal(&provenderv1.GetFeaturesRequest{
		Service: serviceName(w.views),
		Keys:    []*provenderv1.KeyColumn{{Name: joinKey, Int64S: entities}},
	})
}

// encodeStreamed writes a StreamFeaturesRequest: request = 1.
func encodeStreamed(w workload, entities []int64) ([]byte, error) {
	request, err := encodeOwn(w, entities)
	return appendBytes(nil, 1, request), err
}

// encodeFeast writes a GetOnlineFeaturesRequest: feature_service = 1, entities = 3 (a map from join key to values, of
// which int64_val = 4).
func encodeFeast(w workload, entities []int64) ([]byte, error) {
	var values, entry []byte
	for _, entity := range entities {
		value := protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), uint64(entity))
		values = appendBytes(values, 1, value)
	}
	entry = appendBytes(entry, 1, []byte(joinKey))
	entry = appendBytes(entry, 2, values)
	return appendBytes(appendBytes(nil, 1, []byte(serviceName(w.views))), 3, entry), nil
}

func appendBytes(to []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), value)
}

func encodeFloor(w workload, entities []int64) ([]byte, error) {
	body := []byte{byte(w.views)}
	for _, entity := range entities {
		body = binary.LittleEndian.AppendUint64(body, uint64(entity))
	}
	return body, nil
}

func encodeEcho(w workload, _ []int64) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(nil, uint32(floorSize(w))), nil
}

// floorSize is the size of the floor's answers: 100 bytes a row.
func floorSize(w workload) int { return 100 * w.entities * w.views }

func checkFloor(_ dataset, w workload, _ []int64, answer []byte) error {
	if len(answer) != floorSize(w) {
		return fmt.Errorf("answer of %d bytes, want %d", len(answer), floorSize(w))
	}
	return nil
}
