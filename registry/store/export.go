package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// The format of an export is in docs/format/registry.md.
const (
	exportFormat  = "provender registry"
	exportVersion = 1
)

// exportLine is one line: one of the three, and the sum of it and all before.
type exportLine struct {
	Header   json.RawMessage `json:"header,omitempty"`
	Revision json.RawMessage `json:"revision,omitempty"`
	End      json.RawMessage `json:"end,omitempty"`
	Sum      string          `json:"sum"`
}

type exportHeader struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Registry string `json:"registry"` // its id, for people: an import keeps its own
}

type exportRevision struct {
	Number      int64           `json:"number"`
	Digest      string          `json:"digest"`
	Applied     time.Time       `json:"applied"`
	By          string          `json:"by"`
	Commit      string          `json:"commit"`
	Tool        string          `json:"tool"`
	Summary     string          `json:"summary"`
	RollbackOf  int64           `json:"rollback_of,omitempty"`
	Definitions json.RawMessage `json:"definitions"`
	Plan        json.RawMessage `json:"plan,omitempty"`
}

type exportEnd struct {
	Revisions int64 `json:"revisions"`
}

// chain sums lines, each with all before it.
type chain [sha256.Size]byte

// next returns the sum of a line's content.
func (c *chain) next(content []byte) string {
	*c = sha256.Sum256(append(c[:], content...))
	return hex.EncodeToString(c[:])
}

// Export writes every revision that there is when it begins, with definitions and plan, and returns their number. What
// runs know of online stores is not part of it.
func (s *Store) Export(ctx context.Context, w io.Writer) (revisions int64, err error) {
	if err := s.db.Row(ctx, `SELECT coalesce(max(number), 0) FROM revision`).Scan(&revisions); err != nil {
		return 0, s.failure("read", err)
	}
	x := &exporter{w: w}
	x.line(exportHeader{exportFormat, exportVersion, s.id}, func(l *exportLine, raw []byte) { l.Header = raw })
	for number := int64(1); number <= revisions && x.err == nil; number++ {
		var r record
		err := r.scan(s.db.Row(ctx, everything+` WHERE number = $1`, number))
		if errors.Is(err, sql.ErrNoRows) || err == nil && !r.intact() {
			return 0, &problem.Error{
				Code: problem.Precondition, Message: "export registry " + s.db.Name() + ": revision " + itoa(number) + " is damaged or missing",
				Suggestion: "provender registry check tells everything that is wrong",
			}
		}
		if err != nil {
			return 0, s.failure("read", err)
		}
		x.line(r.export(), func(l *exportLine, raw []byte) { l.Revision = raw })
	}
	x.line(exportEnd{revisions}, func(l *exportLine, raw []byte) { l.End = raw })
	return revisions, x.err
}

// exporter writes lines until the first error.
type exporter struct {
	w   io.Writer
	sum chain
	err error
}

func (x *exporter) line(content any, put func(l *exportLine, raw []byte)) {
	if x.err != nil {
		return
	}
	var raw, out []byte
	if raw, x.err = encode(content); x.err != nil {
		return
	}
	l := exportLine{Sum: x.sum.next(raw)}
	put(&l, raw)
	if out, x.err = encode(l); x.err == nil {
		_, x.err = x.w.Write(append(out, '\n'))
	}
}

// encode writes JSON whose parts stay byte for byte what they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// export returns a revision as a line has it. Seals are sums of it: fields may be added where they are omitted if empty.
func (r *record) export() exportRevision {
	return exportRevision{r.Number, r.Digest, r.Applied, r.By, r.Commit, r.Tool, r.Summary, r.RollbackOf, r.definitions, r.Plan}
}

// record is the reverse of export; its error says what is wrong with the line.
func (l *exportRevision) record() (*record, error) {
	r := &record{
		Revision: registry.Revision{
			Number: l.Number, Digest: l.Digest, Applied: l.Applied.UTC(), By: l.By, Commit: l.Commit, Tool: l.Tool, Summary: l.Summary,
			RollbackOf: l.RollbackOf, Plan: l.Plan,
		},
		definitions: l.Definitions,
	}
	defs := new(registry.Definitions)
	switch err := strict(r.definitions, defs); {
	case err != nil:
		return nil, err
	case !defs.Complete():
		return nil, errors.New("a definition is null")
	case defs.Digest() != r.Digest:
		return nil, errors.New("its definitions are not those of its digest")
	}
	return r, nil
}
