package server

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/internal/version"
	"github.com/provender-dev/provender/materialize/state"
)

// lookAtVersions tells what runs here; that of the online store is beside its settings.
func (d *doctor) lookAtVersions(ctx context.Context) []checkup.Check {
	c := checkup.Check{Name: "versions", State: checkup.OK}
	c.Text = fmt.Sprintf("Provender %s, %s, %s/%s", version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	reg, err := d.registry()
	if err != nil {
		return []checkup.Check{c}
	}
	product, err := reg.DB().Product(ctx)
	if err != nil {
		return []checkup.Check{c, checkup.Failed("registry version", err)}
	}
	schema, err := reg.SchemaVersion(ctx)
	if err != nil {
		return []checkup.Check{c, checkup.Failed("registry version", err)}
	}
	c.Text += fmt.Sprintf("; registry in %s, schema version %d", product, schema)
	servers := checkup.Check{Name: "servers", State: checkup.OK, Text: "none says that it uses the registry"}
	holders, err := state.Holders(ctx, reg.DB(), d.now())
	switch {
	case err != nil:
		servers = checkup.Failed(servers.Name, err)
	case len(holders) > 0:
		servers.Text = "the registry is used by " + strings.Join(holders, ", ")
	}
	return []checkup.Check{c, servers}
}
