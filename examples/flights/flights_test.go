package flights

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

func TestUnpackEndsNow(t *testing.T) {
	for _, now := range []time.Time{
		End,
		End.Add(time.Microsecond),
		time.Date(2026, 11, 22, 17, 41, 3, 999_000, time.UTC),
		time.Date(2031, 2, 28, 23, 59, 59, 0, time.UTC),
	} {
		t.Run(now.Format(time.RFC3339Nano), func(t *testing.T) {
			p, err := Unpack(filepath.Join(t.TempDir(), "demo"), now)
			if err != nil {
				t.Fatal(err)
			}
			if p.Shift%(7*24*time.Hour) != 0 {
				t.Errorf("shift %v is not whole weeks", p.Shift)
			}
			var newest int64
			each(t, filepath.Join(p.Dir, "data", "airport_hourly"), func(r AirportHour) {
				newest = max(newest, r.Hour)
				if r.Hour%hour != 0 || r.LoadedAt <= r.Hour {
					t.Fatalf("row %+v: not the end of an hour, or loaded before it", r)
				}
			})
			if lag := now.UnixMicro() - newest; lag < 0 || lag >= 2*hour {
				t.Errorf("airport_hourly ends %v before now", time.Duration(lag)*time.Microsecond)
			}
			newest = 0
			each(t, filepath.Join(p.Dir, "data", "route_daily"), func(r RouteDay) { newest = max(newest, (int64(r.Day)+1)*day) })
			if lag := now.UnixMicro() - newest; lag < 0 || lag >= day {
				t.Errorf("route_daily ends %v before now", time.Duration(lag)*time.Microsecond)
			}
			flights, err := parquet.ReadFile[Flight](p.Spine)
			if err != nil {
				t.Fatal(err)
			}
			if len(flights) < 20_000 {
				t.Errorf("%d flights in the spine", len(flights))
			}
			for _, f := range flights {
				if f.Departs > now.UnixMicro() {
					t.Fatalf("flight %+v departs after now", f)
				}
			}
		})
	}
}

// A week's folder holds that week's rows, so that moving the data by weeks moves rows and folders alike.
func TestUnpackFolders(t *testing.T) {
	p, err := Unpack(t.TempDir(), time.Date(2026, 11, 22, 17, 41, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	folders, err := os.ReadDir(filepath.Join(p.Dir, "data", "airport_hourly"))
	if err != nil || len(folders) < 8 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for _, f := range folders {
		each(t, filepath.Join(p.Dir, "data", "airport_hourly", f.Name()), func(r AirportHour) {
			want := "week=" + time.UnixMicro(WeekOf(r.Hour-1)).UTC().Format(time.DateOnly)
			if want != f.Name() {
				t.Fatalf("row of %s in folder %s", want, f.Name())
			}
		})
	}
}

func TestUnpackRefusesFullFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(dir, End); err == nil {
		t.Fatal("unpacked over somebody's files")
	}
}

func TestShippedSize(t *testing.T) {
	var size int64
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			info, err := e.Info()
			if err != nil {
				return err
			}
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 4<<20 {
		t.Fatalf("the example is %d bytes, %v; it ships within the binary, at most 4 MiB", size, err)
	}
}

func each[T any](t *testing.T, dir string, fn func(T)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rows, err := parquet.ReadFile[T](path)
		for _, r := range rows {
			fn(r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
