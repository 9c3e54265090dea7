package materialize

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracedPhases is how many turns of reading and writing have a span of their own; how long all took is told of the run.
const tracedPhases = 200

// traced begins the span of a run, whose phases are its children. end tells what became of it.
func (j *job) traced(ctx context.Context) (_ context.Context, end func()) {
	tracer := j.cfg.Tracer
	if tracer == nil {
		return ctx, func() {}
	}
	ctx, span := tracer.Start(ctx, "run "+j.view.Name, trace.WithAttributes(
		attribute.String("provender.view", j.view.Name), attribute.Int64("provender.run", j.run.ID),
		attribute.Int64("provender.revision", j.run.Revision), attribute.String("provender.trigger", j.run.Trigger),
	))
	if !span.IsRecording() {
		return ctx, func() { span.End() }
	}
	left := tracedPhases
	j.phases.ended = func(phase int, from, to time.Time) {
		if left--; left >= 0 || phase == phaseCommit {
			_, part := tracer.Start(ctx, phaseNames[phase], trace.WithTimestamp(from))
			part.End(trace.WithTimestamp(to))
		}
	}
	return ctx, func() {
		for i, d := range j.phases.took {
			span.SetAttributes(attribute.Float64("provender.run."+phaseNames[i]+"_seconds", d.Seconds()))
		}
		span.SetAttributes(
			attribute.String("provender.run.state", string(j.run.State)), attribute.Int64("provender.run.files", j.run.Files),
			attribute.Int64("provender.run.rows_read", j.run.RowsRead), attribute.Int64("provender.run.rows_written", j.run.Written),
		)
		if j.run.State == RunFailed {
			span.SetStatus(codes.Error, "the run failed")
		}
		span.End()
	}
}
