// Package offline answers from history: training sets with their manifests, and single lookups at an instant.
package offline

import (
	"cmp"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

// SpineOptions say how the spine's time column is read (R1).
type SpineOptions struct {
	Time     string          // the column
	Unit     string          // for integers: s, ms, us, ns; "" makes an integer column an error
	Location *time.Location  // for naive timestamps; nil: UTC
	At       registry.DayEnd // for DATE columns; "" makes them an error
}

// SpineLimits bound what a spine may ask for; 0 is the default.
type SpineLimits struct {
	SpineRows    int64 // default 100,000,000
	SpineColumns int64 // with the fields of nested ones; default 32,768
	CSVRecord    int64 // bytes of a record; default 64 MiB
	ArrowBatch   int64 // bytes of a record batch, with what is made of it; default 4 GiB
}

func (l SpineLimits) withDefaults() SpineLimits {
	l.SpineRows = cmp.Or(l.SpineRows, 100_000_000)
	l.SpineColumns = cmp.Or(l.SpineColumns, 32_768)
	l.CSVRecord = cmp.Or(l.CSVRecord, 64<<20)
	l.ArrowBatch = cmp.Or(l.ArrowBatch, 4<<30)
	return l
}

// Format is a file format of spines and outputs.
type Format string

// The formats. As a spine's, Arrow is an IPC file or stream, whichever the bytes are.
const (
	Parquet     Format = "parquet"
	CSV         Format = "csv" // spines only
	Arrow       Format = "arrow"
	ArrowStream Format = "arrow-stream" // outputs only
	ArrowFlight Format = "arrow-flight" // of what is sent over Arrow Flight, in manifests
)

// ExportRequest is one training set.
type ExportRequest struct {
	Service  *registry.Service
	Snapshot *registry.Snapshot
	Source   *source.Files
	// Inputs, where not nil, are the files of each read of the service, in place of those that its source has now.
	Inputs [][]source.File
	Spine  string // path of a local file, or URL of an object (s3://bucket/key)
	// Sent, where not nil, is the spine, in place of Spine. The export takes its file.
	Sent *SentSpine
	// SpineFormat is the spine's; "" goes by the name: .csv, .csv.gz and .tsv, .arrow, .feather and .ipc, all else Parquet.
	SpineFormat Format
	SpineOptions
	Out    string    // path or URL; the manifest goes beside it as OUT.manifest.json. "-": Stdout, and no manifest
	Stdout io.Writer // for Out "-"
	// Batches, where not nil, takes the rows of an export of Sent, in place of Out. The manifest is in the report.
	Batches Batches
	// OutFormat is the output's; "" goes by the name: .arrow, .feather and .ipc an Arrow file, "-" an Arrow stream, all else
	// Parquet.
	OutFormat   Format
	Compression string // of Parquet: zstd (default), snappy, gzip, lz4 (LZ4_RAW), none; of Arrow: zstd, lz4, none (default)
	// GroupRows is the greatest number of rows in a row group or an Arrow batch; default 122,880.
	GroupRows int
	// PartRows, where not 0, makes Out a folder of part-00000.parquet, … of so many rows each, the last one fewer.
	PartRows int64
	Memory   int64 // bytes that gathered and encoded features may take before they go to a temporary file; default 512 MiB
	Limits   parquet.Limits
	SpineLimits
	Tool     string         // Provender's version, for the manifest
	Commit   string         // Git commit of the definitions, for the manifest, "" if not known
	Workers  int            // default GOMAXPROCS
	Progress func(Progress) // may be nil; one call at a time

	// accept, where not nil, sees the output's files before they get their names; its error ends the export.
	accept func([]written) error
}

// Batches takes the rows of an export as Arrow, in their order. An error ends the export.
type Batches interface {
	// Begin is called once, before the first rows.
	Begin(schema *arrow.Schema) error
	// Write takes some rows, which are valid during the call.
	Write(rows arrow.RecordBatch) error
}

// Progress is how far an export is.
type Progress struct {
	Stage      string // "airport_hourly as origin", "write"
	Done, Size int64  // rows; Size is a guess until all files are open, 0: not known
	// Part is how much of the whole export is done, from 0 to 1: what an estimate of the time left goes by.
	Part float64
}

// ExportReport is what an export did: what the summary prints and the manifest holds.
type ExportReport struct {
	Rows     int64
	Bytes    int64 // of the output
	Features []FeatureCounts
	Reads    []ReadReport // per read of the service
	Took     time.Duration
	Manifest string // path or URL, "" for none; its JSON where the rows went to Batches
	Warnings []Warning
}

// FeatureCounts counts the cells of one output by status.
type FeatureCounts struct {
	Name                             string
	Present, Null, Expired, NotFound int64
}

// ReadReport is how one read of a service answered the spine.
type ReadReport struct {
	Name                       string // "airport_hourly as origin"
	Present, Expired, NotFound int64  // spine rows
	// Newest and Oldest are the least and the greatest age of the Present rows: spine time less event time, microseconds.
	// Both 0 where no row is Present.
	Newest, Oldest int64
	Stats          asof.Stats
}
