package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/provender-dev/provender/offline/source/object"
)

// upload is a list of blocks, unseen until it is committed.
type upload struct {
	bucket *Bucket
	key    string
	mark   string // keeps our blocks apart from those of another upload of the same name

	mu    sync.Mutex
	parts int
}

// Upload begins a list of blocks.
func (b *Bucket) Upload(_ context.Context, key string) (object.Upload, error) {
	return &upload{bucket: b, key: key, mark: rand.Text()[:16]}, nil
}

// Parallel is how many blocks may be sent at once.
func (u *upload) Parallel() int { return 4 }

// block returns the id of a part; all ids have the same length.
func (u *upload) block(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%08d", u.mark, n))
}

// Part sends one block.
func (u *upload) Part(ctx context.Context, n int, _ int64, body []byte, _ bool) error {
	query := url.Values{"comp": {"block"}, "blockid": {u.block(n)}}
	if err := u.bucket.do(ctx, http.MethodPut, u.key, query, nil, body, nothing); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = max(u.parts, n+1)
	return nil
}

// Commit makes the blob of its blocks. It may be sent again after it has succeeded.
func (u *upload) Commit(ctx context.Context) error {
	list := struct {
		XMLName xml.Name `xml:"BlockList"`
		Latest  []string
	}{}
	for n := range u.parts {
		list.Latest = append(list.Latest, u.block(n))
	}
	body, err := xml.Marshal(list)
	if err != nil {
		return err
	}
	return u.bucket.do(ctx, http.MethodPut, u.key, url.Values{"comp": {"blocklist"}}, nil, body, nothing)
}

// Abort leaves the blocks to the service, which discards what is not committed within a week, or when the blob is
// written anew: they can't be removed without touching a blob of that name.
func (u *upload) Abort(context.Context) error { return nil }
