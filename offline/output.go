package offline

import (
	"bufio"
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
)

// output is a file being written under a temporary name beside its own. It gets its name by commit, complete; discard
// removes it. The name begins with a dot, so that no source takes the unfinished file for data.
type output struct {
	path   string // the name it will have
	temp   string
	file   *os.File
	buffer *bufio.Writer
	digest hash.Hash
}

func createOutput(path string) (*output, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, outputProblem(path, errors.New("is a folder; name a file in it"))
	}
	o := &output{path: path, digest: sha256.New()}
	o.temp = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp-"+rand.Text()[:10])
	var err error
	if o.file, err = os.OpenFile(o.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("folder %s does not exist", filepath.Dir(path))
		}
		return nil, outputProblem(path, err)
	}
	o.buffer = bufio.NewWriterSize(io.MultiWriter(o.file, o.digest), 1<<20)
	return o, nil
}

func outputProblem(path string, err error) error {
	e := &problem.Error{Code: problem.Invalid, Message: fmt.Sprintf("write %s: %v", path, err), Field: "out", Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Code, e.Suggestion = problem.Exhausted, "free some space"
	}
	return e
}

// Write appends to the file.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.buffer.Write(b)
	if err != nil {
		return n, outputProblem(o.path, err)
	}
	return n, nil
}

// finish makes all that was written durable under the temporary name and returns its SHA-256.
func (o *output) finish() (string, error) {
	err := o.buffer.Flush()
	if err == nil {
		err = o.file.Sync()
	}
	if err = errors.Join(err, o.file.Close()); err != nil {
		return "", outputProblem(o.path, err)
	}
	return hex.EncodeToString(o.digest.Sum(nil)), nil
}

// commit gives the finished file its name, in place of the file that has it.
func (o *output) commit() error {
	if err := os.Rename(o.temp, o.path); err != nil {
		return outputProblem(o.path, err)
	}
	folder, err := os.Open(filepath.Dir(o.path))
	if err != nil {
		return outputProblem(o.path, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return outputProblem(o.path, err)
	}
	return nil
}

// discard removes the temporary file; after commit it does nothing.
func (o *output) discard() {
	_ = o.file.Close() // closed already where finish was reached
	_ = os.Remove(o.temp)
}
