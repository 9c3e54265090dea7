package offline

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
)

// output is a file or an object being written. It gets its name by commit, complete; discard removes it.
type output struct {
	path   string // the name it will have
	size   int64  // bytes written
	sink   sink
	buffer *bufio.Writer
	digest hash.Hash
}

// sink is where the bytes of an output go.
type sink interface {
	io.Writer
	// finish makes all that was written durable, still without its name.
	finish() error
	// commit gives it its name, in place of what has it.
	commit(ctx context.Context) error
	// discard removes it; after commit it does nothing.
	discard()
}

func newOutput(path string, s sink) *output {
	o := &output{path: path, sink: s, digest: sha256.New()}
	o.buffer = bufio.NewWriterSize(io.MultiWriter(s, o.digest), 1<<20)
	return o
}

// createOutput begins a file or, at a URL, an object.
func createOutput(ctx context.Context, path string) (*output, error) {
	if source.IsURL(path) {
		w, err := source.Create(ctx, path)
		if err != nil {
			return nil, outputProblem(path, err)
		}
		return newOutput(path, &object{w}), nil
	}
	f, err := createFile(path)
	if err != nil {
		return nil, outputProblem(path, err)
	}
	return newOutput(path, f), nil
}

func outputProblem(path string, err error) error {
	var known *problem.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	e := &problem.Error{Code: problem.Invalid, Message: fmt.Sprintf("write %s: %v", path, err), Field: "out", Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Code, e.Suggestion = problem.Exhausted, "free some space"
	}
	return e
}

// Write appends to the output.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.buffer.Write(b)
	o.size += int64(n)
	if err != nil {
		return n, outputProblem(o.path, err)
	}
	return n, nil
}

// finish makes all that was written durable, still without its name, and returns its SHA-256.
func (o *output) finish() (string, error) {
	err := o.buffer.Flush()
	if err == nil {
		err = o.sink.finish()
	}
	if err != nil {
		return "", outputProblem(o.path, err)
	}
	return hex.EncodeToString(o.digest.Sum(nil)), nil
}

// commit gives the finished output its name, in place of what has it.
func (o *output) commit(ctx context.Context) error {
	if err := o.sink.commit(ctx); err != nil {
		return outputProblem(o.path, err)
	}
	return nil
}

// discard removes the output; after commit it does nothing.
func (o *output) discard() { o.sink.discard() }

// file is a file under a temporary name beside its own. The name begins with a dot, so that no source takes the
// unfinished file for data.
type file struct {
	*os.File
	path, temp string
}

func createFile(path string) (*file, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, errors.New("is a folder; name a file in it")
	}
	sweep(path)
	f := &file{path: path, temp: temporaryName(path)}
	var err error
	f.File, err = os.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s does not exist", filepath.Dir(path))
	}
	if err != nil {
		return nil, err
	}
	lock(f.File)
	return f, nil
}

// temporaryLength is the length of the random end of a temporary name.
const temporaryLength = 10

func temporaryName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp-"+rand.Text()[:temporaryLength])
}

func (f *file) finish() error { return errors.Join(f.Sync(), f.Close()) }

func (f *file) commit(context.Context) error {
	if err := os.Rename(f.temp, f.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (f *file) discard() {
	_ = f.Close() // closed already where finish was reached
	_ = os.Remove(f.temp)
}

// object is an object of a store.
type object struct{ source.Writer }

func (o *object) finish() error                    { return nil }
func (o *object) commit(ctx context.Context) error { return o.Commit(ctx) }
func (o *object) discard()                         { _ = o.Abort() } // what is left is the store's to remove

// stream is somebody else's writer, such as the process's standard output: what was written is out.
type stream struct{ io.Writer }

func (stream) finish() error                { return nil }
func (stream) commit(context.Context) error { return nil }
func (stream) discard()                     {}
