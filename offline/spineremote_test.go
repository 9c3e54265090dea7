package offline

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/provender-dev/provender/test/stores"
)

// A spine in an object store gives the bytes that the same file gives on local disk.
func TestSpineInObjectStore(t *testing.T) {
	ctx := context.Background()
	s := stores.S3(t)
	s.Setenv(t, "")
	bucket := s.Bucket(t, stores.Lake)
	w := newWorld(t)
	var text bytes.Buffer
	fmt.Fprintln(&text, "t,airport,label")
	for i := 0; text.Len() < 2*fetchBytes+1000; i++ {
		fmt.Fprintf(&text, "2001-01-01 %02d:%02d:%02d,JFK,%d\n", i/3600%24, i/60%60, i%60, i)
	}
	bigSpine(t, w.path("spine.parquet"), 1000)
	b, err := os.ReadFile(w.path("spine.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"spine.csv": text.Bytes(), "spine.parquet": b, "short.csv": []byte("t,airport\n")} {
		if err := os.WriteFile(w.path(name), content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := bucket.Put(ctx, "labels/"+name, content); err != nil {
			t.Fatal(err)
		}
		local, remote := w.request("one", w.path(name)), w.request("one", s.URL(stores.Lake, "labels/"+name))
		local.Out, remote.Out = w.path("local.parquet"), w.path("remote.parquet")
		if l, r := w.export(t, local), w.export(t, remote); l.Rows != r.Rows {
			t.Errorf("%s: %d rows, %d of the object", name, l.Rows, r.Rows)
		}
		want, err := os.ReadFile(local.Out)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(remote.Out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes of the object", name)
		}
	}
	_, err = Export(ctx, w.request("one", s.URL(stores.Lake, "labels/gone.csv")))
	wantInvalid(t, "an object that is not there", err, "labels/gone.csv", "does not exist")
}
