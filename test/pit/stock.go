package pit

import (
	"cmp"
	"fmt"
	"slices"
)

// Stock is what runs must leave online of a view, and no more than that (R12).
type Stock struct {
	View *View
	Rows []Row // one of each entity
	// Diverged tells that rows may remain which no file has any more.
	Diverged bool

	files map[string]consumed
}

// consumed is a file as the last run read it.
type consumed struct {
	content string
	to      int64
}

// Run does what a run does with the files that there are.
func (s *Stock) Run(files map[string][]Row, run *Run) {
	to := floorMicros(run.To)
	var fresh, changed []Row
	gone := false
	for name, had := range s.files {
		rows, there := files[name]
		gone = gone || !there
		if there && had.content != content(rows) {
			changed = append(changed, rows...)
		}
	}
	moved := gone || changed != nil
	if run.Full || moved && s.View.Rewrites != "replace" {
		s.Rows, s.files, s.Diverged = nil, nil, false
		changed, moved = nil, false
	}
	s.Diverged = s.Diverged || moved
	now := map[string]consumed{}
	for name, rows := range files {
		now[name] = consumed{content(rows), to}
		had, known := s.files[name]
		due := func(r Row) bool { return ceilMicros(r.Event) > had.to } // held until now, perhaps
		if !known || had.content == content(rows) && slices.ContainsFunc(rows, due) {
			fresh = append(fresh, rows...)
		}
	}
	s.files = now
	s.take(changed, to, true)
	s.take(fresh, to, false)
}

// take stores the newest of rows up to an instant of each entity where it wins, or, replacing, where its times are
// those of the stored row.
func (s *Stock) take(rows []Row, to int64, replacing bool) {
	var newest []Row
	for _, r := range rows {
		if ceilMicros(r.Event) > to || slices.ContainsFunc(r.Keys, func(k Value) bool { return k.Null }) {
			continue
		}
		if have := find(newest, r.Keys); have == nil {
			newest = append(newest, r)
		} else if s.View.compare(&r, have) > 0 {
			*have = r
		}
	}
	for _, r := range newest {
		have := find(s.Rows, r.Keys)
		switch {
		case have == nil:
			s.Rows = append(s.Rows, r)
		case s.View.compare(&r, have) > 0, replacing && compareTimes(&r, have) == 0:
			*have = r
		}
	}
}

func find(rows []Row, keys []Value) *Row {
	for i := range rows {
		if sameKeys(rows[i].Keys, keys) {
			return &rows[i]
		}
	}
	return nil
}

func compareTimes(a, b *Row) int {
	return cmp.Or(cmp.Compare(ceilMicros(a.Event), ceilMicros(b.Event)), compareCreated(a.Created, b.Created))
}

// content tells files apart.
func content(rows []Row) string {
	s := ""
	for _, r := range rows {
		created := ""
		if r.Created != nil {
			created = fmt.Sprint(*r.Created)
		}
		r.Created = nil
		s += fmt.Sprintf("%s %+v\n", created, r)
	}
	return s
}
