// Capacity computes the tables of docs/reference/capacity.md from its inputs and formulas, and writes them into it.
package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
)

const page = "docs/reference/capacity.md"

func main() {
	if err := run(page); err != nil {
		fmt.Fprintln(os.Stderr, "capacity:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := compute(string(raw))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

var (
	input  = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([0-9.]+) \\|")
	marked = regexp.MustCompile(`(?s)(<!-- computed: (\w+) -->\n).*?(<!-- end -->)`)
)

// compute returns the page with its tables computed anew.
func compute(page string) (string, error) {
	p := plan{}
	for _, m := range input.FindAllStringSubmatch(page, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return "", fmt.Errorf("%s: %w", m[1], err)
		}
		p[m[1]] = value
	}
	for _, name := range inputs {
		if _, ok := p[name]; !ok {
			return "", fmt.Errorf("no input %s", name)
		}
	}
	if len(p) != len(inputs) {
		return "", fmt.Errorf("it has %d inputs, and %d are known", len(p), len(inputs))
	}
	tables := p.tables()
	var unknown error
	page = marked.ReplaceAllStringFunc(page, func(block string) string {
		m := marked.FindStringSubmatch(block)
		made, ok := tables[m[2]]
		if !ok {
			unknown = fmt.Errorf("there is no table %s", m[2])
		}
		delete(tables, m[2])
		return m[1] + made + m[3]
	})
	if unknown == nil && len(tables) > 0 {
		unknown = fmt.Errorf("%d tables have no place", len(tables))
	}
	return page, unknown
}

var inputs = []string{
	"server_w1", "server_w2", "server_w3", "redis_w1", "redis_w2", "redis_w3", "embedded_w1", "embedded_w2", "embedded_w3",
	"answer_w1", "answer_w2", "answer_w3", "views", "row", "expires", "write_redis", "write_embedded", "read",
	"server_cores", "server_load", "redis_load", "redis_memory", "redis_filled", "rebuilt", "replicas", "pool",
}

// plan is the inputs by name.
type plan map[string]float64

var (
	entities  = []float64{1e6, 1e8, 1e9}
	lookups   = []float64{1e4, 1e5, 1e6} // per second
	workloads = []string{"w1", "w2", "w3"}
	looked    = map[string]float64{"w1": 1, "w2": 5, "w3": 500} // rows that a lookup reads
)

const gib = 1 << 30

// servers is how many answer so many lookups per second, one to spare.
func (p plan) servers(l float64, workload string) float64 {
	return math.Max(2, math.Ceil(l*p["server_"+workload]/1e6/(p["server_cores"]*p["server_load"]))+1)
}

// entity is the bytes of one in Redis.
func (p plan) entity() float64 { return 75 + 1.15*p["views"]*(p["row"]+13) + 42*p["expires"] }

// data is the bytes of all in Redis, while views are rebuilt.
func (p plan) data(e float64) float64 { return e * p.entity() * (1 + p["rebuilt"]/p["views"]) }

// cluster is how many primaries there are where so many are needed: one, or a cluster's three and more.
func cluster(needed float64) float64 {
	if n := math.Ceil(needed); n != 2 {
		return math.Max(1, n)
	}
	return 3
}

// byMemory and byLookups are the primaries that the data and the lookups need.
func (p plan) byMemory(e float64) float64 {
	return cluster(p.data(e) / (p["redis_memory"] * gib * p["redis_filled"]))
}

func (p plan) byLookups(l float64, workload string) float64 {
	return cluster(l * p["redis_"+workload] / 1e6 / p["redis_load"])
}

// full is the seconds of a full run of a view into so many primaries.
func (p plan) full(e, primaries float64) float64 {
	return e / 1e6 * math.Max(p["write_redis"]/primaries, 2*p["read"])
}

// byRate is the table of how many each workload takes at each rate.
func byRate(number func(l float64, workload string) float64) string {
	t := table{"|", "10⁴ lookups per second", "10⁵", "10⁶"}
	for _, w := range workloads {
		cells := []string{strings.ToUpper(w)}
		for _, l := range lookups {
			cells = append(cells, whole(number(l, w)))
		}
		t.row(cells...)
	}
	return t.text()
}

func (p plan) tables() map[string]string {
	tables := map[string]string{}

	t := table{"|", "server, CPU s per 1,000 lookups", "Redis", "embedded store"}
	for _, w := range workloads {
		t.row(strings.ToUpper(w), three(p["server_"+w]/1e3), three(p["redis_"+w]/1e3), three(p["embedded_"+w]/1e3))
	}
	tables["cost"] = t.text() + "\n" + p.million()

	tables["servers"] = byRate(p.servers)

	t = table{"| entities", "data", "while a view is rebuilt", "primaries", "nodes", "memory of all nodes"}
	for _, e := range entities {
		n := p.byMemory(e)
		nodes := n * (1 + p["replicas"])
		t.row(power(e), size(e*p.entity()), size(p.data(e)), whole(n), whole(nodes), size(nodes*p["redis_memory"]*gib))
	}
	tables["redis"] = t.text()

	tables["primaries"] = byRate(p.byLookups)

	t = table{"| lookups per second", "servers", "connections", "to callers", "to Redis"}
	for _, l := range lookups {
		n := p.servers(l, "w2")
		t.row(power(l), whole(n), whole(n*p["pool"]), bits(l*(p["answer_w2"]+200)), bits(l*looked["w2"]*(p["row"]+40)))
	}
	tables["network"] = t.text()

	t = table{"| entities", "Redis", "embedded store"}
	for _, e := range entities {
		t.row(power(e), span(p.full(e, p.byMemory(e))), span(e/1e6*(p["write_embedded"]+p["read"])))
	}
	tables["runs"] = t.text()
	return tables
}

// million is what a million entities take.
func (p plan) million() string {
	return fmt.Sprintf("A million entities with %s views take %s in Redis (%s bytes each) and %s on disk in the embedded store; to write them takes %s CPU s of Redis or %s of the server.\n",
		whole(p["views"]), size(1e6*p.entity()), whole(p.entity()), size(1e6*p["views"]*(p["row"]+16)),
		whole(p["views"]*p["write_redis"]), whole(p["views"]*p["write_embedded"]))
}

// table is the header, and then the rows, of a table in Markdown.
type table []string

func (t *table) row(cells ...string) { *t = append(*t, "| "+strings.Join(cells, " | ")+" |") }

func (t table) text() string {
	columns := 0
	for columns < len(t) && (columns == 0 || !strings.HasPrefix(t[columns], "| ")) {
		columns++
	}
	head := strings.Join(t[:columns], " | ") + " |\n" + strings.Repeat("|---", columns) + "|\n"
	return head + strings.Join(t[columns:], "\n") + "\n"
}

func three(x float64) string { return strconv.FormatFloat(x, 'f', 3, 64) }

// whole has commas between thousands.
func whole(x float64) string {
	digits := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// short has one digit after the point where there is one before it.
func short(x float64) string {
	if x < 10 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return whole(x)
}

// power is a power of ten below 10¹⁰.
func power(x float64) string {
	return "10" + string([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[int(math.Round(math.Log10(x)))])
}

func size(bytes float64) string {
	if bytes < gib {
		return short(bytes/(1<<20)) + " MiB"
	}
	if bytes < 1<<40 {
		return short(bytes/gib) + " GiB"
	}
	return short(bytes/(1<<40)) + " TiB"
}

func bits(bytes float64) string {
	if rate := bytes * 8 / 1e9; rate >= 1 {
		return short(rate) + " Gbit/s"
	}
	return whole(bytes*8/1e6) + " Mbit/s"
}

func span(seconds float64) string {
	switch {
	case seconds < 100:
		return whole(seconds) + " s"
	case seconds < 6000:
		return whole(seconds/60) + " min"
	}
	return short(seconds/3600) + " h"
}
