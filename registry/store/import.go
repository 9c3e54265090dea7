package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/provender-dev/provender/internal/database"
	"github.com/provender-dev/provender/internal/failpoint"
	"github.com/provender-dev/provender/internal/problem"
)

// maxImportLine bounds a line of an export: one revision with its definitions and its plan.
const maxImportLine = 256 << 20

// Import adds the revisions of an export that the registry lacks, all or none, and returns how many the export has and how
// many of them were added. Numbers, times and digests stay. Conflict where the registry has others under the same numbers;
// Invalid, with the line, for what is no export, or not as it was written.
func (s *Store) Import(ctx context.Context, r io.Reader) (revisions, added int64, err error) {
	err = s.db.Try(ctx, func(ctx context.Context, tx *database.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE registry SET id = id`); err != nil { // as Append
			return err
		}
		in := &importer{in: bufio.NewReaderSize(r, 1<<16), tx: tx}
		if err := tx.Row(ctx, `SELECT coalesce(max(number), 0) FROM revision`).Scan(&in.there); err != nil {
			return err
		}
		for !in.ended {
			if err := in.line(ctx); err != nil {
				return err
			}
		}
		if err := in.nothingMore(); err != nil {
			return err
		}
		revisions, added = in.revisions, max(in.revisions-in.there, 0)
		return failpoint.Hit(failpoint.ApplyBeforeCommit)
	})
	if err != nil {
		return 0, 0, s.failure("import into", err)
	}
	return revisions, added, nil
}

// importer reads an export line by line into a transaction.
type importer struct {
	in    *bufio.Reader
	tx    *database.Tx
	there int64 // revisions that the registry has

	lines, revisions int64 // read so far
	sum              chain
	ended            bool
}

// wrong is the error of the line that was read last.
func (i *importer) wrong(format string, args ...any) error {
	return problem.New(problem.Invalid, "line %d: %w; nothing was imported", i.lines, fmt.Errorf(format, args...))
}

func (i *importer) line(ctx context.Context) error {
	raw, err := i.read()
	if err != nil {
		return err
	}
	var l exportLine
	if err := strict(raw, &l); err != nil {
		if i.lines == 1 {
			return i.wrong("this is no export of a registry: %w", err)
		}
		return i.wrong("%w", err)
	}
	content := l.Header
	for _, part := range []json.RawMessage{l.Revision, l.End} {
		if part != nil && content != nil {
			return i.wrong("it is two things at once")
		}
		if part != nil {
			content = part
		}
	}
	switch {
	case (l.Header != nil) != (i.lines == 1):
		return i.wrong("an export of a registry begins with a header, and has one")
	case content == nil:
		return i.wrong("it is neither a revision nor the end")
	}
	// The format's version first: what another one means by a sum is not known.
	if l.Header != nil {
		if err := i.header(l.Header); err != nil {
			return err
		}
	}
	// Decoding is lenient, on the case of names for one; what was written has one form.
	same, err := encode(l)
	if err != nil || i.sum.next(content) != l.Sum || !bytes.Equal(append(same, '\n'), raw) {
		return i.wrong("the line was changed, or one before it is missing")
	}
	switch {
	case l.Revision != nil:
		return i.revision(ctx, l.Revision)
	case l.End != nil:
		return i.end(l.End)
	}
	return nil
}

// read returns the next line.
func (i *importer) read() ([]byte, error) {
	i.lines++
	var line []byte
	for {
		part, err := i.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxImportLine:
			return nil, i.wrong("it is longer than %d bytes", maxImportLine)
		case errors.Is(err, io.EOF) && len(line) == 0 && i.lines == 1:
			return nil, i.wrong("the file is empty")
		case errors.Is(err, io.EOF):
			return nil, i.wrong("the file is cut short")
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, i.wrong("%w", err)
		}
	}
}

func (i *importer) nothingMore() error {
	if _, err := i.in.ReadByte(); errors.Is(err, io.EOF) {
		return nil
	}
	i.lines++
	return i.wrong("something follows the end")
}

func (i *importer) header(raw json.RawMessage) error {
	var h exportHeader
	if err := json.Unmarshal(raw, &h); err != nil || h.Format != exportFormat {
		return i.wrong("this is no export of a registry")
	}
	if h.Version != exportVersion {
		return i.wrong("the export has format version %d, this Provender knows %d", h.Version, exportVersion)
	}
	return nil
}

// revision adds a revision, or compares it with the one that is there.
func (i *importer) revision(ctx context.Context, raw json.RawMessage) error {
	i.revisions++
	var l exportRevision
	if err := strict(raw, &l); err != nil {
		return i.wrong("%w", err)
	}
	if l.Number != i.revisions {
		return i.wrong("revision %d stands where %d is due", l.Number, i.revisions)
	}
	r, err := l.record()
	if err != nil {
		return i.wrong("revision %d: %w", l.Number, err)
	}
	if r.Number > i.there {
		return insert(ctx, i.tx, &r.Revision, r.definitions)
	}
	var have record
	err = have.scan(i.tx.Row(ctx, everything+` WHERE number = $1`, r.Number))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err != nil || !have.equal(r) {
		return &problem.Error{
			Code:       problem.Conflict,
			Message:    fmt.Sprintf("line %d: the registry has another revision %d than the file; nothing was imported", i.lines, r.Number),
			Suggestion: "import into an empty registry, or into one that has the beginning of the same history",
		}
	}
	return nil
}

func (i *importer) end(raw json.RawMessage) error {
	var e exportEnd
	if err := strict(raw, &e); err != nil {
		return i.wrong("%w", err)
	}
	if e.Revisions != i.revisions {
		return i.wrong("%d revisions were written, %d are here", e.Revisions, i.revisions)
	}
	i.ended = true
	return nil
}

// equal reports whether two records are of the same apply.
func (r *record) equal(other *record) bool {
	return r.Digest == other.Digest && r.Applied.Equal(other.Applied) && r.By == other.By && r.Commit == other.Commit && r.Tool == other.Tool &&
		r.Summary == other.Summary && r.RollbackOf == other.RollbackOf && bytes.Equal(r.definitions, other.definitions) && bytes.Equal(r.Plan, other.Plan)
}

// strict decodes one JSON value whose fields are all known.
func strict(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value on a line")
	}
	return nil
}
