package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/provender-dev/provender/internal/checkup"
	"github.com/provender-dev/provender/registry/definition"
)

// lookAtAddresses tells of each address that a server of the project would take whether it can, and whether that is safe.
func (d *doctor) lookAtAddresses(ctx context.Context) (found []checkup.Check) {
	s := &d.Config.Server
	at, running := d.addresses()
	for _, a := range []struct{ name, addr, served string }{
		{"grpc", s.GRPC, at.GRPC}, {"http", s.HTTP, at.HTTP}, {"admin", s.Admin, at.Admin},
	} {
		if a.addr == definition.AdminOff {
			continue
		}
		if !running {
			a.served = ""
		}
		found = append(found, d.address(ctx, a.name, a.addr, a.served, at.PID))
	}
	return found
}

// address looks at one; served is where the project's server listens for the same, "" for nowhere.
func (d *doctor) address(ctx context.Context, name, addr, served string, pid int) checkup.Check {
	c := checkup.Check{Name: "address of " + name, State: checkup.OK}
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return checkup.Check{Name: c.Name, State: checkup.Error, Text: err.Error(), Fix: "mend server." + name + " in provender.yaml"}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		_ = l.Close()
		c.Text = addr + " is free"
		if served != "" && served != addr {
			c.Text += fmt.Sprintf("; the project's server, process %d, listens on %s", pid, served)
		}
	case errors.Is(err, syscall.EADDRINUSE) && samePort(served, resolved):
		c.Text = fmt.Sprintf("%s is that of the project's server, process %d", addr, pid)
	case errors.Is(err, syscall.EADDRINUSE):
		c.State, c.Text = checkup.Warning, addr+" is taken by another process: no server of this project can start here"
		if name == "admin" && d.Config.Server.AdminByDefault {
			c.Text = addr + " is taken by another process: a server would have no admin address"
		}
		c.Fix = "end that process (ss -ltnp tells which), or set server." + name + " in provender.yaml"
	default:
		c.State, c.Text = checkup.Error, fmt.Sprintf("a server can't listen: %v", err)
		c.Fix = "set server." + name + " in provender.yaml to an address of this machine, with a port above 1023"
	}
	if c.State == checkup.OK {
		d.guarded(&c, resolved)
	}
	return c
}

// samePort reports whether a server listens where an address says, as far as its port tells.
func samePort(served string, addr *net.TCPAddr) bool {
	at, err := net.ResolveTCPAddr("tcp", served)
	return served != "" && err == nil && at.Port == addr.Port
}

// guarded warns of an address that others than this machine reach, and nobody guards.
func (d *doctor) guarded(c *checkup.Check, addr *net.TCPAddr) {
	s := &d.Config.Server
	// Whether the files of TLS are good is looked at elsewhere.
	door := &door{proven: s.Auth}
	if s.TLS.Cert != "" {
		door.tls = &tlsFiles{}
	}
	err := door.safe(addr, false)
	if err == nil {
		return
	}
	told := checkup.Failed(c.Name, err)
	c.State, c.Text, c.Fix = checkup.Warning, told.Text+"; serve refuses that", told.Fix
	if s.Insecure {
		c.Text = told.Text + "; server.insecure allows that"
		c.Fix = "set server.auth and server.tls in provender.yaml (docs/how-to/secure.md), and take server.insecure away"
	}
}
