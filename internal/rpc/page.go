package rpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/provender-dev/provender/internal/problem"
)

// maxPage bounds the items of a page.
const maxPage = 1000

// page is a part of a list: where it begins, and how much it holds.
type page struct {
	list  string // the list and what selects in it: a token is of no other
	limit int    // of all pages together; 0: none
	size  int    // 0: the list comes in one part

	at    int64 // what the last page's token was made with; 0: this is the first page
	given int   // items of the pages before
}

// newPage reads what a request has of a page. list is its kind, and whatever else of the request selects.
func newPage(limit, size int32, token string, list ...any) (page, error) {
	if limit < 0 {
		return page{}, &problem.Error{Code: problem.Invalid, Message: "a negative limit", Field: "limit", Suggestion: "0 lists all"}
	}
	if size < 0 {
		return page{}, &problem.Error{
			Code: problem.Invalid, Message: "a negative page_size", Field: "page_size", Suggestion: "0 lists all in one answer",
		}
	}
	p := page{list: fmt.Sprintf("%#v", append(list, limit)), limit: int(limit), size: min(int(size), maxPage)}
	if token != "" && !p.parse(token) {
		return page{}, &problem.Error{
			Code: problem.Invalid, Message: "page_token is none that an answer to this request had", Field: "page_token",
			Suggestion: "repeat the request without it, then with the next_page_token of each answer",
		}
	}
	return p, nil
}

// fetch is how many items to get for the page, 0 for all: one more than it holds tells that there is another one.
func (p *page) fetch() int {
	left := p.limit - p.given
	switch {
	case p.size == 0:
		return max(left, 0)
	case p.limit == 0:
		return p.size + 1
	default:
		return min(left, p.size+1)
	}
}

// pageOf returns the items of the page, of those that were fetched, and the token of the next one, "" where there is none. at
// is where that begins, for the last item of this one.
func pageOf[T any](p *page, items []T, at func(last T) int64) ([]T, string) {
	if p.size == 0 || len(items) <= p.size {
		return items, ""
	}
	items = items[:p.size]
	return items, p.token(at(items[p.size-1]), p.given+p.size)
}

// token is at and given behind their checksum, which is over the list too.
func (p *page) token(at int64, given int) string {
	position := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(at)), uint64(given))
	sum := sha256.Sum256(append(position, p.list...))
	return base64.RawURLEncoding.EncodeToString(append(sum[:8], position...))
}

// parse is the reverse of token, false where it is not this list's.
func (p *page) parse(token string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 8 {
		return false
	}
	r := bytes.NewReader(raw[8:])
	at, errAt := binary.ReadUvarint(r)
	given, errGiven := binary.ReadUvarint(r)
	p.at, p.given = int64(at), int(given)
	return errAt == nil && errGiven == nil && p.at > 0 && p.given > 0 && (p.limit == 0 || p.given < p.limit) &&
		p.token(p.at, p.given) == token
}
