package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/provender-dev/provender/offline/source"
)

// withFile calls fn with the bytes of a local file or of the object at a URL. Its own errors are *problem.Error,
// NotFound where there is none.
func withFile(ctx context.Context, path string, fn func(io.Reader) error) error {
	if source.IsURL(path) {
		handle, err := source.OpenObject(ctx, path)
		if err != nil {
			return err
		}
		defer handle.Close()
		return fn(io.NewSectionReader(handle, 0, handle.File.Size))
	}
	file, err := os.Open(path)
	if err != nil {
		return fileProblem(path, err)
	}
	defer file.Close()
	return fn(file)
}

// digestOf returns the SHA-256 of a file's bytes.
func digestOf(ctx context.Context, path string) (string, error) {
	h := sha256.New()
	err := withFile(ctx, path, func(r io.Reader) error {
		if _, err := io.CopyBuffer(h, interruptible{ctx, r}, make([]byte, 1<<20)); err != nil {
			return fileProblem(path, err)
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// readAll returns a file's bytes, of which there are at most so many.
func readAll(ctx context.Context, path string, most int64) (raw []byte, err error) {
	err = withFile(ctx, path, func(r io.Reader) (err error) {
		if raw, err = io.ReadAll(io.LimitReader(interruptible{ctx, r}, most+1)); err == nil && int64(len(raw)) > most {
			err = fmt.Errorf("larger than %d bytes", most)
		}
		if err != nil {
			return fileProblem(path, err)
		}
		return nil
	})
	return raw, err
}

// interruptible is a reader that ends with its context.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}
