package parquet_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/registry"
)

// lenientColumn is a column with values that can't be represented: bad, among good ones.
type lenientColumn struct {
	name      string
	node      pq.Node
	good, bad pq.Value
	as        parquet.Column
	text      string // of the good one, in JSON
	list      bool
}

func lenientColumns() []lenientColumn {
	micros := pq.Timestamp(pq.Microsecond)
	day := column("x", "timestamp")
	day.At = registry.AtStart
	return []lenientColumn{
		{"unsigned", pq.Uint(64), pq.ValueOf(uint64(7)), pq.ValueOf(uint64(math.MaxUint64)), column("x", "int64"), `7`, false},
		{
			"decimal", pq.Decimal(0, 38, pq.FixedLenByteArrayType(16)), pq.FixedLenByteArrayValue(append(make([]byte, 15), 7)),
			pq.FixedLenByteArrayValue(append([]byte{1}, make([]byte, 15)...)), column("x", "int64"), `7`, false,
		},
		{"micros", micros, pq.ValueOf(int64(7)), pq.ValueOf(int64(math.MaxInt64)), column("x", "timestamp"), `"1970-01-01T00:00:00.000007Z"`, false},
		{"nanos", pq.Timestamp(pq.Nanosecond), pq.ValueOf(int64(7000)), pq.ValueOf(int64(7001)), column("x", "timestamp"), `"1970-01-01T00:00:00.000007Z"`, false},
		{"date", pq.Date(), pq.ValueOf(int32(7)), pq.ValueOf(int32(math.MaxInt32)), day, `"1970-01-08T00:00:00Z"`, false},
		{"text", pq.String(), pq.ValueOf("good"), pq.ValueOf("\xff"), column("x", "string"), `"good"`, false},
		{"texts", pq.String(), pq.ValueOf("good"), pq.ValueOf("\xff"), column("x", "list<string>"), `"good"`, true},
		{"instants", micros, pq.ValueOf(int64(7)), pq.ValueOf(int64(math.MaxInt64)), column("x", "list<timestamp>"), `"1970-01-01T00:00:00.000007Z"`, true},
	}
}

// TestGatherLenient: values that can't be represented are nulls and named, all others what they are, whichever rows are
// asked for and however they are encoded.
func TestGatherLenient(t *testing.T) {
	rnd := testenv.Rand(t)
	for _, c := range lenientColumns() {
		for _, dictionary := range []bool{false, true} {
			const rows = 300
			node := c.node
			if dictionary {
				node = pq.Encoded(node, &pq.RLEDictionary)
			}
			node = pq.Optional(node)
			if c.list {
				node = pq.Optional(pq.List(node))
			}
			var b bytes.Buffer
			w := pq.NewGenericWriter[any](&b, pq.NewSchema("x", pq.Group{"x": node}), pq.PageBufferSize(200))
			state := make([]int, rows) // 0: null, 1: good, 2: bad
			for i := range state {
				state[i] = rnd.IntN(20)
				state[i] = min(1, state[i]) + state[i]/18
				value := []pq.Value{pq.NullValue(), c.good, c.bad}[state[i]]
				var r pq.Row
				switch {
				case !c.list:
					r = append(r, value.Level(0, min(1, state[i]), 0))
				case state[i] == 0:
					r = append(r, value.Level(0, 0, 0))
				default:
					r = append(r, c.good.Level(0, 3, 0), value.Level(1, 3, 0), pq.NullValue().Level(1, 2, 0), value.Level(1, 3, 0))
				}
				if _, err := w.WriteRows([]pq.Row{r}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			reader := bind(t, b.Bytes(), "x.parquet", c.as)
			var value *parquet.ValueError
			if err := reader.Read(t.Context(), 0, 0, columnar.NewVector(c.as.Type, 0)); !errors.As(err, &value) || state[value.Row] != 2 {
				t.Errorf("%s: Read: %v", c.name, err)
			}
			for round := range 4 {
				var asked, sound []int32
				for i := range int32(rows) {
					if round == 0 || rnd.IntN(round*round*3) == 0 {
						asked = append(asked, i)
						if state[i] != 2 {
							sound = append(sound, i)
						}
					}
				}
				checkLenient(t, c, reader, asked, state)
				checkLenient(t, c, reader, sound, state)
			}
			checkLenient(t, c, reader, nil, state)
		}
	}
}

func checkLenient(t *testing.T, c lenientColumn, reader *parquet.Reader, rows []int32, state []int) {
	t.Helper()
	v := columnar.NewVector(c.as.Type, 0)
	flaws, err := reader.GatherLenient(t.Context(), 0, 0, rows, v, math.MaxInt64)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	if rows == nil {
		for i := range state {
			rows = append(rows, int32(i))
		}
	}
	var want, got []int32
	for i, row := range rows {
		if state[row] == 2 {
			want = append(want, row)
		}
		text := []string{"null", c.text, "null"}[state[row]]
		if c.list && state[row] != 0 {
			text = "[" + c.text + "," + text + ",null," + text + "]"
		}
		if got := string(columnar.AppendJSON(nil, v, i)); got != text {
			t.Errorf("%s: row %d is %s, want %s", c.name, row, got, text)
		}
	}
	for _, f := range flaws {
		got = append(got, f.Row)
		if f.Err == nil {
			t.Errorf("%s: row %d: no reason", c.name, f.Row)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || v.Len() != len(rows) {
		t.Errorf("%s: %d values of %d, flaws -want +got\n%s", c.name, v.Len(), len(rows), diff)
	}
}

// TestSound: only bounds that are told, and hold, rule out what can't be represented.
func TestSound(t *testing.T) {
	for _, c := range lenientColumns() {
		if c.name != "micros" {
			continue
		}
		for _, values := range [][]pq.Value{{c.good}, {c.good, c.bad}} {
			var b bytes.Buffer
			w := pq.NewGenericWriter[any](&b, pq.NewSchema("x", pq.Group{"x": c.node}))
			for _, v := range values {
				if _, err := w.WriteRows([]pq.Row{{v.Level(0, 0, 0)}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got := bind(t, b.Bytes(), "x.parquet", c.as).Sound(0, 0); got != (len(values) == 1) {
				t.Errorf("%d values: sound %v", len(values), got)
			}
		}
	}
}
