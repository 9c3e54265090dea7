// Package flights is the example that ships with Provender: US flights of May and June 2001, as features of airports
// and routes and as a spine of flights to predict delays for.
package flights

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

//go:embed provender.yaml provender.schema.json definitions data
var files embed.FS

const (
	hour = int64(3600e6) // microseconds
	day  = 24 * hour
	week = 7 * day
	// monday is a Monday's midnight after 1970-01-01, a Thursday.
	monday = 4 * day
)

// End is the instant at which the data ends.
var End = time.Date(2001, 7, 1, 0, 0, 0, 0, time.UTC)

// WeekOf returns the midnight of the Monday of t's week, both in microseconds UTC.
func WeekOf(t int64) int64 { return t - (t-monday)%week }

// Project names what a caller needs of the unpacked example.
type Project struct {
	Dir     string
	Service string        // the feature service
	Spine   string        // path of the spine
	Time    string        // the spine's time column
	Shift   time.Duration // how far times were moved
}

// Unpack writes the example into dir, which must not exist or be empty, with every time moved by the same whole number
// of weeks so that the data ends at now: the hour of day and the day of week stay, what lies after now is left out.
func Unpack(dir string, now time.Time) (Project, error) {
	p := Project{Dir: dir, Service: "delay_model_v1", Spine: filepath.Join(dir, "data", "flights.parquet"), Time: "departs"}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return p, fmt.Errorf("%s is not empty", dir)
	}
	weeks := (now.UnixMicro() - End.UnixMicro() + week - 1) / week
	p.Shift = time.Duration(weeks*week) * time.Microsecond
	s := shift{by: weeks * week, now: now.UnixMicro()}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return s.write(dir, name, content)
	})
	if err != nil {
		return p, fmt.Errorf("unpack the flights example: %w", err)
	}
	return p, nil
}

type shift struct{ by, now int64 }

func (s shift) write(dir, name string, content []byte) error {
	rel := filepath.FromSlash(s.folder(name))
	target := filepath.Join(dir, rel)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(name, "data/airport_hourly/"):
		return rewrite(target, content, func(r *AirportHour) bool {
			r.Hour += s.by
			r.LoadedAt += s.by
			return r.Hour <= s.now
		})
	case strings.HasPrefix(name, "data/route_daily/"):
		return rewrite(target, content, func(r *RouteDay) bool {
			r.Day += int32(s.by / day)
			r.LoadedAt += s.by
			return (int64(r.Day)+1)*day <= s.now
		})
	case name == "data/flights.parquet":
		return rewrite(target, content, func(r *Flight) bool {
			r.Departs += s.by
			return r.Departs <= s.now
		})
	default:
		return os.WriteFile(target, content, 0o644)
	}
}

// folder moves the date of a `week=2001-05-07` folder.
func (s shift) folder(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if date, ok := strings.CutPrefix(part, "week="); ok {
			if t, err := time.Parse(time.DateOnly, date); err == nil {
				parts[i] = "week=" + time.UnixMicro(t.UnixMicro()+s.by).UTC().Format(time.DateOnly)
			}
		}
	}
	return path.Join(parts...)
}

// rewrite writes the rows of a Parquet file that move keeps, as it changed them; none at all: no file.
func rewrite[T any](target string, content []byte, move func(*T) bool) error {
	rows, err := parquet.Read[T](bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	kept := rows[:0]
	for i := range rows {
		if move(&rows[i]) {
			kept = append(kept, rows[i])
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return parquet.WriteFile(target, kept, parquet.Compression(&parquet.Zstd))
}
