package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// Token is what is known of a token: everything but itself.
type Token struct {
	Name      string
	Roles     []string // read-online, read-offline, write, apply, admin
	Created   time.Time
	CreatedBy string
	Expires   time.Time // zero: never
	Revoked   time.Time // zero: it was not
	RevokedBy string
}

// CreateToken makes a token with roles, which ends at an instant (zero: never). The secret is told once. CodeConflict where
// a token of that name is valid.
func (c *Client) CreateToken(ctx context.Context, name string, roles []string, expires time.Time) (secret string, _ Token, err error) {
	in := &pb.CreateTokenRequest{Name: name, Roles: roles}
	if !expires.IsZero() {
		in.Expires = timestamppb.New(expires)
	}
	out, err := c.admin.CreateToken(ctx, in, callOptions()...)
	if err != nil {
		return "", Token{}, errorOf(err)
	}
	return out.Secret, tokenOf(out.Token), nil
}

// Tokens lists tokens by name, those that were revoked only if asked for.
func (c *Client) Tokens(ctx context.Context, revoked bool) ([]Token, error) {
	out, err := c.admin.ListTokens(ctx, &pb.ListTokensRequest{Revoked: revoked}, callOptions()...)
	if err != nil {
		return nil, errorOf(err)
	}
	list := make([]Token, len(out.Tokens))
	for i, t := range out.Tokens {
		list[i] = tokenOf(t)
	}
	return list, nil
}

// RevokeToken ends the token of a name, within seconds. CodeNotFound where none is valid.
func (c *Client) RevokeToken(ctx context.Context, name string) (Token, error) {
	out, err := c.admin.RevokeToken(ctx, &pb.RevokeTokenRequest{Name: name}, callOptions()...)
	if err != nil {
		return Token{}, errorOf(err)
	}
	return tokenOf(out.Token), nil
}

func tokenOf(m *pb.Token) Token {
	return Token{
		Name: m.GetName(), Roles: m.GetRoles(), Created: timeOf(m.GetCreated()), CreatedBy: m.GetCreatedBy(),
		Expires: timeOf(m.GetExpires()), Revoked: timeOf(m.GetRevoked()), RevokedBy: m.GetRevokedBy(),
	}
}
