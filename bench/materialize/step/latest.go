package main

import (
	"context"
	"errors"
	"fmt"

	pq "github.com/parquet-go/parquet-go"

	"github.com/provender-dev/provender/bench/internal/table"
	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/offline/asof"
	"github.com/provender-dev/provender/registry"
)

// latest takes the newest row of every entity, and writes them where they are asked for.
func (s *settings) latest(ctx context.Context) (err error) {
	in, since, err := s.input(ctx)
	if err != nil {
		return err
	}
	take := func(*asof.Batch) error { return nil }
	if s.out != "" {
		w, err := newWriter(s.out, in.View)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		take = w.write
	}
	rows := 0
	_, err = asof.Latest(ctx, in, since, asof.Options{}, func(b *asof.Batch) error {
		rows += len(b.Event)
		return take(b)
	})
	if err == nil && rows == 0 {
		err = errors.New("no rows")
	}
	return err
}

// writer writes rows of a view with one int64 key and float64 features: a column of each name of the source.
type writer struct {
	*table.Table
	key, event, created int
	features            []int
}

func newWriter(path string, v *registry.View) (*writer, error) {
	nodes := pq.Group{
		v.KeyColumns[0].Column: pq.Int(64), v.Source.EventTime.Column: table.Instant(), v.Source.CreatedTime: table.Instant(),
	}
	for i, f := range v.Features {
		if f.Type != (columnar.Type{Kind: columnar.Float64}) {
			return nil, fmt.Errorf("feature %s is no float64", f.Name)
		}
		nodes[v.FeatureColumn(i)] = pq.Optional(pq.Leaf(pq.DoubleType))
	}
	t, err := table.Create(path, nodes)
	if err != nil {
		return nil, err
	}
	w := &writer{
		Table: t, key: t.Column(v.KeyColumns[0].Column), event: t.Column(v.Source.EventTime.Column),
		created: t.Column(v.Source.CreatedTime),
	}
	for i := range v.Features {
		w.features = append(w.features, t.Column(v.FeatureColumn(i)))
	}
	return w, nil
}

func (w *writer) write(b *asof.Batch) error {
	for i, event := range b.Event {
		w.Set(w.key, pq.Int64Value(b.Keys[0].Int64s[i]))
		w.Set(w.event, pq.Int64Value(event))
		w.Set(w.created, pq.Int64Value(b.Created[i]))
		for f, v := range b.Features {
			value := pq.NullValue()
			if !v.IsNull(i) {
				value = pq.DoubleValue(v.Float64s[i])
			}
			w.SetOptional(w.features[f], value)
		}
		if err := w.EndRow(); err != nil {
			return err
		}
	}
	return nil
}
