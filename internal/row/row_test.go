package row_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/internal/testenv"
)

func micros(t *testing.T, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMicro()
}

// edgeTimes are the times at which the encoding changes form.
func edgeTimes(t *testing.T) []int64 {
	var all []int64
	for _, s := range []string{
		"0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z", "1582-10-15T00:00:00Z", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z", "2001-03-01T12:00:00Z", "2038-01-19T03:14:08Z",
		"2262-04-11T23:47:16Z", "9999-12-31T23:59:59Z",
	} {
		at := micros(t, s)
		for _, d := range []int64{-1, 0, 1, 999_999} {
			if row.ValidTime(at + d) {
				all = append(all, at+d)
			}
		}
	}
	return append(all, row.MinTime, row.MaxTime)
}

// everyType has one field of each type, declared in an order of no meaning.
func everyType() []row.Field {
	var fields []row.Field
	for i, name := range columnar.TypeNames() {
		typ, err := columnar.ParseType(name)
		if err != nil {
			panic(err)
		}
		fields = append(fields, row.Field{Name: strconv.Itoa((i*7)%16) + name, Type: typ})
	}
	return fields
}

func vectors(fields []row.Field) []*columnar.Vector {
	cols := make([]*columnar.Vector, len(fields))
	for i, f := range fields {
		cols[i] = columnar.NewVector(f.Type, 0)
	}
	return cols
}

// appendRandom appends a value to v, with preference for edges.
func appendRandom(r *rand.Rand, v *columnar.Vector, nulls bool) {
	if nulls && r.IntN(4) == 0 {
		v.AppendNull()
		return
	}
	if v.Type.List {
		for range []int{0, 1, 2, 7, 8, 9, 40}[r.IntN(7)] {
			appendRandom(r, v.Elem, nulls)
		}
		v.EndList()
		return
	}
	ints := []int64{0, 1, -1, 63, -64, 64, math.MaxInt32, math.MinInt32, int64(r.Int32()), int64(r.IntN(1000000))}
	wide := append(ints, math.MaxInt64, math.MinInt64, int64(r.Uint64()))
	switch v.Type.Kind {
	case columnar.Bool:
		v.AppendBool(r.IntN(2) == 0)
	case columnar.Int32:
		v.AppendInt32(int32(ints[r.IntN(len(ints))]))
	case columnar.Int64:
		v.AppendInt64(wide[r.IntN(len(wide))])
	case columnar.Timestamp:
		v.AppendInt64(wide[r.IntN(len(wide))])
	case columnar.Float32:
		bits := []uint32{0, 1 << 31, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, r.Uint32()}
		v.AppendFloat32(math.Float32frombits(bits[r.IntN(len(bits))]))
	case columnar.Float64:
		bits := []uint64{
			0, 1 << 63, math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)),
			0x7ff8000000000001, 0x7ff0000000000001, 0xfff8000000000123, r.Uint64(),
		}
		v.AppendFloat64(math.Float64frombits(bits[r.IntN(len(bits))]))
	default:
		b := make([]byte, []int{0, 1, 3, 127, 128, 300}[r.IntN(6)])
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		v.AppendBytes(b)
	}
}

func randomTime(r *rand.Rand) int64 {
	t := row.MinTime + r.Int64N(row.MaxTime-row.MinTime+1)
	if r.IntN(2) == 0 {
		t -= (t - row.MinTime) % 1_000_000
	}
	return t
}

// TestRoundTrip writes random rows of every type, with and without nulls, and reads all of them or a selection back.
func TestRoundTrip(t *testing.T) {
	r := testenv.Rand(t)
	for range 200 {
		fields := everyType()
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		fields = fields[:r.IntN(len(fields)+1)]
		l := row.NewLayout(fields)
		cols := vectors(fields)
		nulls := r.IntN(2) == 0
		picked := r.Perm(len(fields))[:r.IntN(len(fields)+1)]
		if len(picked) > 0 && r.IntN(2) == 0 {
			picked = append(picked, picked[0]) // a feature asked for twice
		}
		p := l.Project(picked)
		out := make([]*columnar.Vector, len(picked))
		for i, f := range picked {
			out[i] = columnar.NewVector(fields[f].Type, 0)
		}
		for i := range 20 {
			for _, v := range cols {
				appendRandom(r, v, nulls)
			}
			event, created := randomTime(r), randomTime(r)
			if r.IntN(2) == 0 {
				created = row.NoCreated
			}
			stored := l.AppendRow([]byte("x"), event, created, cols, i)[1:]
			if body := l.AppendBody(nil, cols, i); !bytes.Contains(stored, body) {
				t.Fatal("the row does not hold its canonical encoding")
			}
			gotEvent, gotCreated, err := p.Append(out, stored)
			if err != nil || gotEvent != event || gotCreated != created {
				t.Fatalf("got %d, %d, %v; want %d, %d", gotEvent, gotCreated, err, event, created)
			}
			gotEvent, gotCreated, err = row.Times(stored)
			if err != nil || gotEvent != event || gotCreated != created {
				t.Fatalf("Times: got %d, %d, %v; want %d, %d", gotEvent, gotCreated, err, event, created)
			}
			for c, f := range picked {
				if out[c].Len() != i+1 || !out[c].EqualAt(i, cols[f], i) {
					t.Fatalf("row %d: field %s came back different", i, fields[f].Type)
				}
			}
		}
	}
}

// TestDeclaredOrder: a view whose features are listed in another order breaks ties the same way.
func TestDeclaredOrder(t *testing.T) {
	r := testenv.Rand(t)
	fields := everyType()
	cols := vectors(fields)
	for range 30 {
		for _, v := range cols {
			appendRandom(r, v, true)
		}
	}
	perm := r.Perm(len(fields))
	fields2, cols2 := make([]row.Field, len(fields)), make([]*columnar.Vector, len(cols))
	for i, p := range perm {
		fields2[i], cols2[i] = fields[p], cols[p]
	}
	a, b := row.NewLayout(fields), row.NewLayout(fields2)
	for i := range 30 {
		if !bytes.Equal(a.AppendBody(nil, cols, i), b.AppendBody(nil, cols2, i)) {
			t.Fatalf("row %d: the encoding depends on the declared order", i)
		}
	}
	for i, f := range a.Fields() {
		if f != fields[i] {
			t.Fatal("Fields lost the declared order")
		}
	}
}

// TestOrder: plain byte comparison of rows less their checksums is R4's order.
func TestOrder(t *testing.T) {
	r := testenv.Rand(t)
	l := row.NewLayout([]row.Field{{Name: "x", Type: columnar.Type{Kind: columnar.Int64}}})
	cols := vectors(l.Fields())
	for x := range int64(3) {
		cols[0].AppendInt64(x)
	}
	edges := edgeTimes(t)
	type fact struct {
		event, created int64
		i              int
	}
	random := func() fact {
		f := fact{event: edges[r.IntN(len(edges))], created: edges[r.IntN(len(edges))], i: r.IntN(3)}
		if r.IntN(4) == 0 {
			f.created = row.NoCreated
		}
		if r.IntN(4) == 0 {
			f.event = randomTime(r)
		}
		return f
	}
	want := func(a, b fact) int {
		for _, c := range []int{cmp(a.event, b.event), cmp(a.created, b.created)} {
			if c != 0 {
				return c
			}
		}
		return bytes.Compare(l.AppendBody(nil, cols, a.i), l.AppendBody(nil, cols, b.i))
	}
	for range 50_000 {
		a, b := random(), random()
		switch r.IntN(3) {
		case 0:
			b.event = a.event
		case 1:
			b.event, b.created = a.event, a.created
		}
		ra, rb := l.AppendRow(nil, a.event, a.created, cols, a.i), l.AppendRow(nil, b.event, b.created, cols, b.i)
		if got := row.Compare(ra, rb); got != want(a, b) {
			t.Fatalf("%+v against %+v: %d, want %d", a, b, got, want(a, b))
		}
		damaged := bytes.Clone(ra)
		damaged[len(ra)-1] ^= 1
		if got := row.Compare(ra, damaged); got != 0 {
			t.Fatalf("%+v: its checksum has a say: %d", a, got)
		}
		if got := bytes.Compare(ra[:len(ra)-2], rb[:len(rb)-2]); got != want(a, b) {
			t.Fatalf("%+v against %+v: bytes %d, want %d", a, b, got, want(a, b))
		}
		if got := row.SameTimes(ra, rb); got != (a.event == b.event && a.created == b.created) {
			t.Fatalf("%+v against %+v: SameTimes %v", a, b, got)
		}
	}
}

func cmp(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestEdgeTimes(t *testing.T) {
	l := row.NewLayout(nil)
	for _, event := range edgeTimes(t) {
		for _, created := range append(edgeTimes(t), row.NoCreated) {
			stored := l.AppendRow(nil, event, created, nil, 0)
			e, c, err := row.Times(stored)
			if err != nil || e != event || c != created {
				t.Fatalf("got %d, %d, %v; want %d, %d", e, c, err, event, created)
			}
		}
	}
	for _, bad := range []int64{row.MinTime - 1, row.MaxTime + 1, math.MaxInt64} {
		if row.ValidTime(bad) {
			t.Errorf("%d is outside of years 0001-9999", bad)
		}
	}
	if row.MinTime != micros(t, "0001-01-01T00:00:00Z") || row.MaxTime != micros(t, "9999-12-31T23:59:59.999999Z") {
		t.Error("MinTime or MaxTime is off")
	}
}

// TestSize: ten ordinary features stay within the 64 bytes up to which Redis keeps a small hash compact.
func TestSize(t *testing.T) {
	l, cols := tenFeatures(1)
	if n := len(l.AppendRow(nil, micros(t, "2001-03-01T12:00:00Z"), row.NoCreated, cols, 0)); n > 64 {
		t.Errorf("%d bytes, want at most 64", n)
	}
}

// TestExamples keeps docs/format/row.md honest.
func TestExamples(t *testing.T) {
	fields := []row.Field{
		{Name: "departures_1h", Type: columnar.Type{Kind: columnar.Int64}},
		{Name: "mean_delay_1h", Type: columnar.Type{Kind: columnar.Float64}},
		{Name: "tags", Type: columnar.Type{Kind: columnar.String, List: true}},
		{Name: "open", Type: columnar.Type{Kind: columnar.Bool}},
	}
	l, cols := row.NewLayout(fields), vectors(fields)
	cols[0].AppendInt64(12)
	cols[1].AppendFloat64(2.5)
	cols[2].Elem.AppendString("hub")
	cols[2].EndList()
	cols[3].AppendBool(true)
	cols[0].AppendInt64(12)
	cols[1].AppendNull()
	cols[2].Elem.AppendString("hub")
	cols[2].Elem.AppendNull()
	cols[2].EndList()
	cols[3].AppendBool(false)
	key := row.AppendStringKey(row.AppendInt64Key(nil, 12), []byte("JFK"))
	doc, err := os.ReadFile("../../docs/format/row.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{
		l.AppendRow(nil, micros(t, "2001-03-01T12:00:00Z"), row.NoCreated, cols, 0),
		l.AppendRow(nil, micros(t, "2001-03-01T12:00:00.25Z"), micros(t, "2001-03-02T00:00:00Z"), cols, 1),
		key,
	} {
		if want := hexBytes(b); !bytes.Contains(doc, want) {
			t.Errorf("docs/format/row.md lacks\n%s", want)
		}
	}
}

func hexBytes(b []byte) []byte {
	var out []byte
	for i, x := range b {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, "0123456789abcdef"[x>>4], "0123456789abcdef"[x&15])
	}
	return out
}

// tenFeatures returns a layout of 5 float64 and 5 int64 below 10^6, and n rows of it.
func tenFeatures(n int) (*row.Layout, []*columnar.Vector) {
	var fields []row.Field
	for i := range 5 {
		fields = append(fields,
			row.Field{Name: "f" + strconv.Itoa(i), Type: columnar.Type{Kind: columnar.Float64}},
			row.Field{Name: "i" + strconv.Itoa(i), Type: columnar.Type{Kind: columnar.Int64}})
	}
	cols := vectors(fields)
	for i := range n {
		for _, v := range cols {
			if v.Type.Kind == columnar.Float64 {
				v.AppendFloat64(float64(i) / 3)
			} else {
				v.AppendInt64(int64(999_999 - i))
			}
		}
	}
	return row.NewLayout(fields), cols
}

func TestKeys(t *testing.T) {
	r := testenv.Rand(t)
	types := []columnar.Type{{Kind: columnar.Int64}, {Kind: columnar.String}}
	seen := map[string]string{}
	for range 20_000 {
		cols := make([]*columnar.Vector, r.IntN(4))
		name := ""
		for c := range cols {
			cols[c] = columnar.NewVector(types[r.IntN(2)], 1)
			if cols[c].Type.Kind == columnar.Int64 {
				x := []int64{0, 1, -1, 11, 12, 2, math.MaxInt64, math.MinInt64, r.Int64N(300)}[r.IntN(9)]
				cols[c].AppendInt64(x)
				name += "/" + strconv.FormatInt(x, 10)
			} else {
				s := []string{"", "1", "12", "11", "2", "\x01", "\x02\x00", "JFK"}[r.IntN(8)]
				cols[c].AppendString(s)
				name += "/" + strconv.Quote(s)
			}
		}
		key, ok := row.AppendKey([]byte{9}, cols, 0)
		if !ok || key[0] != 9 {
			t.Fatal("AppendKey")
		}
		key = key[1:]
		if was, dup := seen[string(key)]; dup && was != name {
			t.Fatalf("%s and %s share the key %x", was, name, key)
		}
		seen[string(key)] = name
		back := make([]*columnar.Vector, len(cols))
		for c := range cols {
			back[c] = columnar.NewVector(cols[c].Type, 1)
		}
		if err := row.ParseKey(key, back); err != nil {
			t.Fatal(err)
		}
		for c := range cols {
			if !back[c].EqualAt(0, cols[c], 0) {
				t.Fatalf("%s came back different", name)
			}
		}
		// Less or more than the key is an error that leaves the vectors alone.
		for _, bad := range [][]byte{append(slices.Clone(key), 1), key[:max(0, len(key)-1)]} {
			if bytes.Equal(bad, key) {
				continue
			}
			if err := row.ParseKey(bad, back); err == nil {
				t.Fatalf("%x was taken for %s", bad, name)
			}
			for _, v := range back {
				if v.Len() != 1 {
					t.Fatal("an error left a value behind")
				}
			}
		}
	}
}

func TestNullKey(t *testing.T) {
	a, b := columnar.NewVector(columnar.Type{Kind: columnar.Int64}, 1), columnar.NewVector(columnar.Type{Kind: columnar.String}, 1)
	a.AppendInt64(1)
	b.AppendNull()
	if key, ok := row.AppendKey([]byte("x"), []*columnar.Vector{a, b}, 0); ok || string(key) != "x" {
		t.Errorf("got %q, %v", key, ok)
	}
}
