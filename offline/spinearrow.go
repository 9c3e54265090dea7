package offline

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

const (
	// arrowMemory is the most that a record batch of a spine may take, with what is made of it.
	arrowMemory = 4 << 30
	// A small file may not take as much: no codec expands by more than arrowExpansion, but for what is small anyway.
	arrowExpansion, arrowFloor = 1 << 16, 256 << 20
	// arrowRows is the rows that are converted at once; fewer where what they decode to is more than arrowBytes.
	arrowRows  = 32_768
	arrowBytes = 64 << 20
)

// convertArrow writes the record batches of an Arrow IPC file or stream as Parquet. Columns keep their values; what
// Parquet has no type for (dictionaries, views, durations) is in the Parquet's ARROW:schema.
func (s *spine) convertArrow(ctx context.Context, opts SpineOptions, keys []registry.RequestKey) (made spineParquet, err error) {
	// The bytes are the user's, and Arrow's library panics over some.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
			if cause, ok := r.(error); ok {
				err = fmt.Errorf("%w", cause)
			}
		}
		var known *problem.Error
		if err != nil && !errors.As(err, &known) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			err = s.arrowProblem(err)
		}
	}()
	mem := &boundedAllocator{limit: min(arrowMemory, arrowFloor+min(s.size(), arrowMemory)*arrowExpansion)}
	batches, err := openArrow(io.NewSectionReader(s.file, 0, s.size()), mem)
	if err != nil {
		return spineParquet{}, err
	}
	defer batches.close()
	original := batches.schema()
	if err := s.checkArrow(original, opts, keys); err != nil {
		return spineParquet{}, err
	}
	p, err := newArrowPlainer(original, mem)
	if err != nil {
		return spineParquet{}, err
	}
	temp, err := newSpineTemp(p.schema, original)
	if err != nil {
		return spineParquet{}, err
	}
	defer func() {
		if made.File == nil {
			err = errors.Join(err, temp.file.Close())
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return spineParquet{}, err
		}
		batch, err := batches.next()
		if errors.Is(err, io.EOF) {
			return temp.finish()
		}
		if err != nil {
			return spineParquet{}, err
		}
		for lo := int64(0); lo < batch.NumRows(); lo += arrowRows {
			if err := p.write(ctx, temp, batch, lo, min(lo+arrowRows, batch.NumRows())); err != nil {
				return spineParquet{}, err
			}
		}
	}
}

func (s *spine) arrowProblem(err error) error {
	e := problem.New(problem.Invalid, "spine %s: %w", s.path, err)
	e.Field, e.Suggestion = "spine", "is it a whole Arrow IPC file or stream? write it again"
	var limit *arrowLimitError
	if errors.As(err, &limit) {
		e.Code, e.Suggestion = problem.Exhausted, "write smaller record batches: max_chunksize in pyarrow"
	}
	var column *arrowColumnError
	if errors.As(err, &column) {
		e.Suggestion = column.fix
	}
	return e
}

// checkArrow looks for what the export needs before rows are read: no number of rows is believed that the time column
// has no bytes for.
func (s *spine) checkArrow(schema *arrow.Schema, opts SpineOptions, keys []registry.RequestKey) error {
	names := make([]string, schema.NumFields())
	for i, f := range schema.Fields() {
		if slices.Contains(names[:i], f.Name) {
			return &arrowColumnError{f.Name, "there are two of this name", "give every column a name of its own"}
		}
		names[i] = f.Name
	}
	find := func(what, name string) error {
		at := slices.Index(names, name)
		if at < 0 {
			sorted := slices.Sorted(slices.Values(names))
			e := problem.New(problem.Invalid, "spine %s has no %s column %q; it has %s", s.path, what, name, strings.Join(sorted, ", "))
			e.Field, e.Suggestion = "spine", diag.Suggest(name, sorted)
			return e
		}
		if schema.Field(at).Type.ID() == arrow.NULL && what == "time" {
			return &arrowColumnError{name, "is null in every row", "every row of a spine needs a time"}
		}
		return nil
	}
	if err := find("time", opts.Time); err != nil {
		return err
	}
	for _, key := range keys {
		if err := find("key", key.Name); err != nil {
			return err
		}
	}
	return nil
}

// arrowBatches reads the record batches of an Arrow IPC file or stream.
type arrowBatches interface {
	schema() *arrow.Schema
	// next returns the next batch, valid until the call after; io.EOF after the last.
	next() (arrow.RecordBatch, error)
	close()
}

func openArrow(r *io.SectionReader, mem *boundedAllocator) (arrowBatches, error) {
	head := make([]byte, 8)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("FEA1")):
		return nil, errors.New("it is Feather version 1; write version 2")
	case bytes.HasPrefix(head, []byte("PAR1")):
		return nil, errors.New("it is a Parquet file; say --spine-format parquet")
	case n < 8:
		return nil, errors.New("it is too short")
	case bytes.HasPrefix(head, ipc.Magic):
		if err := checkArrowFile(r); err != nil {
			return nil, err
		}
		file, err := ipc.NewFileReader(r, ipc.WithAllocator(mem), ipc.WithBodySizeLimit(arrowMemory))
		if err != nil {
			return nil, err
		}
		return &arrowFile{file: file}, nil
	}
	s := &arrowStream{messages: &arrowMessages{in: bufio.NewReaderSize(r, 1<<16), left: r.Size(), mem: mem}}
	if s.reader, err = ipc.NewReaderFromMessageReader(s.messages, ipc.WithAllocator(mem)); err != nil {
		return nil, err
	}
	return s, nil
}

// arrowFile is the batches of a file.
type arrowFile struct {
	file *ipc.FileReader
	at   int
}

func (f *arrowFile) schema() *arrow.Schema { return f.file.Schema() }

func (f *arrowFile) next() (arrow.RecordBatch, error) {
	if f.at == f.file.NumRecords() {
		return nil, io.EOF
	}
	f.at++
	return f.file.RecordBatch(f.at - 1)
}

func (f *arrowFile) close() { _ = f.file.Close() }

// arrowStream is the batches of a stream.
type arrowStream struct {
	messages *arrowMessages
	reader   *ipc.Reader
}

func (s *arrowStream) schema() *arrow.Schema { return s.reader.Schema() }

func (s *arrowStream) next() (arrow.RecordBatch, error) {
	if s.reader.Next() {
		return s.reader.RecordBatch(), nil
	}
	switch err := s.reader.Err(); {
	case err != nil:
		return nil, err
	case !s.messages.ended:
		return nil, errCutShort
	case s.messages.left > 0:
		return nil, errors.New("there are bytes behind the end of the stream; are several streams in one file?")
	}
	return nil, io.EOF
}

func (s *arrowStream) close() { s.reader.Release() }

// boundedAllocator is Go's memory with a limit on how much is in use. Its breach is a panic, as the interface has no
// errors. Not safe for concurrent use.
type boundedAllocator struct {
	memory.GoAllocator
	used, limit int64
}

type arrowLimitError struct{ bytes, limit int64 }

func (e *arrowLimitError) Error() string {
	return fmt.Sprintf("a record batch takes %d bytes, over the limit of %d (Arrow batch bytes)", e.bytes, e.limit)
}

func (a *boundedAllocator) take(n int64) {
	if n > a.limit-a.used {
		panic(&arrowLimitError{a.used + n, a.limit})
	}
	a.used += n
}

// Allocate is part of memory.Allocator, as what follows.
func (a *boundedAllocator) Allocate(size int) []byte {
	a.take(int64(size))
	return a.GoAllocator.Allocate(size)
}

// Reallocate grows or shrinks b, keeping what it holds.
func (a *boundedAllocator) Reallocate(size int, b []byte) []byte {
	a.take(int64(size) - int64(len(b)))
	return a.GoAllocator.Reallocate(size, b)
}

// Free gives b back.
func (a *boundedAllocator) Free(b []byte) {
	a.used -= int64(len(b))
	a.GoAllocator.Free(b)
}
