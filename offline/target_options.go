package offline

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// defaultMemory is ExportRequest.Memory where it says nothing.
const defaultMemory = 512 << 20

// exportOptions is what a request asks of its output, defaults filled in.
type exportOptions struct {
	arrow       bool
	stream      bool   // an Arrow stream
	compression string // of Arrow
	codec       parquet.Codec
	groupRows   int
	memory      int64
}

func optionProblem(field, format string, args ...any) *problem.Error {
	e := problem.New(problem.Invalid, format, args...)
	e.Field = field
	return e
}

// options checks what does not depend on files. Errors name the good values.
func (req *ExportRequest) options() (exportOptions, error) {
	o := exportOptions{groupRows: req.GroupRows, memory: req.Memory}
	if o.groupRows == 0 {
		o.groupRows = groupRows
	}
	if o.memory == 0 {
		o.memory = defaultMemory
	}
	if req.Batches != nil {
		if req.Sent == nil || req.Out != "" {
			return o, errors.New("batches are for a spine that was sent, and no output")
		}
		o.arrow, o.codec = true, parquet.Uncompressed
	}
	switch {
	case req.Out == "" && req.Batches == nil:
		return o, optionProblem("out", "no output: name a file, or - for standard output")
	case req.Out == "-" && req.Stdout == nil:
		return o, optionProblem("out", "no standard output to write to: name a file")
	case req.Out == "-" && req.PartRows != 0:
		return o, optionProblem("part_rows", "parts make a folder: name one in place of -")
	case req.PartRows < 0:
		return o, optionProblem("part_rows", "parts of %d rows: want at least 1, or 0 for one file", req.PartRows)
	case req.GroupRows < 0:
		return o, optionProblem("group_rows", "row groups of %d rows: want at least 1, or 0 for %d", req.GroupRows, groupRows)
	case req.Memory < 0:
		return o, optionProblem("memory", "memory of %d bytes: want at least 1, or 0 for 512 MiB", req.Memory)
	}
	if extension := filepath.Ext(strings.TrimSuffix(strings.ToLower(req.Out), ".gz")); req.OutFormat == "" {
		switch extension {
		case ".csv", ".tsv", ".json", ".jsonl", ".ndjson":
			e := optionProblem("out", "an output is Parquet or Arrow, not %s", strings.ToUpper(extension[1:]))
			e.Suggestion = "name it .parquet or .arrow; pandas, Polars and DuckDB read both"
			return o, e
		}
	}
	if req.Batches != nil {
		return o, nil
	}
	switch format := outputFormat(req.Out, req.OutFormat); format {
	case Parquet:
	case Arrow, ArrowStream:
		o.arrow, o.stream = true, format == ArrowStream
	default:
		return o, optionProblem("out_format", "format %q of the output: want %s, %s or %s", format, Parquet, Arrow, ArrowStream)
	}
	return o, o.setCompression(req.Compression)
}

func (o *exportOptions) setCompression(name string) error {
	if o.arrow {
		good := []string{"none", "zstd", "lz4"}
		if name != "" && !slices.Contains(good, name) {
			return optionProblem("compression", "compression %q of Arrow: want %s", name, oneOf(good))
		}
		o.compression, o.codec = name, parquet.Uncompressed
		return nil
	}
	if name == "" {
		return nil
	}
	var ok bool
	if o.codec, ok = parquet.ParseCodec(name); !ok {
		return optionProblem("compression", "compression %q of Parquet: want %s", name, oneOf(parquet.CodecNames()))
	}
	return nil
}

// oneOf lists names: "a, b or c".
func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func (o *exportOptions) arrowOptions() arrowOptions {
	return arrowOptions{Stream: o.stream, Compression: o.compression, BatchRows: o.groupRows}
}

// extension is that of a part's name.
func (o *exportOptions) extension() string {
	if o.arrow {
		return ".arrow"
	}
	return ".parquet"
}

// tooManyGroups refuses row groups so small that a Parquet file can't number them.
func (o *exportOptions) tooManyGroups(rows, most int64) error {
	e := optionProblem("group_rows", "row groups of %d rows: a Parquet file of %d rows can have at most %d", o.groupRows, rows, most)
	e.Suggestion = fmt.Sprintf("want at least %d, or files of fewer rows (parts)", (rows+most-1)/most)
	return e
}
