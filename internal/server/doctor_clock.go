package server

import (
	"context"
	"time"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/online"
)

// lookAtClocks compares this machine's with those of the servers that it uses. One that does not answer is told elsewhere.
func (d *doctor) lookAtClocks(ctx context.Context) []checkup.Check {
	c := checkup.Check{Name: "clock", State: checkup.OK}
	switch synchronised, known := d.kernel(); {
	case known && synchronised:
		c.Text = "the kernel says that it is synchronised"
	case known:
		c.State, c.Text = checkup.Warning, "the kernel says that nothing keeps it right"
		c.Fix = "run chrony, systemd-timesyncd or another NTP client on this machine"
	}
	var found []checkup.Check
	if c.Text != "" {
		found = append(found, c)
	}
	if offset, told := d.registryClock(ctx); told {
		found = append(found, checkup.Clocks("clock and registry", []checkup.Offset{offset}))
	}
	return append(found, d.storeClocks(ctx)...)
}

func (d *doctor) registryClock(ctx context.Context) (offset checkup.Offset, told bool) {
	reg, err := d.registry()
	if err != nil {
		return offset, false
	}
	offset, err = checkup.Measure(reg.DB().Name(), d.now, func() (at time.Time, err error) {
		at, told, err = reg.DB().Clock(ctx)
		return at, err
	})
	return offset, told && err == nil
}

func (d *doctor) storeClocks(ctx context.Context) []checkup.Check {
	if d.isEmbedded() {
		return nil
	}
	opened, err := d.openOnline(nil, d.logger)
	if err != nil {
		return nil
	}
	defer func() { _ = opened.Close() }()
	clocked, ok := opened.(online.Clocked)
	if !ok {
		return nil
	}
	const name = "clock and online store"
	offsets, err := clocked.Offsets(ctx, d.now)
	switch {
	case err == nil:
		return []checkup.Check{checkup.Clocks(name, offsets)}
	case passes(err), ctx.Err() != nil:
		return nil
	}
	c := checkup.Failed(name, err)
	c.State, c.Fix = checkup.Warning, "let the user call TIME (docs/how-to/redis.md)"
	return []checkup.Check{c}
}
