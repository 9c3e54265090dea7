package gcs

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/offline/source/object"
)

const contentType = "application/octet-stream"

// upload is a resumable upload: one stream of bytes, seen when its last byte has come.
type upload struct {
	bucket  *Bucket
	key     string
	session *url.URL
	sum     uint32 // CRC-32C of the parts so far
	done    bool
	made    resource // once done
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Upload begins a resumable upload.
func (b *Bucket) Upload(ctx context.Context, key string) (object.Upload, error) {
	query := url.Values{"uploadType": {"resumable"}, "name": {key}}
	header := http.Header{"X-Upload-Content-Type": {contentType}}
	u := &upload{bucket: b, key: key}
	err := b.client.Do(ctx, b.request(http.MethodPost, b.url(uploadAPI, "", query), header, nil), func(resp *http.Response) error {
		at, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || at.Query().Get("upload_id") == "" {
			return object.Malformed(errors.New("it has no upload id"))
		}
		// The session stays with the server that was asked, whatever host it names.
		query.Set("upload_id", at.Query().Get("upload_id"))
		u.session = b.url(uploadAPI, "", query)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Parallel is 1: the bytes are one stream.
func (u *upload) Parallel() int { return 1 }

// Part sends the bytes at offset. After a failure it asks how far the store has come and goes on from there.
func (u *upload) Part(ctx context.Context, _ int, offset int64, body []byte, last bool) error {
	end := offset + int64(len(body))
	total := "*"
	if last {
		total = strconv.FormatInt(end, 10)
	}
	at := offset
	tried := false
	u.sum = crc32.Update(u.sum, castagnoli, body)
	err := u.bucket.client.Policy().Retry(ctx, func() error {
		if tried {
			if err := u.put(ctx, "bytes */"+total, nil, &at); err != nil {
				return err
			}
			if at < offset || at > end {
				return fmt.Errorf("the store has %d bytes, sent were those from %d to %d", at, offset, end)
			}
		}
		tried = true
		if u.done || at == end && !last {
			return nil
		}
		if err := u.put(ctx, fmt.Sprintf("bytes %d-%d/%s", at, end-1, total), body[at-offset:], &at); err != nil {
			return err
		}
		if !u.done && (at < end || last) {
			return object.Malformed(fmt.Errorf("%d bytes of %d were kept", at-offset, len(body)))
		}
		return nil
	})
	switch {
	case last && object.KindOf(err) == object.Missing && u.known(ctx, end):
		u.done = true // an earlier try did it, its answer lost
		return nil
	case err != nil || !u.done:
		return err
	}
	return u.check(ctx, end, last)
}

// known reports whether the object is there as it was sent.
func (u *upload) known(ctx context.Context, size int64) bool {
	b := u.bucket
	query := url.Values{"fields": {"name,size,generation,crc32c"}}
	err := b.client.Do(ctx, b.request(http.MethodGet, b.url(api, u.key, query), nil, nil), func(resp *http.Response) error {
		return decode(resp, &u.made)
	})
	return err == nil && u.made.Size == strconv.FormatInt(size, 10) && u.made.CRC32C == u.checksum()
}

func (u *upload) checksum() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, u.sum))
}

// check holds what the store has made against what was sent, and removes it where it is something else.
func (u *upload) check(ctx context.Context, size int64, last bool) error {
	if last && u.made.Size == strconv.FormatInt(size, 10) && (u.made.CRC32C == "" || u.made.CRC32C == u.checksum()) {
		return nil
	}
	err := fmt.Errorf("the store has made an object of %s bytes, not of the %d that were sent", u.made.Size, size)
	query := url.Values{"ifGenerationMatch": {u.made.Generation}}
	b := u.bucket
	return errors.Join(err, b.client.Do(ctx, b.request(http.MethodDelete, b.url(api, u.key, query), nil, nil), nothing))
}

// put sends bytes, or none to ask, and notes how far the store has come.
func (u *upload) put(ctx context.Context, span string, body []byte, at *int64) error {
	req := u.bucket.request(http.MethodPut, u.session, http.Header{"Content-Range": {span}}, body)
	req.Accept = []int{http.StatusPermanentRedirect}
	return u.bucket.client.Once(ctx, req, func(resp *http.Response) error {
		if resp.StatusCode != http.StatusPermanentRedirect {
			u.done = true
			return decode(resp, &u.made)
		}
		kept := resp.Header.Get("Range")
		if kept == "" {
			*at = 0
			return nil
		}
		_, last, _ := strings.Cut(kept, "-")
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return object.Malformed(err)
		}
		*at = n + 1
		return nil
	})
}

// Commit checks that the last part has ended the upload.
func (u *upload) Commit(context.Context) error {
	if !u.done {
		return errors.New("the upload has not ended")
	}
	return nil
}

// statusAborted is the store's answer to the end of an upload.
const statusAborted = 499

// Abort ends the upload.
func (u *upload) Abort(ctx context.Context) error {
	if u.done {
		return nil
	}
	req := u.bucket.request(http.MethodDelete, u.session, nil, nil)
	req.Accept = []int{statusAborted, http.StatusNotFound, http.StatusGone}
	return u.bucket.client.Do(ctx, req, nothing)
}
