package rpc

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/provender-dev/provender/proto/provender/v1"
)

// document loads what a server serves, and checks it against OpenAPI's rules, examples included.
func document(t *testing.T) *openapi3.T {
	t.Helper()
	server := serveHTTP(t, Services{}, HTTPOptions{})
	resp, text := send(t, server, "GET "+openAPIPath)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentJSON {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestOpenAPI: the document has the endpoints and the fields that there are, and no others.
func TestOpenAPI(t *testing.T) {
	doc := document(t)
	got, want := map[string][]string{}, map[string][]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			names := []string{}
			for _, p := range op.Parameters {
				if p.Value.In == "query" {
					names = append(names, p.Value.Name)
				} else if !strings.Contains(path, "{"+p.Value.Name+"}") {
					t.Errorf("%s has no %s", path, p.Value.Name)
				}
			}
			slices.Sort(names)
			got[method+" "+path] = names
			if op.Responses.Default() == nil || op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s %s: incomplete", method, path)
			}
		}
	}
	h := &web{Services: thingsAPI(t)}
	for _, e := range h.endpoints() {
		want[e.method+" "+e.path] = append([]string{}, slices.Sorted(slices.Values(e.query))...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints: -want +got\n%s", diff)
	}

	fields := map[string][]string{"GetFeaturesRequest": lookupFields}
	for _, m := range []proto.Message{
		&pb.Definition{}, &pb.Revision{}, &pb.Run{}, &pb.Reject{}, &pb.Phase{}, &pb.ViewStatus{}, &pb.ListDefinitionsResponse{}, &pb.GetDefinitionResponse{},
		&pb.ListRevisionsResponse{}, &pb.ListRunsResponse{}, &pb.GetStatusResponse{}, &pb.Definitions{}, &pb.GetFeaturesResponse{}, &pb.FeatureColumn{}, &pb.ViewRead{},
	} {
		d := m.ProtoReflect().Descriptor()
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			name := string(f.Name())
			if f.Kind() == protoreflect.MessageKind && f.Message().FullName() == durationName {
				name += "_seconds"
			}
			fields[string(d.Name())] = append(fields[string(d.Name())], name)
		}
	}
	fields["FeatureColumn"] = append(fields["FeatureColumn"], "type") // a part of a Vector on gRPC
	for name, v := range map[string]any{"Service": serviceReport{}} {
		for i := range reflect.TypeOf(v).NumField() {
			tag, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			fields[name] = append(fields[name], tag)
		}
	}
	for name, want := range fields {
		schema := doc.Components.Schemas[name]
		if schema == nil {
			t.Errorf("no schema %s", name)
			continue
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(schema.Value.Properties))); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

// TestHTTPReference: docs/reference/http.md names every call, parameter and field of a lookup.
func TestHTTPReference(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	var words []string
	for _, e := range (&web{Services: thingsAPI(t)}).endpoints() {
		words = append(words, e.path)
		for _, name := range e.query {
			words = append(words, name+"=")
		}
	}
	for _, name := range slices.Concat(lookupFields, slices.Collect(maps.Keys(document(t).Components.Schemas["GetFeaturesResponse"].Value.Properties))) {
		words = append(words, "`"+name+"`")
	}
	for _, word := range words {
		if !strings.Contains(page, word) {
			t.Errorf("http.md does not name %s", word)
		}
	}
}

// TestOpenAPIAnswers: every request of the golden file that is answered 200 is one by the document, and every answer too,
// whatever its status.
func TestOpenAPIAnswers(t *testing.T) {
	doc := document(t)
	server := serveHTTP(t, thingsAPI(t), HTTPOptions{MaxBody: 4 << 10})
	doc.Servers = openapi3.Servers{{URL: server.URL}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile(filepath.Join("testdata", "http.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string]bool{}
	for i := 0; i < len(archive.Files); i += 2 {
		name := archive.Files[i].Name
		resp, text := send(t, server, string(archive.Files[i].Data))
		req := resp.Request
		_, body, _ := strings.Cut(string(archive.Files[i].Data), "\n\n")
		req.Body = io.NopCloser(strings.NewReader(body))
		route, path, err := router.FindRoute(req)
		if err != nil {
			if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		in := &openapi3filter.RequestValidationInput{Request: req, PathParams: path, Route: route}
		if resp.StatusCode == http.StatusOK {
			operations[route.Operation.OperationID] = true
			if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
				t.Errorf("%s: the document refuses the request: %v", name, err)
			}
		}
		out := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(text)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
			t.Errorf("%s: the document refuses the answer: %v", name, err)
		}
		if route.Operation.Responses.Status(resp.StatusCode) == nil {
			t.Errorf("%s: %s does not tell of status %d", name, route.Path, resp.StatusCode)
		}
	}
	if len(operations)+1 != len(doc.Paths.Map()) { // all but the document itself
		t.Errorf("answered: %v", slices.Sorted(maps.Keys(operations)))
	}
}
