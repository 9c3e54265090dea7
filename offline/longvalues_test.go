package offline

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// longNote writes a note of so many bytes for JFK, in place of the hourly features.
func (w *world) longNote(t *testing.T, size int) string {
	t.Helper()
	note := strings.Repeat("n", size)
	writeFile(t, w.path("hourly/a.parquet"), 1,
		field{"airport", vec(stringType, "JFK")}, field{"hour", vec(timeType, noon)}, field{"departures", vec(int64Type, 1)},
		field{"delay", vec(floatType, 1.0)}, field{"tags", vec(listType, []string{note, note})}, field{"note", vec(stringType, note)},
	)
	return note
}

// A row group holds no more of long values than of anything else: many rows may share one.
func TestExportLongValues(t *testing.T) {
	w := newWorld(t)
	note := w.longNote(t, 1<<20)
	const rows = 60
	times, airports := columnar.NewVector(timeType, rows), columnar.NewVector(stringType, rows)
	for i := range rows {
		times.AppendInt64(noon + int64(i))
		airports.AppendString([]string{"JFK", "SFO"}[i%2])
	}
	writeFile(t, w.path("spine.parquet"), rows, field{"t", times}, field{"airport", airports})
	w.export(t, w.request("one", w.path("spine.parquet")))

	reader, err := openFile(t, w.path("out.parquet")).Bind([]parquet.Column{{Name: "t", Type: timeType}})
	if err != nil {
		t.Fatal(err)
	}
	// Every other row takes three notes.
	if want := (rows/2*3<<20 + groupBytes - 1) / groupBytes; reader.RowGroups() != want {
		t.Errorf("%d row groups, want %d", reader.RowGroups(), want)
	}
	got, tags := readColumn(t, w.path("out.parquet"), "note", stringType), readColumn(t, w.path("out.parquet"), "tags", listType)
	for i := range rows {
		want := note
		if i%2 == 1 {
			want = ""
		}
		if string(got.BytesAt(i)) != want || got.IsNull(i) != (i%2 == 1) || tags.Offsets[i+1]-tags.Offsets[i] != uint32(2-i%2) {
			t.Fatalf("row %d has a note of %d bytes and %d tags", i, len(got.BytesAt(i)), tags.Offsets[i+1]-tags.Offsets[i])
		}
	}
}

// More text than a vector holds is an error before any of it is copied.
func TestLookupTooLong(t *testing.T) {
	w := newWorld(t)
	w.longNote(t, 16<<20)
	const rows = 300
	airports := columnar.NewVector(stringType, rows)
	for range rows {
		airports.AppendString("JFK")
	}
	_, err := Lookup(context.Background(), LookupRequest{
		Service: w.snapshot.Services["one"], Source: w.files, Keys: []*columnar.Vector{airports}, At: noon,
	})
	var e *problem.Error
	if !errors.As(err, &e) || e.Code != problem.Exhausted || !strings.Contains(e.Message, "output tags") {
		t.Errorf("%v", err)
	}
}
