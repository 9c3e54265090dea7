package rpc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline"
	pb "github.com/provender-dev/provender/proto/provender/v1"
	"github.com/provender-dev/provender/registry"
)

// exportCommand returns what the descriptor of a call's first message asks for.
func exportCommand(d *flight.FlightDescriptor) (*pb.ExportCommand, error) {
	if d.GetType() != flight.DescriptorCMD {
		return nil, &problem.Error{
			Code: problem.Invalid, Message: "the first message has no descriptor with a command", Field: "descriptor",
			Suggestion: `in pyarrow: FlightDescriptor.for_command('{"service": "…", "time": "…"}')`,
		}
	}
	command := &pb.ExportCommand{}
	err := protojson.Unmarshal(d.GetCmd(), command)
	if err == nil {
		return command, nil
	}
	all := command.ProtoReflect().Descriptor().Fields()
	fields := make([]string, all.Len())
	for i := range fields {
		fields[i] = string(all.Get(i).Name())
	}
	// The library changes spaces at random.
	what := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	if _, quoted, ok := strings.Cut(what, "unknown field "); ok {
		if name, err := strconv.Unquote(quoted); err == nil {
			return nil, unknownName("field of the command", name, name, fields)
		}
	}
	return nil, &problem.Error{
		Code: problem.Invalid, Message: "the descriptor's command is not JSON as it should be: " + what, Field: "descriptor",
		Suggestion: "its fields are " + strings.Join(fields, ", "), Err: err,
	}
}

// spineOptions says how the spine's time column is read.
func spineOptions(c *pb.ExportCommand) (offline.SpineOptions, error) {
	o := offline.SpineOptions{Time: c.Time, Unit: c.TimeUnit, At: registry.DayEnd(c.TimeAt)}
	wrong := func(field, message, fix string) (offline.SpineOptions, error) {
		return o, &problem.Error{Code: problem.Invalid, Message: message, Field: field, Suggestion: fix}
	}
	if c.Time == "" {
		return wrong("time", "no time column", "name the spine's column of the times that its rows are asked for")
	}
	if units := []string{"", "s", "ms", "us", "ns"}; !slices.Contains(units, c.TimeUnit) {
		return wrong("time_unit", fmt.Sprintf("unknown unit %q", c.TimeUnit), "want s, ms, us or ns")
	}
	if ends := []registry.DayEnd{"", registry.AtStart, registry.AtEnd}; !slices.Contains(ends, o.At) {
		return wrong("time_at", fmt.Sprintf("unknown end of a day %q", c.TimeAt), "want start or end")
	}
	if c.Timezone != "" {
		location, err := time.LoadLocation(c.Timezone)
		if err != nil || c.Timezone == "Local" {
			return wrong("timezone", fmt.Sprintf("there is no zone %q", c.Timezone), "write one as in Europe/Berlin")
		}
		o.Location = location
	}
	return o, nil
}

// flightError names what is at fault as commands do, which have no flags.
func flightError(err error) error {
	var p *problem.Error
	if !errors.As(err, &p) || !strings.Contains(p.Suggestion, "--") {
		return err
	}
	told := *p
	told.Suggestion = commandWords.Replace(p.Suggestion)
	return &told
}

var commandWords = strings.NewReplacer("--time-unit", "time_unit", "--time-at", "time_at", "--timezone", "timezone")

// arrowTrailer returns what lets Arrow's library in C++, and pyarrow with it, hand the details of a status on to its user.
// It does so only where the trailer has a status of Arrow's own.
func arrowTrailer(err error) metadata.MD {
	s := status.Convert(err)
	if len(s.Proto().GetDetails()) == 0 {
		return nil
	}
	const invalid = "4"
	return metadata.Pairs("x-arrow-status", invalid, "x-arrow-status-message-bin", s.Message())
}

func doneMessage(revision int64, r *offline.ExportReport) *pb.ExportMessage {
	done := &pb.ExportDone{Revision: revision, Rows: r.Rows, Manifest: r.Manifest}
	for _, c := range r.Features {
		done.Columns = append(done.Columns, &pb.ExportedColumn{
			Name: c.Name, Present: c.Present, Null: c.Null, Expired: c.Expired, NotFound: c.NotFound,
		})
	}
	for _, read := range r.Reads {
		m := &pb.ExportedRead{
			Name: read.Name, Present: read.Present, Expired: read.Expired, NotFound: read.NotFound, Ties: read.Stats.Ties,
		}
		if read.Present > 0 {
			m.NewestAge, m.OldestAge = &read.Newest, &read.Oldest
		}
		done.Reads = append(done.Reads, m)
	}
	for _, w := range r.Warnings {
		done.Warnings = append(done.Warnings, &pb.ExportWarning{Code: w.Code, Read: w.Read, Text: w.Text, Fix: commandWords.Replace(w.Fix)})
	}
	return &pb.ExportMessage{Done: done}
}
