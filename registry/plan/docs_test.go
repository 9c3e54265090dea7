package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/provender-dev/provender/registry/plan"
)

func TestReference(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`# Plans

` + "`provender plan`" + ` compares the definition files with what is applied. Each definition that differs is one change: ` + "`add`, `change`, `rename`\nor `delete`" + `,
with the fields that differ, the services that it touches, and its **hazards**. Codes are stable; scripts may rely on them.

A hazard is **breaking** where callers of a service that is applied get errors, or other values under a name that they know. What no service
reads may change freely: a view that is looked up by ` + "`view:feature`" + ` alone promises nothing. ` + "`apply`" + ` refuses a plan that breaks something unless it
is allowed with ` + "`--allow-breaking`" + `, and one that is refused below always.

**Renames.** ` + "`was: old_name`" + ` beside ` + "`name`" + ` says that a definition, or a feature of a view, is called otherwise from now on. What is stored of it stays:
lookups go on at once, the next run goes on where the last one ended, runs and their records are found under the new name. The line counts while the
old name is what is applied; it may stay in the file. A feature whose column keeps its name says so: ` + "`{name: mean_delay, was: avg_delay, column: avg_delay}`" + `.
A name that became free by a rename may be given to something new at any time. Taking a rename back, in the files or by a rollback, keeps what is stored too.

A plan file (` + "`--out`" + `) is JSON of format version 2. One of another version is refused: plan again.

This page is made from the table in ` + "`registry/plan/hazard.go`" + ` by ` + "`go test ./registry/plan -update`" + `.

## Hazards

| code | breaking | meaning | what to do |
|---|---|---|---|
`)
	seen := map[string]bool{}
	for _, c := range plan.Codes {
		if seen[c.Name] {
			t.Errorf("code %s is in the table twice", c.Name)
		}
		seen[c.Name] = true
		fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", c.Name, c.Breaking, c.Meaning, c.Advice)
	}
	golden(t, "../../docs/reference/plan.md", doc.String())
}
