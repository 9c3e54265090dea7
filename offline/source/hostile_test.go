package source_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/offline/source"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/test/stores"
)

// hostile starts a server that answers as it likes, and returns a root in each kind of store that leads to it.
func hostile(t *testing.T, answer http.HandlerFunc) map[string]*source.Files {
	t.Helper()
	patient := object.DefaultPolicy
	object.DefaultPolicy = impatient
	t.Cleanup(func() { object.DefaultPolicy = patient })
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	roots := make(map[string]*source.Files)
	for _, scheme := range []string{"s3", "gs", "az"} {
		s := &stores.Store{Scheme: scheme, Endpoint: server.URL}
		s.Setenv(t, "")
		roots[scheme] = source.New(t.TempDir(), map[string]string{"lake": s.URL(stores.Lake, "p")})
	}
	return roots
}

// listings are pages with one file and the token of the next page, as each store writes them.
var listings = map[string]string{
	"s3": `<ListBucketResult><IsTruncated>%t</IsTruncated><NextContinuationToken>%s</NextContinuationToken>` +
		`<Contents><Key>p/x.parquet</Key><ETag>"1"</ETag><Size>12</Size></Contents></ListBucketResult>`,
	"gs": `{"x": %t, "nextPageToken": %q, "items": [{"name": "p/x.parquet", "size": "12", "generation": "1"}]}`,
	"az": `<EnumerationResults><x>%t</x><NextMarker>%s</NextMarker><Blobs><Blob><Name>p/x.parquet</Name>` +
		`<Properties><Etag>1</Etag><Content-Length>12</Content-Length></Properties></Blob></Blobs></EnumerationResults>`,
}

// A listing that goes in circles ends.
func TestListingGoesInCircles(t *testing.T) {
	var scheme string
	var requests atomic.Int32
	roots := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		next := map[string]string{"a": "b", "b": "c", "c": "a"}
		if requests.Add(1) > 100 {
			next = nil
		}
		q := r.URL.Query()
		token := next[q.Get("continuation-token")+q.Get("pageToken")+q.Get("marker")]
		if token == "" && next != nil {
			token = "a"
		}
		fmt.Fprintf(w, listings[scheme], token != "", token)
	})
	for scheme = range roots {
		requests.Store(0)
		list, err := roots[scheme].List(context.Background(), []string{"lake:**"})
		if err == nil || !strings.Contains(err.Error(), "does not go on") {
			t.Errorf("%s: %d files: %v", scheme, len(list), err)
		}
	}
}

// An object without a version can't be pinned, one without a size not be read whole.
func TestListingWithoutVersions(t *testing.T) {
	var answer string
	roots := hostile(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	for scheme, without := range map[string][]string{
		"s3": {`<ETag>"1"</ETag>`, `<Size>12</Size>`}, "gs": {`, "generation": "1"`, `"size": "12", `},
		"az": {`<Etag>1</Etag>`, `<Content-Length>12</Content-Length>`},
	} {
		whole := fmt.Sprintf(listings[scheme], false, "")
		answer = whole
		if list, err := roots[scheme].List(context.Background(), []string{"lake:**"}); err != nil || len(list) != 1 || list[0].Size != 12 {
			t.Errorf("%s: %d files: %v", scheme, len(list), err)
		}
		for _, part := range without {
			answer = strings.Replace(whole, part, "", 1)
			if list, err := roots[scheme].List(context.Background(), []string{"lake:**"}); err == nil || !strings.Contains(err.Error(), "has no size or") {
				t.Errorf("%s without %s: %d files: %v", scheme, part, len(list), err)
			}
		}
	}
}

// Answers that would take much memory, or say what they like, are errors, short and on one line.
func TestHostileAnswers(t *testing.T) {
	var status int
	var answer func(w io.Writer)
	roots := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		answer(w)
	})
	text := func(s string) func(io.Writer) { return func(w io.Writer) { _, _ = io.WriteString(w, s) } }
	endless := func(w io.Writer) {
		for chunk := strings.Repeat("<a>", 1<<18); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}
	for name, test := range map[string]struct {
		status int
		answer func(io.Writer)
	}{
		"entities": {200, text(`<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>` +
			`<ListBucketResult><NextContinuationToken>&b;</NextContinuationToken></ListBucketResult>`)},
		"external entity": {200, text(`<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><EnumerationResults><NextMarker>&a;</NextMarker></EnumerationResults>`)},
		"endless":         {200, endless},
		"endless failure": {400, endless},
		"deep":            {200, text(strings.Repeat("<a>", 1<<20))},
		"deep JSON":       {200, text(strings.Repeat("[", 1<<20))},
		"nothing":         {200, text("")},
		"another page":    {200, text("<html>please log in</html>")},
		"terminal":        {400, text("<Error><Code>X\x1b[2J</Code><Message>a\nb\u202e" + strings.Repeat("y", 10_000) + "</Message></Error>")},
	} {
		status, answer = test.status, test.answer
		for scheme, files := range roots {
			list, err := files.List(context.Background(), []string{"lake:**"})
			if err == nil || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\x1b\u202e") || strings.Contains(err.Error(), "root:") {
				t.Errorf("%s, %s: %d files: %.700v", name, scheme, len(list), err)
			}
		}
	}
}

// A redirect is not followed: what signs a request is for one host.
func TestRedirectIsNotFollowed(t *testing.T) {
	var followed atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer other.Close()
	roots := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	for scheme, files := range roots {
		if list, err := files.List(context.Background(), []string{"lake:**"}); err == nil || problem.CodeOf(err) != problem.Precondition {
			t.Errorf("%s: %d files: %v", scheme, len(list), err)
		}
	}
	if n := followed.Load(); n > 0 {
		t.Errorf("%d requests to the other host", n)
	}
}

// Requests that learn at the same time where the bucket is are all asked there again.
func TestBucketInAnotherRegion(t *testing.T) {
	const both = 2
	var wrong sync.WaitGroup
	wrong.Add(both)
	roots := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "/us-east-1/") {
			wrong.Done()
			wrong.Wait()
			w.Header().Set("X-Amz-Bucket-Region", "eu-central-1")
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		fmt.Fprintf(w, listings["s3"], false, "")
	})
	var group sync.WaitGroup
	for range both {
		group.Go(func() {
			if _, err := roots["s3"].List(context.Background(), []string{"lake:**"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// What signs requests to Azure is good at the account, whatever host it was sent to: a URL of a project names none but
// Azure's own.
func TestAzureEndpointOfAProject(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "account")
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sig="+stores.Secret)
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		fmt.Fprintf(w, listings["az"], false, "")
	}))
	defer server.Close()
	list := func(endpoint string) error {
		files := source.New(t.TempDir(), map[string]string{"lake": "az://" + stores.Lake + "/p?endpoint=" + endpoint})
		_, err := files.List(context.Background(), []string{"lake:**"})
		return err
	}
	for _, endpoint := range []string{"https://evil.example", "http://10.0.0.1", "https://core.windows.net.evil.example"} {
		if err := list(endpoint); err == nil || !strings.Contains(err.Error(), "AZURE_STORAGE_BLOB_ENDPOINT") || strings.Contains(err.Error(), stores.Secret) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if err := list(server.URL); err != nil || requests.Load() != 1 {
		t.Errorf("%v", err)
	}
}
