package pit

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/offline/source"
	servers "github.com/provender-dev/provender/test/stores"
)

// TestObjectStores makes training sets of random histories that lie in object stores which fail now and then: cell by cell
// the reference's, byte by byte those from local disk. PROVENDER_SEED=n repeats one.
func TestObjectStores(t *testing.T) {
	first, count := seeds(t, 2)
	for _, s := range servers.All(t) {
		t.Run(s.Scheme, func(t *testing.T) {
			proxy := servers.NewProxy(t, s)
			s.Setenv(t, proxy.URL)
			for seed := first; seed < first+uint64(count); seed++ {
				t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { objectStore(t, s, proxy, seed) })
			}
		})
	}
}

func objectStore(t *testing.T, s *servers.Store, proxy *servers.Proxy, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 6))
	w := newWorld(t, rng, long(rng))
	w.shape.root = "lake:"
	w.define(t)
	defer func() {
		if t.Failed() {
			t.Logf("repeat with PROVENDER_SEED=%d go test ./test/pit -run TestObjectStores\n%+v\n%s%s", seed, w.shape, w.definitions(), w.c.text())
		}
	}()
	w.write(t, w.rows)
	f := randomForm(rng, &w.c.View)
	spine := w.spineFile(t, f)
	local := w.export(t, f, spine, randomEffort(rng))

	prefix := fmt.Sprint("pit/", seed)
	put := func(path, key string) string {
		content, err := os.ReadFile(path)
		if err == nil {
			err = s.Bucket(t, servers.Lake).Put(context.Background(), prefix+"/"+key, content)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s.URL(servers.Lake, prefix+"/"+key)
	}
	for rel := range filesOf(t, w.folder()) {
		put(w.folder()+rel, "facts"+filepath.ToSlash(rel))
	}
	if err := os.RemoveAll(w.folder()); err != nil {
		t.Fatal(err)
	}
	spine.path = put(spine.path, filepath.Base(spine.path))
	w.files = source.New(w.dir, map[string]string{"lake": s.URL(servers.Lake, prefix)})
	defer proxy.Harm(nil)
	proxy.Harm(sometimes(rng.Uint64()))
	remote := w.export(t, f, spine, randomEffort(rng))
	w.sameBytes(t, f, local, remote, "files in an object store")
	w.checkExport(t, w.rows, f, spine, remote)
	asks := w.asks
	w.asks = slices.Clone(asks[:2])
	w.checkLookup(t, w.rows)
	if w.asks = asks; !f.Stdout && f.PartRows == 0 {
		w.toObject(t, f, spine, s.URL(servers.Lake, prefix+"/out"), local)
	}
}

// toObject writes an export into the store.
func (w *world) toObject(t *testing.T, f form, s spine, url string, want made) {
	t.Helper()
	_, err := offline.Export(t.Context(), offline.ExportRequest{
		Service: w.asked(t, f), Snapshot: w.snapshot, Source: w.files, Spine: s.path, SpineOptions: s.options,
		Out: url, OutFormat: f.Out, Compression: f.Compression, GroupRows: f.GroupRows,
	})
	if err != nil {
		t.Fatalf("export to %s: %v", url, err)
	}
	h, err := source.OpenObject(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	content := make([]byte, h.File.Size)
	if _, err := h.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{"": content}
	if names := slices.Collect(maps.Keys(want.files)); len(names) != 1 || names[0] != "" {
		t.Fatalf("files of one output: %q", names)
	}
	w.sameBytes(t, f, want, made{files: got}, "the output in an object store")
}

// sometimes harms one read in forty.
func sometimes(seed uint64) func(r *http.Request) servers.Fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 7))
	faults := []servers.Fault{servers.Error500, servers.Reset, servers.ResetBody, servers.CutBody}
	return func(r *http.Request) servers.Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodGet || rng.IntN(40) > 0 {
			return servers.None
		}
		return faults[rng.IntN(len(faults))]
	}
}
