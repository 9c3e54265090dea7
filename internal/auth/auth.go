// Package auth says who calls, and what that allows.
package auth

import (
	"context"
	"slices"
)

// Role is something that a caller may do.
type Role string

// The roles. Admin may do everything; of the others none includes another.
const (
	ReadOnline  Role = "read-online"  // look features up
	ReadOffline Role = "read-offline" // read definitions, runs and history
	Write       Role = "write"        // materialize, pause, repair, prune
	Apply       Role = "apply"        // change definitions
	Admin       Role = "admin"        // everything, tokens and the audit log included
)

// Roles lists every role.
var Roles = []Role{ReadOnline, ReadOffline, Write, Apply, Admin}

// RoleNames returns the roles as users write them.
func RoleNames() []string {
	names := make([]string, len(Roles))
	for i, r := range Roles {
		names[i] = string(r)
	}
	return names
}

// Principal is a caller that has proven who it is.
type Principal struct {
	Name  string
	Roles []Role
}

// May reports whether the principal has a role.
func (p Principal) May(r Role) bool {
	return slices.Contains(p.Roles, r) || slices.Contains(p.Roles, Admin)
}

type key struct{}

// With returns a context of a call by p.
func With(ctx context.Context, p Principal) context.Context { return context.WithValue(ctx, key{}, p) }

// From returns who calls; false where nobody had to prove it.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(key{}).(Principal)
	return p, ok
}
