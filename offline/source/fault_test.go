package source_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/test/stores"
)

// impatient retries without waiting.
var impatient = object.Policy{Tries: 4, Pause: time.Millisecond, Longest: 5 * time.Millisecond, Dial: 10 * time.Second, Idle: 10 * time.Second, Page: testPage}

// behind starts a proxy before a store and returns a root of the store that goes through it.
func behind(t *testing.T, s *stores.Store) (*stores.Proxy, *source.Files) {
	t.Helper()
	patient := object.DefaultPolicy
	object.DefaultPolicy = impatient
	t.Cleanup(func() { object.DefaultPolicy = patient })
	p := stores.NewProxy(t, s)
	s.Setenv(t, p.URL)
	return p, source.New(t.TempDir(), map[string]string{"lake": s.URL(stores.Lake, "p")})
}

func put(t *testing.T, s *stores.Store, key string, content []byte) {
	t.Helper()
	if err := s.Bucket(t, stores.Lake).Put(context.Background(), key, content); err != nil {
		t.Fatal(err)
	}
}

func every(*http.Request) bool { return true }

var faults = map[string]stores.Fault{
	"500": stores.Error500, "SlowDown": stores.SlowDown, "429": stores.TooMany, "reset": stores.Reset, "lost answer": stores.Lost,
	"reset in the body": stores.ResetBody, "cut body": stores.CutBody, "short length": stores.ShortLength,
	"long length": stores.LongLength,
}

// Every fault that passes is got over; every one that stays is an error after bounded tries. Nothing is ever short.
func testFaults(t *testing.T, servers []*stores.Store) {
	for _, s := range servers {
		t.Run(s.Scheme, func(t *testing.T) {
			proxy, files := behind(t, s)
			content := randomBytes(300_000)
			put(t, s, "p/x.parquet", content)
			for name, fault := range faults {
				t.Run(name, func(t *testing.T) { testFault(t, proxy, files, s, fault, content) })
			}
			for some := range slices.Chunk(slices.Sorted(maps.Values(faults)), impatient.Tries-1) {
				t.Run(fmt.Sprintf("upload, faults %v", some), func(t *testing.T) { testUpload(t, proxy, s, some) })
			}
		})
	}
}

// testUpload has every request of an upload, the beginning, the parts and the end, fail once by each of some faults.
func testUpload(t *testing.T, proxy *stores.Proxy, s *stores.Store, faults []stores.Fault) {
	t.Helper()
	defer proxy.Harm(nil)
	var mu sync.Mutex
	failed := map[string]int{}
	proxy.Harm(func(r *http.Request) stores.Fault {
		mu.Lock()
		defer mu.Unlock()
		request := r.Method + r.URL.String() + r.Header.Get("Content-Range")
		if failed[request] == len(faults) {
			return stores.None
		}
		failed[request]++
		return faults[failed[request]-1]
	})
	write(t, s, "p2/large.bin", randomBytes(9<<20))
}

func testFault(t *testing.T, proxy *stores.Proxy, files *source.Files, s *stores.Store, fault stores.Fault, content []byte) {
	defer proxy.Harm(nil)
	ctx := context.Background()
	proxy.First(2, fault, every)
	list, err := files.List(ctx, []string{"lake:*"})
	if err != nil || len(list) != 1 {
		t.Fatalf("%d files: %v", len(list), err)
	}
	proxy.First(2, fault, every)
	if b, err := read(files, list[0]); err != nil || string(b) != string(content) {
		t.Errorf("%d bytes of %d: %v", len(b), len(content), err)
	}
	proxy.First(1, fault, func(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead })
	write(t, s, "p2/w.bin", randomBytes(5000))
	proxy.First(1_000_000, fault, every)
	proxy.Take()
	if _, err := read(files, list[0]); err == nil && fault != stores.LongLength {
		t.Error("read what never came whole")
	} else if err != nil && (!strings.Contains(err.Error(), "lake:x.parquet") || problem.CodeOf(err) != problem.Unavailable) {
		t.Errorf("code %d: %v", problem.CodeOf(err), err)
	}
	if n := len(proxy.Take()); n > 3*impatient.Tries {
		t.Errorf("%d tries", n)
	}
	testCount(t, files, list[0])
	if _, err := files.List(ctx, []string{"lake:*"}); err == nil || problem.CodeOf(err) != problem.Unavailable {
		t.Errorf("listed: %v", err)
	}
}

// testCount reads what never comes whole: callers of ReadAt go by its count, whatever else it returns.
func testCount(t *testing.T, files *source.Files, f source.File) {
	t.Helper()
	h, err := files.Open(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, ahead := range [][]source.Range{nil, {{Start: 0, End: f.Size}}, {{Start: f.Size / 2, End: f.Size}}} {
		h.Prefetch(context.Background(), ahead)
		if n, err := h.ReadAt(make([]byte, f.Size), 0); (int64(n) == f.Size) != (err == nil) {
			t.Errorf("%d bytes of %d, and %v", n, f.Size, err)
		}
		h.Forget(ahead)
	}
}

// write puts an object in place by way of the proxy, and reads it back past it.
func write(t *testing.T, s *stores.Store, key string, content []byte) {
	t.Helper()
	ctx := context.Background()
	w, err := source.Create(ctx, s.URL(stores.Lake, key))
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Commit(ctx)
	}
	if s.Scheme == "gs" && err != nil && len(content) > object.PartBytes(0) {
		// fake-gcs-server takes the question how far an upload has come for its end. That must be noticed, and what came of
		// it be gone.
		if _, herr := s.Bucket(t, stores.Lake).Head(ctx, key); strings.Contains(err.Error(), "made an object of") && object.KindOf(herr) != object.Missing {
			t.Errorf("%s is there: %v", key, herr)
		}
		return
	}
	if err != nil {
		t.Errorf("write %s: %v", key, err)
		return
	}
	b := s.Bucket(t, stores.Lake)
	o, err := b.Head(ctx, key)
	if err != nil || o.Size != int64(len(content)) {
		t.Errorf("%s has %d bytes of %d: %v", key, o.Size, len(content), err)
		return
	}
	body, err := b.Get(ctx, key, o.Version, 0, o.Size)
	if err != nil {
		t.Error(err)
		return
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != string(content) {
		t.Errorf("%s has other bytes: %v", key, err)
	}
}

// A store that stops in mid-answer is left alone after a while, and asked again.
func testStalled(t *testing.T, s *stores.Store) {
	proxy, files := behind(t, s)
	content := randomBytes(300_000)
	put(t, s, "p/x.parquet", content)
	object.DefaultPolicy.Idle = 100 * time.Millisecond
	if _, err := files.List(context.Background(), []string{"lake:*"}); err != nil { // from now on files have that policy
		t.Fatal(err)
	}
	object.DefaultPolicy.Idle = 2 * time.Second // what is written takes a store longer
	testFault(t, proxy, files, s, stores.Stalled, content)
	testUpload(t, proxy, s, []stores.Fault{stores.Stalled})
}

// A listing whose second page fails is no listing.
func testPageOfListingFails(t *testing.T, s *stores.Store) {
	proxy, _ := behind(t, s)
	files := source.New(t.TempDir(), map[string]string{"lake": s.URL(stores.Lake, "some/prefix")}) // as testLongListing left it
	const n = longListing
	second := func(r *http.Request) bool { return r.URL.Query().Get("continuation-token") != "" }
	for name, fault := range faults {
		proxy.First(1, fault, second)
		if list, err := files.List(context.Background(), []string{"lake:long/**"}); err != nil || len(list) != n {
			t.Errorf("%s once: %d files: %v", name, len(list), err)
		}
		proxy.First(1000, fault, second)
		if list, err := files.List(context.Background(), []string{"lake:long/**"}); err == nil {
			t.Errorf("%s for good: %d files", name, len(list))
		}
	}
}

// What is refused is told at once, with what to do, and without the words of the store.
func testRefused(t *testing.T, servers []*stores.Store) {
	for _, s := range servers {
		t.Run(s.Scheme, func(t *testing.T) {
			proxy, files := behind(t, s)
			proxy.First(1000, stores.Denied, every)
			_, err := files.List(context.Background(), []string{"lake:v"})
			if err == nil || problem.CodeOf(err) != problem.Precondition || !strings.Contains(err.Error(), "access denied") ||
				!strings.Contains(err.Error(), s.URL(stores.Lake, "p/v")) || strings.Contains(err.Error(), stores.Secret) {
				t.Errorf("%v", err)
			}
			if n := len(proxy.Take()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A connection that is not made in time is tried again, and told as a server that does not answer.
func TestConnectionTimeout(t *testing.T) {
	proxy, files := behind(t, &stores.Store{Scheme: "s3", Endpoint: "http://127.0.0.1:1"})
	object.DefaultPolicy.Dial = time.Nanosecond
	_, err := files.List(context.Background(), []string{"lake:x"})
	if err == nil || problem.CodeOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "given up after 4 tries") ||
		!strings.Contains(err.Error(), "timeout") {
		t.Errorf("code %d: %v", problem.CodeOf(err), err)
	}
	if n := len(proxy.Take()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// A context that ends, ends what is on its way.
func testCanceledRead(t *testing.T, s *stores.Store) {
	proxy, files := behind(t, s)
	put(t, s, "p/x.parquet", randomBytes(1000))
	list, err := files.List(context.Background(), []string{"lake:x.parquet"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := files.Open(context.Background(), list[0])
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	proxy.Harm(func(*http.Request) stores.Fault {
		cancel()
		return stores.Stalled
	})
	h.Prefetch(ctx, []source.Range{{Start: 0, End: 100}})
	if _, err := h.Under(ctx).ReadAt(make([]byte, 100), 0); err == nil || problem.CodeOf(err) != problem.Internal {
		t.Errorf("%v", err)
	}
	// Another reader of the same range has its own context.
	proxy.Harm(nil)
	if _, err := h.ReadAt(make([]byte, 100), 0); err != nil {
		t.Error(err)
	}
}
