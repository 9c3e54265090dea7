package gitops

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

const (
	// maxTransfer bounds one answer of a server, maxInflated what is in it.
	maxTransfer = 64 << 20
	maxInflated = 256 << 20
)

func isURL(repository string) bool { return strings.Contains(repository, "://") }

// remote is a repository behind HTTP. Of a commit its tree alone is fetched, into memory, and no file that is larger than
// definitions may be, where the server can leave files out.
type remote struct {
	origin    definition.Origin
	transport transport.Transport
	auth      transport.AuthMethod
}

func newRemote(o definition.Origin) *remote {
	r := &remote{
		origin: o, transport: githttp.NewClientWithOptions(&http.Client{Transport: bounded{http.DefaultTransport}}, nil),
	}
	if o.User != "" || o.Password != "" {
		r.auth = &githttp.BasicAuth{Username: o.User, Password: o.Password}
	}
	return r
}

func (r *remote) look(ctx context.Context, known string) (_ *tree, err error) {
	defer caught(&err)
	endpoint, err := transport.NewEndpoint(r.origin.Repository)
	if err != nil {
		return nil, r.explain(err)
	}
	session, err := r.transport.NewUploadPackSession(endpoint, r.auth)
	if err != nil {
		return nil, r.explain(err)
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	advertised, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, r.explain(err)
	}
	want, commit, err := r.tip(advertised)
	if err != nil || commit.String() == known {
		return nil, err
	}
	pack, err := fetch(ctx, session, advertised.Capabilities, want)
	if err != nil {
		return nil, r.explain(err)
	}
	objects := memory.NewStorage()
	if err := unpack(objects, pack); err != nil {
		return nil, r.explain(err)
	}
	return readCommit(ctx, objects, commit, r.origin.Folder)
}

// tip returns what to ask for, and the commit that it stands for: of an annotated tag they differ.
func (r *remote) tip(a *packp.AdvRefs) (want, commit plumbing.Hash, _ error) {
	if r.origin.Branch == "" && a.Head != nil {
		return *a.Head, *a.Head, nil
	}
	for _, name := range candidates(r.origin.Branch) {
		if want, ok := a.References[name.String()]; ok {
			if commit, ok := a.Peeled[name.String()]; ok {
				return want, commit, nil
			}
			return want, want, nil
		}
	}
	return plumbing.ZeroHash, plumbing.ZeroHash, noBranch(r.origin.Branch, slices.Collect(maps.Keys(a.References)))
}

// fetch returns the pack of one commit without its history, as far as the server can do so.
func fetch(ctx context.Context, session transport.UploadPackSession, can *capability.List, hash plumbing.Hash) ([]byte, error) {
	req := packp.NewUploadPackRequestFromCapabilities(can)
	req.Wants = []plumbing.Hash{hash}
	if can.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	if can.Supports(capability.Filter) {
		req.Filter = packp.FilterBlobLimit(definition.MaxFileBytes+1, packp.BlobLimitPrefixNone)
		if err := req.Capabilities.Set(capability.Filter); err != nil {
			return nil, err
		}
	}
	response, err := session.UploadPack(ctx, req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Close() }()
	var pack io.Reader = response
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, response)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, response)
	}
	return io.ReadAll(pack)
}

// unpack stores the objects of a pack, once it is known that they fit.
func unpack(objects *memory.Storage, pack []byte) error {
	if err := measure(pack); err != nil {
		return err
	}
	return packfile.UpdateObjectStorage(objects, bytes.NewReader(pack))
}

// measure adds up what the objects of a pack say that they are long, which they can't exceed when they are inflated.
func measure(pack []byte) error {
	scanner := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := scanner.Header()
	if err != nil {
		return err
	}
	var total int64
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return err
		}
		total += header.Length
		if !header.Type.IsDelta() {
			if header.Length > maxInflated || total > maxInflated {
				return tooLarge()
			}
			continue
		}
		// A delta begins with the lengths of what it is made from and of what it makes.
		var head prefix
		if _, _, err := scanner.NextObject(&head); err != nil {
			return err
		}
		_, rest := number(head.bytes)
		makes, _ := number(rest)
		if total += makes; makes > maxInflated || total > maxInflated {
			return tooLarge()
		}
	}
	return nil
}

// prefix keeps the first bytes of what is written.
type prefix struct{ bytes []byte }

func (p *prefix) Write(b []byte) (int, error) {
	p.bytes = append(p.bytes, b[:min(len(b), 20-min(20, len(p.bytes)))]...)
	return len(b), nil
}

// number reads a length as deltas have it: seven bits a byte, the lowest first.
func number(b []byte) (n int64, rest []byte) {
	for i, c := range b {
		if i == 8 {
			return maxInflated + 1, nil
		}
		n |= int64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n, b[i+1:]
		}
	}
	return maxInflated + 1, nil
}

func tooLarge() error {
	err := problem.New(problem.Exhausted, "the commit is too large: more than %d MiB are sent, or more than %d MiB are in it", maxTransfer>>20, maxInflated>>20)
	err.Suggestion = "keep definitions in a repository without data"
	return err
}

// bounded ends answers that are larger than any that is needed.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = &boundedBody{response.Body, maxTransfer}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooLarge()
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// explain tells what a repository answered, without what it was asked with.
func (r *remote) explain(err error) error {
	switch {
	case problem.CodeOf(err) != problem.Internal, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		p := problem.New(problem.Unavailable, "repository %s: %w", r.origin.Repository, err)
		p.Suggestion = "git:https://USER:${TOKEN}@host/path, with a token that may read it"
		return p
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return problem.New(problem.NotFound, "there is no repository %s, or it may not be read", r.origin.Repository)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return noBranch(r.origin.Branch, nil)
	}
	var inside *url.Error
	if errors.As(err, &inside) {
		err = inside.Err // it names the URL
	}
	return problem.New(problem.Unavailable, "read repository %s: %w", r.origin.Repository, err)
}
