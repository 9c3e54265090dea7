package object

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Part sizes. Stores want at least 5 MiB and at most 10,000 parts, so parts grow: 8 MiB up to 16 GB, 32 MiB up to 84 GB,
// and so on, to the 5 TiB that an object can have.
const (
	firstPart    = 8 << 20
	growEvery    = 2000 // parts
	maxParts     = 10_000
	sendingBytes = 4 * firstPart // on their way at once; a larger part goes alone
)

// PartBytes returns the size of part number n, counted from 0.
func PartBytes(n int) int { return firstPart << (2 * (n / growEvery)) }

// Writer writes one object that appears at Commit. Not for concurrent use.
type Writer struct {
	ctx    context.Context
	bucket Bucket
	key    string
	buf    []byte

	upload  Upload // nil while all fits one part
	parts   int    // begun
	sent    int64  // bytes given to parts
	sending *errgroup.Group
	sendCtx context.Context
	room    *semaphore.Weighted // of sendingBytes
	spare   chan []byte         // buffers to use again
	done    bool
	err     error
}

// NewWriter begins an object. ctx is that of all writes.
func NewWriter(ctx context.Context, bucket Bucket, key string) *Writer {
	return &Writer{ctx: ctx, bucket: bucket, key: key, room: semaphore.NewWeighted(sendingBytes), spare: make(chan []byte, 4)}
}

var errFinished = errors.New("the object is committed or aborted")

// Write adds bytes. What was sent before a failure stays unseen.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		switch {
		case w.err != nil:
			return written, w.err
		case w.done:
			return written, errFinished
		}
		room := PartBytes(w.parts) - len(w.buf)
		if room == 0 {
			if w.err = w.send(false); w.err != nil {
				return written, w.err
			}
			continue
		}
		n := min(room, len(p))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, nil
}

// send puts the buffer on its way as the next part.
func (w *Writer) send(last bool) error {
	if w.upload == nil {
		upload, err := w.bucket.Upload(w.ctx, w.key)
		if err != nil {
			return err
		}
		w.upload = upload
		w.sending, w.sendCtx = errgroup.WithContext(w.ctx)
		w.sending.SetLimit(upload.Parallel())
	}
	if w.parts == maxParts {
		return fmt.Errorf("more than %d parts", maxParts)
	}
	n, offset, body := w.parts, w.sent, w.buf
	weight := min(int64(len(body)), sendingBytes)
	if err := w.room.Acquire(w.sendCtx, weight); err != nil {
		return w.failed()
	}
	w.parts++
	w.sent += int64(len(body))
	w.sending.Go(func() error {
		defer w.room.Release(weight)
		if err := w.upload.Part(w.sendCtx, n, offset, body, last); err != nil {
			return err
		}
		select {
		case w.spare <- body[:0]:
		default:
		}
		return nil
	})
	select {
	case w.buf = <-w.spare:
	default:
		w.buf = make([]byte, 0, firstPart)
	}
	return nil
}

// failed waits for the parts on their way and returns the first failure.
func (w *Writer) failed() error {
	if err := w.sending.Wait(); err != nil {
		return err
	}
	return context.Cause(w.ctx)
}

// Commit makes the object visible under its key.
func (w *Writer) Commit(ctx context.Context) error {
	switch {
	case w.err != nil:
		return w.err
	case w.done:
		return errFinished
	}
	w.err = w.commit(ctx)
	if w.err == nil {
		w.done = true
	}
	return w.err
}

func (w *Writer) commit(ctx context.Context) error {
	if w.upload == nil {
		return w.bucket.Put(ctx, w.key, w.buf)
	}
	if err := w.send(true); err != nil {
		return err
	}
	if err := w.sending.Wait(); err != nil {
		return err
	}
	return w.upload.Commit(ctx)
}

// Abort discards what was sent. After Commit or a second time it does nothing.
func (w *Writer) Abort(ctx context.Context) error {
	if w.done {
		return nil
	}
	w.done = true
	w.buf = nil
	if w.upload == nil {
		return nil
	}
	_ = w.sending.Wait() // its failure was told, or is not worth telling
	return w.upload.Abort(ctx)
}
