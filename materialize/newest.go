package materialize

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
)

const (
	// footersAtOnce are how many files are looked at together.
	footersAtOnce = 8
	// footersFor is how long one view's files are looked at; what is left, the next status looks at.
	footersFor = 2 * time.Second
)

// footers are the ranges of event times of files that Status has looked at. Safe for concurrent use.
type footers struct {
	mu     sync.Mutex
	byView map[string]map[footer][]asof.Range // nil ranges: not known
}

// footer is what ranges depend on.
type footer struct {
	path, identity string
	size           int64
	times          string // how event times are read
}

// of returns what is known of a view's files, to be added to under mu, and forgets files that are not among them.
func (s *footers) of(view string, keys []footer) map[footer][]asof.Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[footer][]asof.Range, len(keys))
	for _, k := range keys {
		if ranges, ok := s.byView[view][k]; ok {
			known[k] = ranges
		}
	}
	if s.byView == nil {
		s.byView = map[string]map[footer][]asof.Range{}
	}
	s.byView[view] = known
	return known
}

func (s *footers) has(known map[footer][]asof.Range, k footer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := known[k]
	return ok
}

func (s *footers) add(known map[footer][]asof.Range, k footer, ranges []asof.Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known[k] = ranges
}

// newestInSource returns the newest event time that a run now could bring online, as far as statistics tell it; NoTime
// where they do not, or there is none.
func (s *Service) newestInSource(
	ctx context.Context, v *registry.View, g *state.Generation, files []source.File, d *difference, now time.Time,
) (int64, error) {
	newest := int64(state.NoTime)
	if g != nil && len(d.changed)+len(d.gone) == 0 {
		// All else was read.
		newest, files = g.Newest, slices.Concat(d.fresh, d.due)
	}
	if len(files) == 0 {
		return newest, nil
	}
	upTo := now.Add(-s.cfg.MaxClockSkew).UnixMicro()
	if g != nil {
		upTo = max(upTo, g.T)
	}
	found, whole, err := s.ranges(ctx, v, files)
	if err != nil || !whole {
		return state.NoTime, err
	}
	for _, ranges := range found {
		for _, r := range ranges {
			switch {
			case r.Greatest <= upTo:
				newest = max(newest, r.Greatest)
			case r.Least <= upTo: // some row is that old; the others may be dated later
				newest = max(newest, r.Least)
			}
		}
	}
	return newest, nil
}

// ranges returns the ranges of event times of files; whole is false where statistics or the time did not suffice.
func (s *Service) ranges(ctx context.Context, v *registry.View, files []source.File) (found [][]asof.Range, whole bool, err error) {
	times := fmt.Sprint(v.Source.EventTime, v.Source.Timezone, v.Source.Ambiguous)
	keys := make([]footer, len(files))
	for i, f := range files {
		keys[i] = footer{f.Path, f.Identity, f.Size, times}
	}
	known := s.footers.of(v.Name, keys)
	in := asof.Input{View: v, Source: s.cfg.Files, Files: files, Cutoff: asof.NoCutoff}
	brief, end := context.WithTimeout(ctx, footersFor)
	defer end()
	group, reading := errgroup.WithContext(brief)
	group.SetLimit(footersAtOnce)
	for i, k := range keys {
		if s.footers.has(known, k) {
			continue
		}
		group.Go(func() error {
			ranges, ok, err := asof.EventRanges(reading, in, i, s.cfg.Limits)
			switch {
			case err != nil:
				return err
			case !ok:
				ranges = nil
			case ranges == nil:
				ranges = []asof.Range{} // no rows
			}
			s.footers.add(known, k, ranges)
			return nil
		})
	}
	switch err := group.Wait(); {
	case err != nil && brief.Err() != nil && ctx.Err() == nil:
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	for _, k := range keys {
		if known[k] == nil {
			return nil, false, nil
		}
		found = append(found, known[k])
	}
	return found, true, nil
}
