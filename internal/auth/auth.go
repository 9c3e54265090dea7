// Package auth says who calls, and what that allows.
package auth

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
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

// CheckRoles tells what is wrong with the roles that somebody is to have.
func CheckRoles(roles []Role) error {
	if len(roles) == 0 {
		return &problem.Error{Code: problem.Invalid, Message: "no role is given", Field: "roles", Suggestion: known()}
	}
	for i, r := range roles {
		if !slices.Contains(Roles, r) {
			err := &problem.Error{Code: problem.Invalid, Message: "there is no role " + strconv.Quote(string(r)), Field: "roles"}
			if err.Suggestion = diag.Suggest(string(r), RoleNames()); err.Suggestion == "" {
				err.Suggestion = known()
			}
			return err
		}
		if slices.Contains(roles[:i], r) {
			return &problem.Error{Code: problem.Invalid, Message: "role " + string(r) + " is given twice", Field: "roles"}
		}
	}
	return nil
}

func known() string { return "the roles are " + strings.Join(RoleNames(), ", ") }

// Need returns the error of a call whose caller has none of some roles.
func Need(ctx context.Context, what string, roles ...Role) error {
	p, proven := From(ctx)
	if !proven || slices.ContainsFunc(roles, p.May) {
		return nil
	}
	return Denied(p, what, roles)
}

// Denied is the error of a call that somebody may not make.
func Denied(p Principal, what string, roles []Role) error {
	texts := make([]string, len(roles))
	for i, r := range roles {
		texts[i] = string(r)
	}
	if len(texts) == 0 {
		texts = []string{string(Admin)}
	}
	return &problem.Error{
		Code: problem.Denied, Message: p.Name + " may not call " + what,
		Suggestion: "it takes the role " + strings.Join(texts, " or "),
	}
}
