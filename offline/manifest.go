package offline

import (
	"encoding/json"
	"math"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/registry"
)

// manifestVersion changes when a field changes its meaning; new fields do not change it.
const manifestVersion = 1

// manifest is OUT.manifest.json: where a training set comes from. docs/reference/manifest.md explains every field.
type manifest struct {
	Version     int               `json:"version"`
	Provender   string            `json:"provender,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	Seconds     float64           `json:"seconds"`
	Revision    int64             `json:"revision"`
	Definitions string            `json:"definitions"`
	Service     string            `json:"service,omitempty"`
	Output      manifestOutput    `json:"output"`
	Spine       manifestSpine     `json:"spine"`
	Features    []manifestFeature `json:"features"`
	Views       []manifestView    `json:"views"`
}

type manifestOutput struct {
	Path   string `json:"path"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type manifestSpine struct {
	manifestOutput
	Time     string `json:"time"`
	Unit     string `json:"time_unit,omitempty"`
	Timezone string `json:"timezone"`
	At       string `json:"time_at,omitempty"`
}

type manifestFeature struct {
	Name     string          `json:"name"`
	Feature  string          `json:"feature"`
	Read     int             `json:"read"`
	Type     columnar.Type   `json:"type"`
	Default  json.RawMessage `json:"default,omitempty"`
	Present  int64           `json:"present"`
	Null     int64           `json:"null"`
	Expired  int64           `json:"expired"`
	NotFound int64           `json:"not_found"`
}

type manifestView struct {
	View        string            `json:"view"`
	Keys        map[string]string `json:"keys"`
	TTL         string            `json:"ttl,omitempty"`
	RowsRead    int64             `json:"rows_read"`
	RowsSkipped int64             `json:"rows_skipped"`
	NullKeys    int64             `json:"null_keys"`
	Ties        int64             `json:"ties"`
	NewestEvent string            `json:"newest_event,omitempty"`
	Files       []manifestFile    `json:"files"`
}

type manifestFile struct {
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
	Identity string `json:"identity"`
}

// manifest describes a written export; spineSum and outSum are the digests of the two files.
func (e *export) manifest(spineSum, outSum string, start time.Time) *manifest {
	service := e.req.Service
	m := &manifest{
		Version:     manifestVersion,
		Provender:   e.req.Tool,
		CreatedAt:   start.UTC().Truncate(time.Second),
		Seconds:     math.Round(time.Since(start).Seconds()*1000) / 1000,
		Revision:    e.req.Snapshot.Revision,
		Definitions: e.req.Snapshot.Digest,
		Service:     service.Name,
		Output:      manifestOutput{Path: e.req.Out, Rows: e.rows, Bytes: e.bytes, SHA256: outSum},
		Spine: manifestSpine{
			manifestOutput: manifestOutput{Path: e.req.Spine, Rows: e.rows, Bytes: e.spine.size(), SHA256: spineSum},
			Time:           e.req.Time,
			Unit:           e.req.Unit,
			Timezone:       "UTC",
			At:             string(e.req.At),
		},
		Features: make([]manifestFeature, len(service.Outputs)),
		Views:    make([]manifestView, len(service.Reads)),
	}
	if e.req.Location != nil {
		m.Spine.Timezone = e.req.Location.String()
	}
	for i, output := range service.Outputs {
		view := service.Reads[output.Read].View
		feature, counts := view.Features[output.Feature], e.counts[i]
		m.Features[i] = manifestFeature{
			Name: output.Name, Feature: view.Name + ":" + feature.Name, Read: output.Read, Type: feature.Type, Default: feature.Default,
			Present: counts.Present, Null: counts.Null, Expired: counts.Expired, NotFound: counts.NotFound,
		}
	}
	for i, read := range service.Reads {
		stats := e.answer.results[i].Stats
		v := manifestView{
			View: read.View.Name, Keys: map[string]string{},
			RowsRead: stats.RowsRead, RowsSkipped: stats.RowsSkipped, NullKeys: stats.NullKeys, Ties: stats.Ties,
			Files: make([]manifestFile, len(e.answer.inputs[i])),
		}
		if read.View.TTL > 0 {
			v.TTL = registry.FormatDuration(read.View.TTL)
		}
		if stats.NewestEvent != math.MinInt64 {
			v.NewestEvent = string(columnar.AppendTimestamp(nil, stats.NewestEvent))
		}
		for k, key := range read.View.KeyColumns {
			v.Keys[key.Name] = service.RequestKeys[read.Binding[k]].Name
		}
		for f, file := range e.answer.inputs[i] {
			v.Files[f] = manifestFile{Path: file.Path, Bytes: file.Size, Identity: file.Identity}
		}
		m.Views[i] = v
	}
	return m
}

func (m *manifest) write(o *output) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return outputProblem(o.path, err)
	}
	_, err = o.Write(append(b, '\n'))
	return err
}
