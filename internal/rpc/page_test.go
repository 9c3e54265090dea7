package rpc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/materialize"
	"github.com/provender-dev/provender/materialize/state"
	"github.com/provender-dev/provender/registry"
	"github.com/provender-dev/provender/registry/store"
)

// listed is a server with entities that each revision adds to, and runs of a view v.
type listed struct {
	t         *testing.T
	registry  *store.Store
	state     *state.Store
	defs      registry.Definitions
	revisions int64
	server    func(path string) (int, []byte)
}

func newListed(t *testing.T) *listed {
	t.Helper()
	reg, err := store.Open(t.Context(), "sqlite://registry.db", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	operations, err := state.Open(t.Context(), reg.DB())
	if err != nil {
		t.Fatal(err)
	}
	_, snapshot := things(t)
	service := materialize.New(materialize.Config{
		State: operations, StoreName: "shop", Snapshot: func() *registry.Snapshot { return snapshot },
	})
	server := serveHTTP(t, Services{Revisions: reg, Operations: service}, HTTPOptions{})
	l := &listed{t: t, registry: reg, state: operations, server: func(path string) (int, []byte) {
		resp, body := send(t, server, "GET "+path)
		return resp.StatusCode, body
	}}
	for range 7 {
		l.add()
	}
	return l
}

// add makes a revision with one more entity, and a run of every and of world.
func (l *listed) add() {
	l.t.Helper()
	text := columnar.Type{Kind: columnar.String}
	name := fmt.Sprintf("e%d", l.revisions+1)
	l.defs.Entities = append(l.defs.Entities, &registry.Entity{Name: name, JoinKeys: []registry.JoinKey{{Name: name, Type: text}}})
	if _, err := l.registry.Append(l.t.Context(), l.revisions, registry.Revision{}, &l.defs); err != nil {
		l.t.Fatal(err)
	}
	l.revisions++
	for _, view := range []string{"every", "world"} {
		if _, err := l.state.Enqueue(l.t.Context(), "shop", &state.Run{View: view, Queued: noon}, time.Hour); err != nil {
			l.t.Fatal(err)
		}
	}
}

// page returns what identifies the items of an answer, and its token.
func (l *listed) page(path string) (items []string, next string) {
	l.t.Helper()
	code, body := l.server(path)
	var answer struct {
		Runs        []struct{ ID int64 }
		Revisions   []struct{ Number int64 }
		Definitions []struct{ Name string }
		Next        string `json:"next_page_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || code != http.StatusOK {
		l.t.Fatalf("%s: %d %s", path, code, body)
	}
	for _, r := range answer.Runs {
		items = append(items, fmt.Sprint(r.ID))
	}
	for _, r := range answer.Revisions {
		items = append(items, fmt.Sprint(r.Number))
	}
	for _, d := range answer.Definitions {
		items = append(items, d.Name)
	}
	return items, answer.Next
}

// TestPages: the pages of a list are together what it was when the first was read, whatever comes meanwhile.
func TestPages(t *testing.T) {
	l := newListed(t)
	for _, list := range []string{
		"/v1/definitions?", "/v1/definitions?revision=6", "/v1/definitions?kind=entity", "/v1/definitions?kind=source",
		"/v1/revisions?", "/v1/revisions?limit=1", "/v1/revisions?limit=5", "/v1/revisions?limit=6",
		"/v1/runs?", "/v1/runs?views=every", "/v1/runs?limit=3", "/v1/runs?views=every&views=world&limit=8",
	} {
		want, next := l.page(list)
		if next != "" {
			t.Errorf("%s: a next page of all", list)
		}
		for _, size := range []int{1, 2, 3, 6, 7, 8, 1000, 1 << 30} {
			var got []string
			for token := ""; ; {
				items, next := l.page(fmt.Sprintf("%s&page_size=%d&page_token=%s", list, size, token))
				got = append(got, items...)
				if len(items) > size || next != "" && len(items) < size {
					t.Errorf("%s: %d items on a page of %d", list, len(items), size)
				}
				if next == "" {
					break
				}
				token = next
				if size == 3 {
					l.add()
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in pages of %d: -want +got\n%s", list, size, diff)
			}
			want, _ = l.page(list)
		}
	}
	// What follows a page may come in one part.
	_, next := l.page("/v1/runs?page_size=2")
	all, _ := l.page("/v1/runs?")
	if rest, _ := l.page("/v1/runs?page_token=" + next); len(rest) != len(all)-2 || rest[0] != all[2] {
		t.Errorf("behind the first two of %v: %v", all, rest)
	}
}

// TestLongPages: no page has more than 1,000 items.
func TestLongPages(t *testing.T) {
	p, err := newPage(0, 1<<30, "", "x")
	if err != nil {
		t.Fatal(err)
	}
	items, next := pageOf(&p, make([]int64, p.fetch()), func(int64) int64 { return 1 })
	if len(items) != 1000 || next == "" {
		t.Errorf("%d items, next %q", len(items), next)
	}
}

// TestPageTokens: a token of another request, and one that is damaged anywhere, are errors of page_token.
func TestPageTokens(t *testing.T) {
	l := newListed(t)
	refused := func(path, field string) {
		t.Helper()
		code, body := l.server(path)
		if code != http.StatusBadRequest || !strings.Contains(string(body), `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	lists := []string{
		"/v1/definitions?", "/v1/definitions?revision=6", "/v1/definitions?kind=entity", "/v1/revisions?", "/v1/revisions?limit=5",
		"/v1/runs?", "/v1/runs?limit=5", "/v1/runs?views=every", "/v1/runs?views=every&views=world",
	}
	for _, from := range lists {
		_, token := l.page(from + "&page_size=2")
		for _, to := range lists {
			if to != from {
				refused(to+"&page_size=2&page_token="+token, "page_token")
			}
		}
		for i := range token {
			other := byte('A')
			if token[i] == other {
				other = 'B'
			}
			refused(from+"&page_token="+token[:i]+string(other)+token[i+1:], "page_token")
			if i > 0 {
				refused(from+"&page_token="+token[:i], "page_token")
			}
		}
		refused(from+"&page_token="+token+"AA", "page_token")
		refused(from+"&page_token=%00", "page_token")
		refused(from+"&page_size=-1", "page_size")
	}
}

// TestRequestIDs: an id of 64 characters is taken, a longer one and one that can't be printed are not.
func TestRequestIDs(t *testing.T) {
	for id, ok := range map[string]bool{
		"": true, strings.Repeat("é", 64): true, strings.Repeat("x", 65): false, "a\nb": false, "a\x00": false, "a b": true,
	} {
		if err := checkRequestID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}
