package materialize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/offline/asof"
)

// Reject is rows that could not be used, for one reason.
type Reject = state.Reject

// samplesKept is how many rows of a reason a record shows.
const samplesKept = 5

// strict reports whether every row that can't be used fails the run where it is met, and rows of nobody never do: then
// files that are done stay done, whatever comes after them.
func (c *Config) strict() bool { return c.MaxRejected == 0 && c.MaxNullKeys >= 1 }

// isNull reports whether rows of a reason have no entity, or no time: max_null_keys is about them.
func isNull(r *Reject) bool { return strings.HasPrefix(r.Reason, "null ") }

// reject adds what a part of the run left out.
func (j *job) reject(found []asof.Rejected) {
	for _, f := range found {
		i := slices.IndexFunc(j.run.Rejects, func(r Reject) bool { return r.Reason == f.Reason })
		if i < 0 {
			i = len(j.run.Rejects)
			j.run.Rejects = append(j.run.Rejects, Reject{Reason: f.Reason})
		}
		r := &j.run.Rejects[i]
		r.Rows += f.Rows
		r.Samples = append(r.Samples, f.Samples[:min(len(f.Samples), samplesKept-len(r.Samples))]...)
	}
}

// checkRejects fails where more rows were left out than the settings allow.
func (j *job) checkRejects() error {
	if err := j.checkShare(j.cfg.MaxNullKeys, "max_null_keys", isNull); err != nil {
		return err
	}
	return j.checkShare(j.cfg.MaxRejected, "max_rejected", func(r *Reject) bool { return !isNull(r) })
}

func (j *job) checkShare(most float64, setting string, counts func(*Reject) bool) error {
	var rows int64
	var told []string
	for i := range j.run.Rejects {
		r := &j.run.Rejects[i]
		if !counts(r) {
			continue
		}
		rows += r.Rows
		told = append(told, fmt.Sprintf("%s: %d, such as %s", r.Reason, r.Rows, r.Samples[0]))
	}
	if float64(rows) <= most*float64(j.run.RowsRead) {
		return nil
	}
	return &problem.Error{
		Code: problem.Precondition,
		Message: fmt.Sprintf("%d of %d rows can't be used, more than materialize.%s (%g) allows; nothing was recorded: %s",
			rows, j.run.RowsRead, setting, most, strings.Join(told, "; ")),
		Suggestion: "mend the files, or raise the setting",
	}
}
