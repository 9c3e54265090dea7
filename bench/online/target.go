package main

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/provender-dev/provender/bench/internal/lookups"
	"github.com/provender-dev/provender/bench/internal/loop"
)

// target is one way to look features up.
type target struct {
	loop.Target
	name   string // in -only
	encode func(w lookups.Workload, entities []int64) ([]byte, error)
	// check tells what is wrong with an answer.
	check func(d lookups.Dataset, w lookups.Workload, entities []int64, answer []byte) error
	// only is the one workload to run, "" for all.
	only string
}

// bodies returns a workload's requests as this target reads them.
func (t *target) bodies(d lookups.Dataset, w lookups.Workload) ([][]byte, error) {
	requests := w.Requests(d)
	bodies := make([][]byte, len(requests))
	for i, entities := range requests {
		var err error
		if bodies[i], err = t.encode(w, entities); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// encodeStreamed writes a StreamFeaturesRequest: request = 1.
func encodeStreamed(w lookups.Workload, entities []int64) ([]byte, error) {
	request, err := w.Encode(entities)
	return appendBytes(nil, 1, request), err
}

// encodeFeast writes a GetOnlineFeaturesRequest: feature_service = 1, entities = 3 (a map from join key to values, of
// which int64_val = 4).
func encodeFeast(w lookups.Workload, entities []int64) ([]byte, error) {
	var values, entry []byte
	for _, entity := range entities {
		value := protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), uint64(entity))
		values = appendBytes(values, 1, value)
	}
	entry = appendBytes(entry, 1, []byte(lookups.JoinKey))
	entry = appendBytes(entry, 2, values)
	return appendBytes(appendBytes(nil, 1, []byte(lookups.ServiceName(w.Views))), 3, entry), nil
}

func appendBytes(to []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), value)
}

func encodeFloor(w lookups.Workload, entities []int64) ([]byte, error) {
	body := []byte{byte(w.Views)}
	for _, entity := range entities {
		body = binary.LittleEndian.AppendUint64(body, uint64(entity))
	}
	return body, nil
}

func encodeEcho(w lookups.Workload, _ []int64) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(nil, uint32(floorSize(w))), nil
}

// floorSize is the size of the floor's answers: 100 bytes a row.
func floorSize(w lookups.Workload) int { return 100 * w.Entities * w.Views }

func checkFloor(_ lookups.Dataset, w lookups.Workload, _ []int64, answer []byte) error {
	if len(answer) != floorSize(w) {
		return fmt.Errorf("answer of %d bytes, want %d", len(answer), floorSize(w))
	}
	return nil
}
