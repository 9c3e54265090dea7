package offline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
)

// spill keeps encoded chunks until they are written: in memory as long as there is room, then in a temporary file. Safe
// for concurrent use. What it keeps where depends on timing; the chunks' bytes do not.
type spill struct {
	folder string // of the temporary file

	mu   sync.Mutex
	room int64 // bytes that may still stay in memory
	file *temporary
	end  int64 // of what has its place in file
}

// keep takes a chunk.
func (s *spill) keep(e *parquet.Encoded) error {
	file, at, err := s.place(e.Size())
	if err != nil || file == nil {
		return err
	}
	if _, err := file.WriteAt(e.Bytes(), at); err != nil {
		return err
	}
	e.Move(file, at)
	return nil
}

// place returns where a chunk goes; file is nil for memory.
func (s *spill) place(size int64) (file *temporary, at int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room >= size {
		s.room -= size
		return nil, 0, nil
	}
	if s.file == nil {
		if s.file, err = newTemporary(s.folder); err != nil {
			return nil, 0, err
		}
	}
	at = s.end
	s.end += size
	return s.file, at, nil
}

// close gives up the temporary file, and with it all that was moved there.
func (s *spill) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.close()
}

// temporary is a file without a name, which is gone when it is closed or its process ends. Its errors tell users what to
// do.
type temporary struct {
	file   *os.File
	folder string
}

func newTemporary(folder string) (*temporary, error) {
	t := &temporary{folder: folder}
	var err error
	if t.file, err = os.CreateTemp(folder, ".provender-*"); err != nil {
		return nil, t.problem(err)
	}
	if err := os.Remove(t.file.Name()); err != nil {
		return nil, errors.Join(t.problem(err), t.file.Close())
	}
	return t, nil
}

func (t *temporary) Write(b []byte) (int, error) {
	n, err := t.file.Write(b)
	return n, t.problem(err)
}

func (t *temporary) WriteAt(b []byte, at int64) (int, error) {
	n, err := t.file.WriteAt(b, at)
	return n, t.problem(err)
}

func (t *temporary) ReadAt(b []byte, at int64) (int, error) {
	n, err := t.file.ReadAt(b, at)
	return n, t.problem(err)
}

func (t *temporary) close() error { return t.problem(t.file.Close()) }

func (t *temporary) problem(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	e := &problem.Error{Code: problem.Unavailable, Message: fmt.Sprintf("temporary file in %s: %v", t.folder, err), Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		e.Code, e.Suggestion = problem.Exhausted, "free some space there, or let the export have more memory"
	}
	return e
}
