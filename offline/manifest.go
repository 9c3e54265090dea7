package offline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
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
	Commit      string            `json:"commit,omitempty"`
	Service     string            `json:"service,omitempty"`
	Output      manifestOutput    `json:"output"`
	Spine       manifestSpine     `json:"spine"`
	Features    []manifestFeature `json:"features"`
	Views       []manifestView    `json:"views"`
}

// written is a finished file: an output, one part of it, or a spine.
type written struct {
	Path   string `json:"path"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
}

// manifestOutput is what was written, and the options that decide its bytes. Of an output in parts the digests are the
// parts', and their paths are within its folder.
type manifestOutput struct {
	written
	Format      Format    `json:"format,omitempty"` // absent in the first manifests: Parquet
	Compression string    `json:"compression,omitempty"`
	GroupRows   int       `json:"row_group_rows,omitempty"`
	PartRows    int64     `json:"part_rows,omitempty"`
	Parts       []written `json:"parts,omitempty"`
}

type manifestSpine struct {
	written
	Format   Format `json:"format,omitempty"`
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
	Present     int64             `json:"present"`
	Expired     int64             `json:"expired"`
	NotFound    int64             `json:"not_found"`
	NewestAge   *float64          `json:"newest_age_seconds,omitempty"` // nil where no row was found
	OldestAge   *float64          `json:"oldest_age_seconds,omitempty"`
	Files       []manifestFile    `json:"files"`
}

type manifestFile struct {
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
	Identity string `json:"identity"`
	Footer   string `json:"footer,omitempty"` // digest of its footer, "" where it was not read
}

// manifest describes an export whose output is files: one, or its parts.
func (e *export) manifest(spineSum string, files []written, start time.Time) *manifest {
	service := e.req.Service
	out := manifestOutput{
		written: written{Path: e.req.Out}, Format: outputFormat(e.req.Out, e.req.OutFormat),
		Compression: e.req.Compression, GroupRows: cmp.Or(e.req.GroupRows, groupRows), PartRows: e.req.PartRows,
	}
	switch {
	case e.req.Batches != nil:
		out.Format, out.GroupRows = ArrowFlight, 0
	case out.Compression == "":
		out.Compression = defaultCompression(out.Format)
	}
	if e.req.PartRows > 0 {
		out.Parts = files
	} else {
		out.SHA256 = files[0].SHA256
	}
	for _, f := range files {
		out.Rows, out.Bytes = out.Rows+f.Rows, out.Bytes+f.Bytes
	}
	m := &manifest{
		Version:     manifestVersion,
		Provender:   e.req.Tool,
		CreatedAt:   start.UTC().Truncate(time.Second),
		Seconds:     math.Round(time.Since(start).Seconds()*1000) / 1000,
		Revision:    e.req.Snapshot.Revision,
		Definitions: e.req.Snapshot.Digest,
		Commit:      e.req.Commit,
		Service:     service.Name,
		Output:      out,
		Spine: manifestSpine{
			written:  written{Path: e.req.Spine, Rows: out.Rows, Bytes: e.spine.size(), SHA256: spineSum},
			Format:   e.spine.format,
			Time:     e.req.Time,
			Unit:     e.req.Unit,
			Timezone: "UTC",
			At:       string(e.req.At),
		},
		Features: make([]manifestFeature, len(service.Outputs)),
		Views:    make([]manifestView, len(service.Reads)),
	}
	if e.req.Sent != nil {
		m.Spine.Format = ArrowFlight
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
		result, report := e.answer.results[i], e.reads[i]
		stats := result.Stats
		v := manifestView{
			View: read.View.Name, Keys: map[string]string{},
			RowsRead: stats.RowsRead, RowsSkipped: stats.RowsSkipped, NullKeys: stats.NullKeys, Ties: stats.Ties,
			Present: report.Present, Expired: report.Expired, NotFound: report.NotFound,
			Files: make([]manifestFile, len(e.answer.inputs[i])),
		}
		if report.Present > 0 {
			newest, oldest := float64(report.Newest)/1e6, float64(report.Oldest)/1e6
			v.NewestAge, v.OldestAge = &newest, &oldest
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
			if result.Footers != nil {
				v.Files[f].Footer = footerText(result.Footers[f])
			}
		}
		m.Views[i] = v
	}
	return m
}

// footerText writes the digest of a footer.
func footerText(digest uint64) string { return fmt.Sprintf("%016x", digest) }

// outputFormat returns an output's format, which goes by its name where it is "".
func outputFormat(path string, format Format) Format {
	if format != "" {
		return format
	}
	if path == "-" {
		return ArrowStream
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".arrow", ".feather", ".ipc":
		return Arrow
	}
	return Parquet
}

func defaultCompression(format Format) string {
	if format == Parquet {
		return "zstd"
	}
	return "none"
}

func (m *manifest) write(o *output) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return outputProblem(o.path, err)
	}
	_, err = o.Write(append(b, '\n'))
	return err
}
