package offline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"github.com/provender-dev/provender/internal/problem"
)

// csvCell is a field of a record. Without quotes, an empty one is a null.
type csvCell struct {
	text   []byte
	quoted bool
}

func (c csvCell) null() bool { return len(c.text) == 0 && !c.quoted }

// csvReader reads the records of a CSV file as RFC 4180 has them: UTF-8 with or without a byte order mark, lines that
// end in LF or CRLF, quotes doubled inside quotes. Every record has as many fields as the header, whose names are
// not empty and differ. Errors tell line and column, both from 1, columns in characters. Compression by gzip is seen
// by the bytes.
type csvReader struct {
	spine  string // its name in messages
	comma  byte
	in     *bufio.Reader
	packed bool
	limits SpineLimits
	header []string

	line  int // of the file, where the record begins
	lines int // begun so far
	cells []csvCell
	long  []byte // a line longer than in's buffer
	text  []byte // of the cells of a record with quotes
	spans []csvSpan
}

// csvSpan is where a cell lies in the text of its record.
type csvSpan struct {
	start, end int
	quoted     bool
}

// csvError is a flaw of a CSV file.
type csvError struct {
	line, column int // column 0: the whole line
	what, fix    string
	limit        bool // it meets a limit
}

func newCSVReader(spine string, comma byte, r io.Reader, limits SpineLimits) (*csvReader, error) {
	c := &csvReader{spine: spine, comma: comma, in: bufio.NewReaderSize(r, 1<<18), limits: limits}
	if head, _ := c.in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		c.packed = true
		unpacked, err := gzip.NewReader(c.in)
		if err != nil {
			return nil, c.unreadable(err)
		}
		c.in = bufio.NewReaderSize(unpacked, 1<<18)
	}
	if err := c.sniff(); err != nil {
		return nil, err
	}
	return c, c.readHeader()
}

// sniff passes over a byte order mark and refuses what is plainly something else.
func (c *csvReader) sniff() error {
	head, err := c.in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.unreadable(err)
	}
	if len(head) == 0 {
		return c.failure(csvError{line: 1, what: "the file is empty", fix: "a CSV spine begins with a line of column names"})
	}
	for _, other := range []struct{ magic, what, fix string }{
		{"PAR1", "is a Parquet file", "say --spine-format parquet"},
		{"ARROW1", "is an Arrow file", "say --spine-format arrow"},
		{"PK\x03\x04", "is a ZIP archive or an Excel workbook", "save it as CSV in UTF-8"},
		{"\xff\xfe", "is UTF-16", "save it as CSV in UTF-8"},
		{"\xfe\xff", "is UTF-16", "save it as CSV in UTF-8"},
	} {
		if bytes.HasPrefix(head, []byte(other.magic)) {
			return &problem.Error{
				Code: problem.Invalid, Message: fmt.Sprintf("%s %s, not CSV", c.spine, other.what), Field: "spine", Suggestion: other.fix,
			}
		}
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		_, err = c.in.Discard(3)
	} else {
		err = nil
	}
	return err
}

func (c *csvReader) readHeader() error {
	cells, err := c.record()
	if errors.Is(err, io.EOF) {
		return c.failure(csvError{line: 1, what: "there is no header", fix: "a CSV spine begins with a line of column names"})
	}
	if err != nil {
		return err
	}
	seen := make(map[string]int, len(cells))
	for i, cell := range cells {
		name := string(cell.text)
		if name == "" {
			return c.failure(csvError{
				line: c.line, what: fmt.Sprintf("column %d has no name", i+1), fix: "give every column of the header a name",
			})
		}
		if first, twice := seen[name]; twice {
			return c.failure(csvError{
				line: c.line, what: fmt.Sprintf("columns %d and %d are both named %q", first+1, i+1, name), fix: "give every column a name of its own",
			})
		}
		seen[name] = i
		c.header = append(c.header, name)
	}
	return nil
}

// next returns the next record, one cell per column, valid until the call after; io.EOF after the last. Empty lines
// are passed over, unless the file has one column, where they are nulls.
func (c *csvReader) next() ([]csvCell, error) {
	for {
		cells, err := c.record()
		if err != nil {
			return nil, err
		}
		if len(cells) == len(c.header) {
			return cells, nil
		}
		if len(cells) == 1 && cells[0].null() {
			continue
		}
		return nil, c.failure(csvError{
			line: c.line, what: fmt.Sprintf("%d fields, where the header has %d", len(cells), len(c.header)),
			fix: "quote fields that contain separators, and keep empty ones",
		})
	}
}

// record reads a record of at most as many fields as the header.
func (c *csvReader) record() ([]csvCell, error) {
	line, err := c.readLine()
	if err != nil {
		return nil, err
	}
	c.line = c.lines
	c.cells = c.cells[:0]
	if bytes.IndexByte(line, '"') >= 0 {
		err := c.quoted(line)
		return c.cells, err
	}
	line = trimEOL(line)
	if at := bytes.IndexByte(line, '\r'); at >= 0 {
		return nil, c.lonelyCR(line, at)
	}
	for {
		at := bytes.IndexByte(line, c.comma)
		if at < 0 {
			c.cells = append(c.cells, csvCell{text: line})
			return c.cells, nil
		}
		c.cells = append(c.cells, csvCell{text: line[:at]})
		if err := c.room(len(c.cells)); err != nil {
			return nil, err
		}
		line = line[at+1:]
	}
}

// room fails where a record goes on behind its first n fields, and may not.
func (c *csvReader) room(n int) error {
	switch {
	case c.header == nil && int64(n) == c.limits.SpineColumns:
		return c.failure(csvError{
			line: c.line, what: fmt.Sprintf("more columns than the limit of %d (limits.spine_columns)", n), limit: true,
			fix: "leave out columns that the training set does not need, or raise the limit",
		})
	case c.header != nil && n == len(c.header):
		return c.failure(csvError{
			line: c.line, what: fmt.Sprintf("more fields than the %d of the header", n), fix: "quote fields that contain separators",
		})
	}
	return nil
}

// quoted splits a record with quotes in its first line into cells, reading further lines where quotes span them.
func (c *csvReader) quoted(line []byte) error {
	c.text, c.spans = c.text[:0], c.spans[:0]
	for at := 0; ; at++ {
		span := csvSpan{start: len(c.text), quoted: at < len(line) && line[at] == '"'}
		var err error
		if span.quoted {
			line, at, err = c.unquote(line, at+1)
		} else {
			at, err = c.plain(line, at)
		}
		if err != nil {
			return err
		}
		span.end = len(c.text)
		c.spans = append(c.spans, span)
		if at == len(trimEOL(line)) {
			break
		}
		if err := c.room(len(c.spans)); err != nil {
			return err
		}
	}
	for _, span := range c.spans {
		c.cells = append(c.cells, csvCell{c.text[span.start:span.end], span.quoted})
	}
	return nil
}

// plain copies the field without quotes that begins at at, and returns where it ends.
func (c *csvReader) plain(line []byte, at int) (int, error) {
	field := trimEOL(line)[at:]
	if end := bytes.IndexByte(field, c.comma); end >= 0 {
		field = field[:end]
	}
	if flaw := bytes.IndexByte(field, '"'); flaw >= 0 {
		return 0, c.failure(csvError{
			line: c.lines, column: characters(line, at+flaw), what: "a quote inside a field that does not begin with one",
			fix: "put the whole field in quotes and double the quotes in it",
		})
	}
	if flaw := bytes.IndexByte(field, '\r'); flaw >= 0 {
		return 0, c.lonelyCR(line, at+flaw)
	}
	c.text = append(c.text, field...)
	return at + len(field), nil
}

// unquote copies the field whose opening quote is before at. It returns the line on which the closing one is and what
// follows it.
func (c *csvReader) unquote(line []byte, at int) ([]byte, int, error) {
	open := csvError{
		line: c.lines, column: characters(line, at-1), what: "a quote that is not closed",
		fix: "close it; a quote in a quoted field is written twice",
	}
	for {
		end := bytes.IndexByte(line[at:], '"')
		if end < 0 {
			c.text = append(c.text, line[at:]...)
			if int64(len(c.text)) > c.limits.CSVRecord {
				open.what = fmt.Sprintf("a quote that is not closed within a record of %d bytes (limits.csv_record)", c.limits.CSVRecord)
				open.fix, open.limit = open.fix+"; else raise the limit", true
				return nil, 0, c.failure(open)
			}
			var err error
			if line, err = c.readLine(); errors.Is(err, io.EOF) {
				err = c.failure(open)
			}
			if err != nil {
				return nil, 0, err
			}
			at = 0
			continue
		}
		c.text = append(c.text, line[at:at+end]...)
		at += end + 1
		rest := trimEOL(line)[at:]
		switch {
		case len(rest) == 0 || rest[0] == c.comma:
			return line, at, nil
		case rest[0] == '"':
			c.text = append(c.text, '"')
			at++
		default:
			return nil, 0, c.failure(csvError{
				line: c.lines, column: characters(line, at), what: "text after a closing quote",
				fix: "a quote in a quoted field is written twice",
			})
		}
	}
}

// readLine returns the next line with its end, valid until the call after; io.EOF after the last.
func (c *csvReader) readLine() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	for c.long = c.long[:0]; errors.Is(err, bufio.ErrBufferFull) && int64(len(c.long)) <= c.limits.CSVRecord; {
		c.long = append(c.long, line...)
		line, err = c.in.ReadSlice('\n')
	}
	if len(c.long) > 0 {
		c.long = append(c.long, line...)
		line = c.long
	}
	if int64(len(trimEOL(line))) > c.limits.CSVRecord {
		return nil, c.failure(csvError{
			line: c.lines + 1, what: fmt.Sprintf("a line of more than %d bytes (limits.csv_record)", c.limits.CSVRecord),
			fix: "is it CSV? then raise the limit", limit: true,
		})
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, c.unreadable(err)
	}
	c.lines++
	if at := bytes.IndexByte(line, 0); at >= 0 {
		return nil, c.failure(csvError{
			line: c.lines, column: characters(line, at), what: "a NUL byte", fix: "the file is binary or UTF-16; save it as CSV in UTF-8",
		})
	}
	if !utf8.Valid(line) {
		at := 0
		for {
			r, n := utf8.DecodeRune(line[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return nil, c.failure(csvError{
			line: c.lines, column: characters(line, at), what: fmt.Sprintf("byte %#02x is not UTF-8", line[at]), fix: "save the file as UTF-8",
		})
	}
	return line, nil
}

func (c *csvReader) lonelyCR(line []byte, at int) error {
	return c.failure(csvError{
		line: c.lines, column: characters(line, at), what: "a carriage return that ends no line", fix: "end lines with LF or CRLF, or quote the field",
	})
}

func (c *csvReader) failure(e csvError) error {
	where := fmt.Sprintf("line %d", e.line)
	if e.column > 0 {
		where += fmt.Sprintf(", column %d", e.column)
	}
	code := problem.Invalid
	if e.limit {
		code = problem.Exhausted
	}
	return &problem.Error{
		Code: code, Message: fmt.Sprintf("%s: %s: %s", c.spine, where, e.what), Field: "spine", Suggestion: e.fix,
	}
}

func (c *csvReader) unreadable(err error) error {
	if file := (*fs.PathError)(nil); c.packed && !errors.As(err, &file) {
		e := problem.New(problem.Invalid, "%s: unpack gzip behind line %d: %w", c.spine, c.lines, err)
		e.Field, e.Suggestion = "spine", "the file is damaged or cut short; write or copy it again"
		return e
	}
	return fmt.Errorf("read %s: %w", c.spine, err)
}

func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		if line = line[:n-1]; n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}

// characters returns the column, from 1, of a byte of a line.
func characters(line []byte, at int) int { return utf8.RuneCount(line[:at]) + 1 }
