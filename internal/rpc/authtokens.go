package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/provender-dev/provender/internal/auth"
	"github.com/provender-dev/provender/internal/auth/tokens"
	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// TokenStore keeps tokens; *tokens.Store does.
type TokenStore interface {
	Create(ctx context.Context, t tokens.Token) (secret string, err error)
	Revoke(ctx context.Context, name, by string, now time.Time) (tokens.Token, error)
	List(ctx context.Context, revoked bool) ([]tokens.Token, error)
}

type adminService struct {
	pb.UnimplementedAdminServiceServer
	tokens TokenStore
}

func (s *adminService) CreateToken(ctx context.Context, in *pb.CreateTokenRequest) (*pb.CreateTokenResponse, error) {
	expires, err := timeOf(in.Expires, "expires")
	if err != nil {
		return nil, err
	}
	by, _ := auth.From(ctx)
	t := tokens.Token{Name: in.Name, Created: time.Now().UTC(), CreatedBy: by.Name, Expires: expires}
	for _, r := range in.Roles {
		t.Roles = append(t.Roles, auth.Role(r))
	}
	secret, err := s.tokens.Create(ctx, t)
	if err != nil {
		return nil, err
	}
	return &pb.CreateTokenResponse{Secret: secret, Token: tokenMessage(&t)}, nil
}

func (s *adminService) ListTokens(ctx context.Context, in *pb.ListTokensRequest) (*pb.ListTokensResponse, error) {
	all, err := s.tokens.List(ctx, in.Revoked)
	if err != nil {
		return nil, err
	}
	out := &pb.ListTokensResponse{Tokens: make([]*pb.Token, len(all))}
	for i := range all {
		out.Tokens[i] = tokenMessage(&all[i])
	}
	return out, nil
}

func (s *adminService) RevokeToken(ctx context.Context, in *pb.RevokeTokenRequest) (*pb.RevokeTokenResponse, error) {
	by, _ := auth.From(ctx)
	t, err := s.tokens.Revoke(ctx, in.Name, by.Name, time.Now())
	if err != nil {
		return nil, err
	}
	return &pb.RevokeTokenResponse{Token: tokenMessage(&t)}, nil
}

func tokenMessage(t *tokens.Token) *pb.Token {
	m := &pb.Token{
		Name: t.Name, Created: timestamppb.New(t.Created), CreatedBy: t.CreatedBy, Expires: timestamp(t.Expires),
		Revoked: timestamp(t.Revoked), RevokedBy: t.RevokedBy,
	}
	for _, r := range t.Roles {
		m.Roles = append(m.Roles, string(r))
	}
	return m
}
