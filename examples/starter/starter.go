// Package starter is the small project that `provender init` writes: a configuration, definitions, a little data.
package starter

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

//go:embed project
var project embed.FS

// Service is the project's feature service, Spine its labels and Time their time column.
const (
	Service = "churn_model_v1"
	Spine   = "data/labels.parquet"
	Time    = "labelled_at"
)

// Files returns the project's files by path, its data ending at the last midnight before now.
func Files(name string, now time.Time) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(project, "project", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := project.ReadFile(path)
		if err != nil {
			return err
		}
		to := strings.TrimPrefix(path, "project/")
		if to == "gitignore" { // embedding passes over names with a dot in front
			to = ".gitignore"
		}
		files[to] = []byte(strings.ReplaceAll(string(raw), "{{project}}", name))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the starter project: %w", err)
	}
	orders, labels, err := data(now)
	if err != nil {
		return nil, fmt.Errorf("write the starter project's data: %w", err)
	}
	files["data/customer_orders/orders.parquet"], files[Spine] = orders, labels
	return files, nil
}

// order is a row of the starter project's history.
type order struct {
	CustomerID int64     `parquet:"customer_id"`
	DayEnd     time.Time `parquet:"day_end,timestamp(microsecond)"`
	LoadedAt   time.Time `parquet:"loaded_at,timestamp(microsecond)"`
	Orders     int64     `parquet:"orders_30d"`
	Spend      *float64  `parquet:"spend_30d,optional"`
	Category   string    `parquet:"favourite_category,dict"`
}

// label is a row of the starter project's spine.
type label struct {
	CustomerID int64     `parquet:"customer_id"`
	LabelledAt time.Time `parquet:"labelled_at,timestamp(microsecond)"`
	Churned    bool      `parquet:"churned"`
}

// The starter project has so many customers, each with a row for so many days that end with the last midnight.
const (
	customers = 20
	days      = 14
)

// data makes the Parquet files: rows that end shortly before now, some values null, and
// one row that was corrected a day later.
func data(now time.Time) (orders, labels []byte, err error) {
	categories := []string{"books", "garden", "kitchen", "toys"}
	midnight := now.UTC().Truncate(24 * time.Hour)
	var history []order
	var spine []label
	for day := days - 1; day >= 0; day-- {
		end := midnight.AddDate(0, 0, -day)
		for id := int64(1); id <= customers; id++ {
			n := (id*7 + int64(day)*3) % 9
			row := order{
				CustomerID: id, DayEnd: end, LoadedAt: end.Add(20 * time.Minute),
				Orders: n, Category: categories[(id+n)%int64(len(categories))],
			}
			if n > 0 {
				spend := float64(n)*12.5 + float64(id)/4
				row.Spend = &spend
			}
			history = append(history, row)
		}
	}
	corrected := history[0]
	corrected.LoadedAt, corrected.Orders = corrected.LoadedAt.Add(24*time.Hour), corrected.Orders+1
	history = append(history, corrected)
	for id := int64(1); id <= customers; id++ {
		at := midnight.AddDate(0, 0, -int(id%days)).Add(9*time.Hour - 24*time.Hour)
		spine = append(spine, label{CustomerID: id, LabelledAt: at, Churned: id%3 == 0})
	}
	if orders, err = encode(history); err != nil {
		return nil, nil, err
	}
	labels, err = encode(spine)
	return orders, labels, err
}

func encode[T any](rows []T) ([]byte, error) {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b)
	if _, err := w.Write(rows); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
