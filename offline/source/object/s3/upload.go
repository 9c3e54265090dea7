package s3

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/provender-dev/provender/offline/source/object"
)

// upload is a multipart upload.
type upload struct {
	bucket *Bucket
	key    string
	id     string
	mark   string // in the object's metadata: tells our object from another's

	mu    sync.Mutex
	etags []string // by part
}

// markHeader carries the mark of an upload.
const markHeader = "X-Amz-Meta-Provender-Upload"

// Upload begins a multipart upload.
func (b *Bucket) Upload(ctx context.Context, key string) (object.Upload, error) {
	u := &upload{bucket: b, key: key, mark: rand.Text()}
	header := http.Header{markHeader: {u.mark}}
	err := b.do(ctx, http.MethodPost, key, url.Values{"uploads": {""}}, header, nil, func(resp *http.Response) error {
		body, err := object.ReadAll(resp)
		if err != nil {
			return err
		}
		var began struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadID string   `xml:"UploadId"`
		}
		if err := xml.Unmarshal(body, &began); err != nil {
			return object.Malformed(err)
		}
		if began.UploadID == "" {
			return object.Malformed(errors.New("it has no upload id"))
		}
		u.id = began.UploadID
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Parallel is how many parts may be sent at once.
func (u *upload) Parallel() int { return 4 }

// Part sends one part.
func (u *upload) Part(ctx context.Context, n int, _ int64, body []byte, _ bool) error {
	var etag string
	query := url.Values{"partNumber": {partNumber(n)}, "uploadId": {u.id}}
	err := u.bucket.do(ctx, http.MethodPut, u.key, query, nil, body, func(resp *http.Response) error {
		if etag = resp.Header.Get("ETag"); etag == "" {
			return object.Malformed(errors.New("it has no ETag"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.etags) <= n {
		u.etags = append(u.etags, "")
	}
	u.etags[n] = etag
	return nil
}

// Commit puts the parts together.
func (u *upload) Commit(ctx context.Context) error {
	type part struct {
		PartNumber string
		ETag       string
	}
	var list struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Parts   []part   `xml:"Part"`
	}
	for n, etag := range u.etags {
		list.Parts = append(list.Parts, part{partNumber(n), etag})
	}
	body, err := xml.Marshal(list)
	if err != nil {
		return err
	}
	err = u.bucket.do(ctx, http.MethodPost, u.key, url.Values{"uploadId": {u.id}}, nil, body, func(resp *http.Response) error {
		// The status is sent before the work is done: what counts is the body.
		body, err := object.ReadAll(resp)
		if err != nil {
			return err
		}
		var root struct{ XMLName xml.Name }
		switch err := xml.Unmarshal(body, &root); {
		case err != nil:
			return object.Malformed(err)
		case root.XMLName.Local != "CompleteMultipartUploadResult":
			return object.Answer(resp, body)
		}
		return nil
	})
	if object.KindOf(err) != object.Missing {
		return err
	}
	// An earlier try may have done it, its answer lost.
	committed := false
	if herr := u.bucket.do(ctx, http.MethodHead, u.key, nil, nil, nil, func(resp *http.Response) error {
		committed = strings.EqualFold(resp.Header.Get(markHeader), u.mark)
		return nil
	}); herr != nil {
		return fmt.Errorf("%w; whether an earlier try succeeded is not known: %w", err, herr)
	}
	if committed {
		return nil
	}
	return err
}

// Abort removes the parts.
func (u *upload) Abort(ctx context.Context) error {
	err := u.bucket.do(ctx, http.MethodDelete, u.key, url.Values{"uploadId": {u.id}}, nil, nil, nothing)
	if object.KindOf(err) == object.Missing {
		return nil
	}
	return err
}
