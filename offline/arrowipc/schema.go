package arrowipc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// SchemaKey is the metadata in which Arrow's writers repeat a Parquet file's schema, to give back what Parquet has no type
// for: time zones, durations, dictionaries. Readers match it with the columns by position.
const SchemaKey = "ARROW:schema"

// ReadSchema reads the value of SchemaKey. Dictionaries are unordered, whatever the value says.
func ReadSchema(value string) (schema *arrow.Schema, err error) {
	defer func() {
		if recover() != nil {
			err = errMetadata
		}
		if err != nil {
			err = fmt.Errorf("read %s: %w", SchemaKey, err)
		}
	}()
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, err
	}
	s, err := openStream(io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw))), NewAllocator(0, int64(len(raw))))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if schema = s.Schema(); schema == nil {
		return nil, errors.New("it has no schema")
	}
	return schema, nil
}

// FormatSchema returns the value of SchemaKey.
func FormatSchema(schema *arrow.Schema) (value string, err error) {
	// The library does not write all that it reads.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write %s: %v", SchemaKey, r)
		}
	}()
	var buf bytes.Buffer
	if err := ipc.NewWriter(&buf, ipc.WithSchema(schema)).Close(); err != nil {
		return "", fmt.Errorf("write %s: %w", SchemaKey, err)
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes()), nil
}
