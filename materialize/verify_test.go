package materialize_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/internal/row"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/online"
	"github.com/provender-dev/provender/online/onlinetest"
)

func redisWorld(t *testing.T) *world {
	r := onlinetest.StartRedisServer(t)
	return newWorld(t, backend{URL: r.URL, redis: r})
}

// put stores a row behind the runs' back.
func (w *world) put(key string, minutes float64, v float64) {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	view := w.snap.Views["v"]
	cols := newColumns(view)
	cols[0].AppendFloat64(v)
	cols[1].AppendInt64(int64(v * 10))
	event := noon.Add(-time.Duration(minutes * float64(time.Minute))).UnixMicro()
	_, err = w.store.Write(w.t.Context(), live[0].Generation, []online.Entry{{
		Key: row.AppendStringKey(nil, []byte(key)), Row: view.Layout.AppendRow(nil, event, row.NoCreated, cols, 0),
	}}, online.WinAlways)
	check(w.t, err)
}

func (w *world) delete(key string) {
	w.t.Helper()
	live, err := w.svc.Live(w.t.Context())
	check(w.t, err)
	check(w.t, w.store.Delete(w.t.Context(), live[0].Generation, [][]byte{row.AppendStringKey(nil, []byte(key))}))
}

// A wrong value, one that is missing and one too many are told apart.
func TestVerifyFinds(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 10, 1), at("b", 10, 2), at("c", 10, 3), at("d", 7*60, 4), at("ok", 10, 5))
		w.run(materialize.Request{})
		w.clean()
		w.put("a", 10, 1.5)
		w.delete("b")
		w.put("stray", 10, 9)
		w.put("d", 10, 4)
		r := w.verify(materialize.VerifyRequest{Full: true})
		if r.Entities != 6 || r.Cells != 12 || r.Equal != 4 || r.Wrong != 4 || r.Missing != 2 || r.Extra != 2 {
			t.Errorf("report %+v", r)
		}
		want := []string{
			"k=a f: 1.5 PRESENT / 1 PRESENT", "k=a n: 15 PRESENT / 10 PRESENT",
			"k=b f: NOT_FOUND / 2 PRESENT", "k=b n: NOT_FOUND / 20 PRESENT",
			"k=d f: 4 PRESENT / EXPIRED", "k=d n: 40 PRESENT / EXPIRED",
			"k=stray f: 9 PRESENT / NOT_FOUND", "k=stray n: 90 PRESENT / NOT_FOUND",
		}
		if got := names(r.Diffs); !slices.Equal(got, want) {
			t.Errorf("differences %q", got)
		}
		// A sample is of history: it does not see the stray row.
		if r := w.verify(materialize.VerifyRequest{}); r.Entities != 5 || r.Extra != 0 || r.Wrong != 4 {
			t.Errorf("report %+v", r)
		}
		w.run(materialize.Request{Full: true})
		w.clean()
	})
}

func TestVerifyDamagedRow(t *testing.T) {
	w := redisWorld(t)
	w.write("1.parquet", at("a", 10, 1))
	w.run(materialize.Request{})
	c := w.backend.redis.Client(t)
	damaged := 0
	for _, key := range c.Keys(t.Context(), "*").Val() {
		if c.Type(t.Context(), key).Val() != "hash" {
			continue
		}
		for field, value := range c.HGetAll(t.Context(), key).Val() {
			if b := []byte(value); len(b) > 12 {
				b[len(b)/2] ^= 4
				check(t, c.HSet(t.Context(), key, field, b).Err())
				damaged++
			}
		}
	}
	if r := w.verify(materialize.VerifyRequest{}); damaged != 1 || r.Wrong != 2 || r.Diffs[0].Online != "ERROR" {
		t.Errorf("%d rows damaged, report %+v", damaged, r)
	}
}

func TestVerifySample(t *testing.T) {
	w := one(t)
	var rows []fact
	for i := range 40 {
		rows = append(rows, at(fmt.Sprint("e", i), 10, float64(i)))
	}
	w.write("1.parquet", rows...)
	w.run(materialize.Request{})
	for i := range 40 {
		w.put(fmt.Sprint("e", i), 10, -1)
	}
	a := w.verify(materialize.VerifyRequest{Sample: 7})
	if a.Entities != 7 || a.Wrong != 14 || len(a.Diffs) != 14 {
		t.Errorf("report %+v", a)
	}
	if b := w.verify(materialize.VerifyRequest{Sample: 7}); !slices.Equal(names(a.Diffs), names(b.Diffs)) {
		t.Errorf("another sample: %q, %q", names(a.Diffs), names(b.Diffs))
	}
	if r := w.verify(materialize.VerifyRequest{Full: true}); r.Wrong != 80 || len(r.Diffs) != 20 {
		t.Errorf("report %+v", r)
	}
}

func TestVerifyReadTime(t *testing.T) {
	w := one(t)
	if r := w.verify(materialize.VerifyRequest{}); r.Note != "not materialized" || r.Cells != 0 {
		t.Errorf("report %+v", r)
	}
	w.write("1.parquet", at("a", 60, 1))
	w.run(materialize.Request{To: noon})
	_, err := w.svc.Verify(t.Context(), materialize.VerifyRequest{Now: noon.Add(-time.Microsecond)}, nil)
	if problem.CodeOf(err) != problem.Invalid || !strings.Contains(err.Error(), "before T") {
		t.Errorf("a read time before T: %v", err)
	}
	// Each status in turn, at both ends of ttl.
	for _, after := range []time.Duration{0, 5 * time.Hour, 5*time.Hour + 1000, 11 * time.Hour, 11*time.Hour + 1000, 9999 * time.Hour} {
		r := w.verify(materialize.VerifyRequest{Now: noon.Add(after)})
		if r.Equal != 2 || r.ReadTime != noon.Add(after) {
			t.Errorf("%v after: %+v", after, r)
		}
	}
}

// A comparison that a run disturbs is made again, and tells the truth.
func TestVerifyDuringRun(t *testing.T) {
	forStores(t, func(t *testing.T, w *world) {
		w.write("1.parquet", at("a", 60, 1), at("b", 60, 1))
		w.run(materialize.Request{})
		w.write("2.parquet", at("a", -0.5, 2), at("c", -0.5, 2))
		w.now = noon.Add(time.Minute)

		// A run that has written its rows, and waits before it commits until the comparison has seen them.
		writer, reader := &intercepted{Store: w.store}, &intercepted{Store: w.store}
		written, read := make(chan struct{}), make(chan struct{})
		var once sync.Once
		writer.before = func(_ context.Context, call string) error {
			if call == "identity" {
				close(written)
				<-read
			}
			return nil
		}
		reader.before = func(_ context.Context, call string) error {
			if call == "identity" {
				once.Do(func() { close(read) })
			}
			return nil
		}
		done := make(chan error)
		go func() {
			_, err := w.service(writer, nil).Run(t.Context(), materialize.Request{}, nil)
			done <- err
		}()
		<-written
		svc := w.service(reader, func(c *materialize.Config) { c.Now = func() time.Time { return noon } })
		if _, err := svc.Live(t.Context()); err != nil { // claims
			t.Fatal(err)
		}
		reports, err := svc.Verify(t.Context(), materialize.VerifyRequest{Full: true}, nil)
		check(t, <-done)
		if err != nil || reports[0].Equal != reports[0].Cells || reports[0].Note != "" {
			t.Errorf("reports %+v, %v", reports, err)
		}
		w.clean()
	})
}
