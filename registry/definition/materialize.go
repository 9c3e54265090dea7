package definition

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	"github.com/provender-dev/provender/registry"
)

// Materialize is how runs go about their work, and when schedules begin them.
type Materialize struct {
	Memory      int64         // bytes of the entities that a run holds at once
	Writers     int64         // batches on their way to the store at once
	Rate        int64         // rows per second that a run writes; 0: as fast as it can
	MaxRejected float64       // share of rows whose time, key or value can't be used before the run fails
	MaxNullKeys float64       // share of rows with a null key or event time before the run fails
	Concurrency int64         // scheduled runs at once
	Jitter      time.Duration // most by which a scheduled run begins after its tick
	Retries     int64         // of a scheduled run that failed
	Backoff     time.Duration // before the first retry; doubled for each further one
	Webhook     string        // URL that is told of views that fail and recover; may hold a secret; "": none
}

// option is one key of `materialize`.
type option struct {
	name      string
	meaning   string
	byDefault string
	want      string
	numeric   bool // may be written as a number
	set       func(m *Materialize, text string) bool
}

// maxBackoff bounds backoff and jitter: a day.
const maxBackoff = 24 * time.Hour

var optionTable = []option{
	{
		"memory", "bytes of the entities that a run holds at once; more entities mean more passes over their newest rows", "256MiB",
		"a size of at least 1MiB", true,
		func(m *Materialize, text string) (ok bool) {
			m.Memory, ok = parseSize(text)
			return ok && m.Memory >= 1<<20
		},
	},
	{
		"writers", "batches on their way to the online store at once, per run", "3", "a whole number from 1 to 64", true,
		func(m *Materialize, text string) bool { return whole(&m.Writers, text, 1, 64) },
	},
	{
		"rate", "rows per second that a run writes, so that serving keeps its latency; 0: as fast as it can", "0",
		"a whole number, 0 or more", true,
		func(m *Materialize, text string) bool { return whole(&m.Rate, text, 0, math.MaxInt32) },
	},
	{
		"max_rejected", "share of rows whose time, key or value can't be used; more of them fail the run", "0", "a share from 0 to 1", true,
		func(m *Materialize, text string) bool { return share(&m.MaxRejected, text) },
	},
	{
		"max_null_keys", "share of rows with a null key or event time, which belong to nobody; more of them fail the run", "1", "a share from 0 to 1", true,
		func(m *Materialize, text string) bool { return share(&m.MaxNullKeys, text) },
	},
	{
		"concurrency", "scheduled runs at once, in one server", "2", "a whole number from 1 to 1000", true,
		func(m *Materialize, text string) bool { return whole(&m.Concurrency, text, 1, 1000) },
	},
	{
		"jitter", "most by which a scheduled run begins after its tick, so that views of one schedule don't begin at once", "0s",
		"a duration of at most a day", false,
		func(m *Materialize, text string) bool { return length(&m.Jitter, text) },
	},
	{
		"retries", "how often a scheduled run that failed is tried again", "3", "a whole number from 0 to 100", true,
		func(m *Materialize, text string) bool { return whole(&m.Retries, text, 0, 100) },
	},
	{
		"backoff", "pause before the first retry, doubled for each further one", "30s", "a duration of at most a day", false,
		func(m *Materialize, text string) bool { return length(&m.Backoff, text) },
	},
	{
		"webhook", "URL that is sent a JSON message when a view fails and when it recovers", "", "an http:// or https:// URL", false,
		func(m *Materialize, text string) bool {
			m.Webhook = text
			u, err := url.Parse(text)
			return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
		},
	},
}

func whole(into *int64, text string, least, most int64) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	*into = n
	return err == nil && least <= n && n <= most
}

func share(into *float64, text string) bool {
	f, err := strconv.ParseFloat(text, 64)
	*into = f
	return err == nil && 0 <= f && f <= 1
}

func length(into *time.Duration, text string) bool {
	d, err := registry.ParseDuration(text)
	*into = d
	return err == nil && 0 <= d && d <= maxBackoff
}

var materializeKeys = func() []string {
	keys := make([]string, len(optionTable))
	for i, o := range optionTable {
		keys[i] = o.name
	}
	return keys
}()

// DefaultMaterialize returns the settings of a project that makes none.
func DefaultMaterialize() Materialize {
	var out Materialize
	for _, o := range optionTable {
		o.set(&out, o.byDefault)
	}
	return out
}

// materialize overrides s with what the key `materialize` of m says.
func (m *mapping) materialize(s map[string]setting) {
	n := m.get("materialize")
	if n == nil {
		return
	}
	options := m.mapping(n, "materialize", materializeKeys)
	for _, o := range optionTable {
		n := options.get(o.name)
		switch {
		case n == nil:
		case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" && n.ShortTag() != "!!bool":
			s[o.name] = setting{n.Value, n}
		default:
			m.add(n, codeWrongType, "materialize.%s: want %s, got %s", o.name, o.want, describe(n)).Hint = o.hint()
		}
	}
}

func (o *option) hint() string {
	if o.byDefault == "" {
		return "leave it out for none"
	}
	return "the default is " + o.byDefault
}

// materialize returns what settings say, defaults for the others.
func (e *expander) materialize(s map[string]setting) Materialize {
	out := DefaultMaterialize()
	for _, o := range optionTable {
		written, ok := s[o.name]
		if !ok {
			continue
		}
		text, ok := e.expand(written)
		if ok && !o.set(&out, strings.TrimSpace(text)) {
			e.add(written.node, codeBadSetting, "materialize.%s is not %s", o.name, o.want).Hint = o.hint()
		}
	}
	return out
}

// schema returns what the option may be written as.
func (o *option) schema() *jsonschema.Schema {
	description := fmt.Sprintf("%s%s.", strings.ToUpper(o.meaning[:1]), o.meaning[1:])
	if o.byDefault != "" {
		description += fmt.Sprintf(" Default: %s.", o.byDefault)
	}
	if o.numeric {
		return either(description, &jsonschema.Schema{Type: "number"}, text(""))
	}
	return text(description)
}
