package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
)

// A row group is left out by its statistics; where they contradict its values, reading it must not go unnoticed.
func TestTimesOutsideStatistics(t *testing.T) {
	instant := columnar.Type{Kind: columnar.Timestamp}
	v := columnar.NewVector(instant, 3)
	v.AppendInt64(1000)
	v.AppendNull()
	v.AppendInt64(3000)
	for _, test := range []struct {
		least, greatest int64
		want            string
	}{
		{1000, 3000, ""},
		{900, 4000, ""},
		{1001, 3000, `row group 0: column "t": row 0: 1970-01-01T00:00:00.001Z is not between 1970-01-01T00:00:00.001001Z and`},
		{1000, 2999, `row group 0: column "t": row 2: 1970-01-01T00:00:00.003Z is not between`},
	} {
		var schema Schema
		schema.Add("t", instant)
		c := NewChunk(schema.Leaves()[0], 3)
		c.Append(v)
		e := mustEncode(t, c)
		e.meta.Statistics.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(test.least))
		e.meta.Statistics.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(test.greatest))
		var out bytes.Buffer
		w, err := NewWriter(&out, &schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteRowGroup([]*Encoded{e}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := openBytes(t, out.Bytes(), Limits{}).Bind([]Column{{Name: "t", Type: instant}})
		if err != nil {
			t.Fatal(err)
		}
		got := columnar.NewVector(instant, 0)
		got.AppendInt64(-1) // of a row group before
		err = r.Read(context.Background(), 0, 0, got)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%d to %d: %v", test.least, test.greatest, err)
		}
	}
}
