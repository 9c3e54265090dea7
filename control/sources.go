package control

import (
	"context"
	"errors"
	"strconv"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/parquet"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/definition"
)

// checkSources checks every view's columns against a file of its source. A source without files is a warning: they may
// be elsewhere, or yet to come. The error is a diag.Set.
func (s *Service) checkSources(ctx context.Context, project *definition.Project) (warnings diag.Set, err error) {
	snapshot, err := registry.Compile(0, project.Definitions)
	if err != nil {
		return nil, err
	}
	var found diag.Set
	for _, v := range project.Definitions.Views {
		c := sourceCheck{
			view: snapshot.Views[v.Name], limits: s.Limits, positions: project.Positions, found: &found, warnings: &warnings,
		}
		if err := c.run(ctx, s.Files); err != nil {
			return nil, err
		}
	}
	return warnings, found.Err()
}

// sourceCheck checks one view.
type sourceCheck struct {
	view            *registry.View
	limits          parquet.Limits
	positions       *definition.Positions
	found, warnings *diag.Set
}

func (c *sourceCheck) run(ctx context.Context, files *source.Files) error {
	list, err := files.List(ctx, c.view.Source.Parquet)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err != nil || len(list) == 0 {
		if err == nil {
			err = errors.New("no files")
		}
		add(c.warnings, c.source("parquet"), definition.CodeNoData, err)
		return nil
	}
	// The last in name order: of files that are named by date, the one that the next run reads.
	last := list[len(list)-1]
	handle, err := files.Open(ctx, last)
	if err != nil {
		add(c.found, c.source("parquet"), definition.CodeUnreadableData, err)
		return nil
	}
	defer handle.Close()
	file, err := parquet.Open(ctx, handle, last, c.limits)
	if err != nil {
		add(c.found, c.source("parquet"), definition.CodeUnreadableData, err)
		return nil
	}
	for _, want := range c.columns() {
		if _, err := file.Bind([]parquet.Column{want.Column}); err != nil {
			add(c.found, want.at, definition.CodeColumnMismatch, err)
		}
	}
	return nil
}

// placed is a column that a definition asks for.
type placed struct {
	parquet.Column
	at diag.Position
}

func (c *sourceCheck) columns() []placed {
	v := c.view
	instant := parquet.Column{
		Type: columnar.Type{Kind: columnar.Timestamp}, Location: v.Location, Ambiguous: v.Source.Ambiguous, Round: parquet.RoundUp,
	}
	var columns []placed
	for _, k := range v.KeyColumns {
		columns = append(columns, placed{
			parquet.Column{Name: k.Column, Type: columnar.Type{Kind: k.Kind}},
			c.positions.At("FeatureView", v.Name, "keys", k.Name),
		})
	}
	event := instant
	event.Name, event.At = v.Source.EventTime.Column, v.Source.EventTime.At
	columns = append(columns, placed{event, c.source("event_time")})
	if v.Source.CreatedTime != "" {
		created := instant
		created.Name = v.Source.CreatedTime
		columns = append(columns, placed{created, c.source("created_time")})
	}
	for i, f := range v.Features {
		part := "name"
		if f.Column != "" {
			part = "column"
		}
		columns = append(columns, placed{
			parquet.Column{Name: v.FeatureColumn(i), Type: f.Type, Location: v.Location, Ambiguous: v.Source.Ambiguous},
			c.positions.At("FeatureView", v.Name, "features", strconv.Itoa(i), part),
		})
	}
	return columns
}

// source is the position of a key of the view's source.
func (c *sourceCheck) source(key string) diag.Position {
	if c.view.Source.Inline {
		return c.positions.At("FeatureView", c.view.Name, "source", key)
	}
	return c.positions.At("Source", c.view.Source.Name, key)
}

// add adds an error as a diagnostic.
func add(set *diag.Set, at diag.Position, code string, err error) {
	var p *problem.Error
	message, hint := err.Error(), ""
	if errors.As(err, &p) {
		message, hint = p.Message, p.Suggestion
	}
	set.Add(at, code, "%s", message).Hint = hint
}
