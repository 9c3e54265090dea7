package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/auth/tokens"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/sdk/client"
)

func (a *app) tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke the tokens by which callers prove who they are",
		Long: `Create, list and revoke the tokens by which callers of a server prove who they are, where provender.yaml has
server.auth. They are in the project's registry, hashed.`,
		Example: "  provender token create churn-model --role read-online --expires 90d\n  provender token list\n  provender token revoke churn-model",
		Args:    unknownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
	return c
}

type tokenFlags struct {
	roles   []string
	expires string
}

// until returns when the token ends, the zero time for never.
func (f *tokenFlags) until(now time.Time) (time.Time, error) {
	if f.expires == "" {
		return time.Time{}, nil
	}
	d, err := registry.ParseDuration(f.expires)
	if err != nil || d <= 0 {
		return time.Time{}, usagef("--expires is %q: want a duration, such as 90d or 12h", f.expires)
	}
	return now.Add(d).UTC().Truncate(time.Microsecond), nil
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var f tokenFlags
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token and print it, once",
		Long: `Create a token with roles and print it. It is told once: the registry keeps its hash alone. Roles: read-online (look
features up), read-offline (read definitions, runs and history), write (materialize, pause, repair, prune), apply (change
definitions), admin (everything).`,
		Example: "  provender token create churn-model --role read-online --expires 90d\n  provender token create ci --role apply,read-offline > token",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(f.roles) == 0 {
				return usagef("--role is missing: want %s", strings.Join(auth.RoleNames(), ", "))
			}
			ends, err := f.until(a.Now())
			if err != nil {
				return err
			}
			return a.createToken(c.Context(), args[0], f.roles, ends)
		},
	}
	c.Flags().StringSliceVar(&f.roles, "role", nil, "what the token allows: "+strings.Join(auth.RoleNames(), ", ")+"; several with commas between")
	c.Flags().StringVar(&f.expires, "expires", "", "when it ends: 90d, 12h (default: never)")
	return c
}

func (a *app) createToken(ctx context.Context, name string, roles []string, ends time.Time) error {
	var secret string
	var made client.Token
	err := a.withTokens(ctx,
		func(ctx context.Context, c *client.Client) (err error) {
			secret, made, err = c.CreateToken(ctx, name, roles, ends)
			return err
		},
		func(ctx context.Context, s *tokens.Store) (err error) {
			t := tokens.Token{Name: name, Created: a.Now().UTC().Truncate(time.Microsecond), CreatedBy: server.User(), Expires: ends}
			for _, r := range roles {
				t.Roles = append(t.Roles, auth.Role(r))
			}
			secret, err = s.Create(ctx, t)
			made = apiToken(t)
			return err
		})
	if err != nil {
		return err
	}
	if a.output == "table" {
		a.talk().printf("The token of %s, which is not told again:\n", name)
	}
	return a.show(&tokenReport{Secret: secret, tokenEntry: newTokenEntry(made)})
}

func (a *app) tokenListCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List tokens, without the tokens themselves",
		Example: "  provender token list\n  provender token list --all -o json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var found []client.Token
			err := a.withTokens(c.Context(),
				func(ctx context.Context, c *client.Client) (err error) {
					found, err = c.Tokens(ctx, all)
					return err
				},
				func(ctx context.Context, s *tokens.Store) error {
					list, err := s.List(ctx, all)
					for _, t := range list {
						found = append(found, apiToken(t))
					}
					return err
				})
			if err != nil {
				return err
			}
			return a.show(newTokensReport(found, all, a.Now()))
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that were revoked, too")
	return c
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME",
		Short:   "End a token; servers know within seconds",
		Example: "  provender token revoke churn-model",
		Args:    takes(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			var ended client.Token
			err := a.withTokens(c.Context(),
				func(ctx context.Context, c *client.Client) (err error) {
					ended, err = c.RevokeToken(ctx, args[0])
					return err
				},
				func(ctx context.Context, s *tokens.Store) error {
					t, err := s.Revoke(ctx, args[0], server.User(), a.Now())
					ended = apiToken(t)
					return err
				})
			if err != nil {
				return err
			}
			return a.show(&revokedReport{tokenEntry: newTokenEntry(ended)})
		},
	}
}

// withTokens calls remote where there is --server, else local with the tokens in the project's registry.
func (a *app) withTokens(
	ctx context.Context, remote func(context.Context, *client.Client) error, local func(context.Context, *tokens.Store) error,
) error {
	if a.server != "" {
		return a.remote(ctx, remote)
	}
	return a.withProject(func(p *server.Project) error {
		s, err := p.Tokens(ctx)
		if err != nil {
			return err
		}
		return local(ctx, s)
	})
}

func apiToken(t tokens.Token) client.Token {
	out := client.Token{
		Name: t.Name, Created: t.Created, CreatedBy: t.CreatedBy, Expires: t.Expires, Revoked: t.Revoked, RevokedBy: t.RevokedBy,
	}
	for _, r := range t.Roles {
		out.Roles = append(out.Roles, string(r))
	}
	return out
}

type tokenEntry struct {
	Name      string     `json:"name"`
	Roles     []string   `json:"roles"`
	Created   time.Time  `json:"created"`
	CreatedBy string     `json:"created_by"`
	Expires   *time.Time `json:"expires,omitempty"`
	Revoked   *time.Time `json:"revoked,omitempty"`
	RevokedBy string     `json:"revoked_by,omitempty"`
}

func newTokenEntry(t client.Token) tokenEntry {
	return tokenEntry{
		Name: t.Name, Roles: t.Roles, Created: t.Created, CreatedBy: t.CreatedBy, Expires: timePointer(t.Expires),
		Revoked: timePointer(t.Revoked), RevokedBy: t.RevokedBy,
	}
}

type tokenReport struct {
	Version formatVersion `json:"version"`
	Secret  string        `json:"secret"`
	tokenEntry
}

func (r *tokenReport) text(p *printer) { p.printf("%s\n", r.Secret) }

type revokedReport struct {
	Version formatVersion `json:"version"`
	tokenEntry
}

func (r *revokedReport) text(p *printer) { p.printf("Revoked: %s.\n", r.Name) }

type tokensReport struct {
	Version formatVersion `json:"version"`
	Tokens  []tokenEntry  `json:"tokens"`

	all bool
	now time.Time
}

func newTokensReport(list []client.Token, all bool, now time.Time) *tokensReport {
	r := &tokensReport{Tokens: make([]tokenEntry, len(list)), all: all, now: now}
	for i, t := range list {
		r.Tokens[i] = newTokenEntry(t)
	}
	return r
}

func (r *tokensReport) text(p *printer) {
	if len(r.Tokens) == 0 {
		p.printf("There are no tokens.\n")
		return
	}
	header := []string{"TOKEN", "ROLES", "CREATED", "BY", "EXPIRES"}
	if r.all {
		header = append(header, "REVOKED", "BY")
	}
	rows := make([][]string, len(r.Tokens))
	for i, t := range r.Tokens {
		expires := pointedSeconds(t.Expires)
		if t.Expires != nil && !r.now.Before(*t.Expires) {
			expires = p.bad(expires + " (over)")
		}
		rows[i] = []string{t.Name, list(t.Roles), pointedSeconds(&t.Created), t.CreatedBy, expires}
		if r.all {
			rows[i] = append(rows[i], pointedSeconds(t.Revoked), orDash(t.RevokedBy))
		}
	}
	p.table(header, rows)
}
