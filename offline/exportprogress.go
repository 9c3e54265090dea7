package offline

import (
	"sync"

	"github.com/provender-dev/provender/registry"
)

// stages reports how far an export is: one call at a time, without figures that go back. A nil one reports nothing.
//
// The shares of the whole are guessed from what a stage has to read and to write: matching a read costs its files once,
// its features their share of the files and their cells, the output what it holds.
type stages struct {
	report  func(Progress)
	service *registry.Service
	rows    int64
	begins  []float64 // share of the whole before a read is matched; last, before the output is written
	matches []float64 // share of matching it
	cells   []int64   // of a read's outputs
	fields  []int     // features to gather of a read

	mu      sync.Mutex
	last    Progress
	gathers int   // features gathered of the read
	encodes int64 // cells encoded of it
}

// newStages returns nil where nobody listens.
func newStages(e *export) *stages {
	if e.req.Progress == nil {
		return nil
	}
	service, rows := e.req.Service, int64(len(e.spine.times))
	s := &stages{
		report: e.req.Progress, service: service, rows: rows,
		begins: make([]float64, len(service.Reads)+1), matches: make([]float64, len(service.Reads)),
		cells: make([]int64, len(service.Reads)), fields: make([]int, len(service.Reads)),
	}
	for _, output := range service.Outputs {
		s.cells[output.Read] += rows
	}
	const cellBytes = 8
	at := 0.0
	for r, read := range service.Reads {
		bytes := 0.0
		for _, file := range e.answer.inputs[r] {
			bytes += float64(file.Size)
		}
		s.fields[r] = len(e.answer.features[r])
		s.begins[r], s.matches[r] = at, bytes
		at += bytes + bytes*float64(s.fields[r])/float64(max(1, len(read.View.Features))) + cellBytes*float64(s.cells[r])
	}
	s.begins[len(service.Reads)] = at
	at += float64(e.spine.size()) + cellBytes/2*float64(rows*int64(len(service.Outputs))) + 1
	for r := range s.begins {
		s.begins[r] /= at
	}
	for r := range s.matches {
		s.matches[r] /= at
	}
	return s
}

// matched tells of rows of a read's source.
func (s *stages) matched(r int, done, size int64) {
	if s == nil {
		return
	}
	part := 0.0
	if size > 0 {
		part = float64(done) / float64(size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(Progress{Stage: readName(s.service, r), Done: done, Size: size, Part: s.begins[r] + part*s.matches[r]})
}

// gathered tells that some more features of a read are in memory.
func (s *stages) gathered(r, features int) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathers += features
	s.features(r)
}

// encoded tells that some more cells of a read are encoded.
func (s *stages) encoded(r, cells int) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.encodes += int64(cells)
	s.features(r)
	if s.encodes == s.cells[r] {
		s.gathers, s.encodes = 0, 0
	}
}

func (s *stages) features(r int) {
	const gather = 0.7 // of the work on a feature
	part := gather*float64(s.gathers)/float64(s.fields[r]) + (1-gather)*float64(s.encodes)/float64(max(1, s.cells[r]))
	begins := s.begins[r] + s.matches[r]
	s.tell(Progress{
		Stage: readName(s.service, r) + ", features", Done: s.encodes * s.rows / max(1, s.cells[r]), Size: s.rows,
		Part: begins + part*(s.begins[r+1]-begins),
	})
}

// written tells how many rows of the output are written.
func (s *stages) written(rows int) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	begins := s.begins[len(s.begins)-1]
	s.tell(Progress{Stage: "write", Done: int64(rows), Size: s.rows, Part: begins + (1-begins)*float64(rows)/float64(max(1, s.rows))})
}

// tell passes on what is not behind what was told.
func (s *stages) tell(p Progress) {
	if p.Stage == s.last.Stage && p.Done < s.last.Done {
		return
	}
	p.Part = min(1, max(p.Part, s.last.Part))
	s.last = p
	s.report(p)
}
