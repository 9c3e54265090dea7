package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/server"
	"github.com/provender-dev/provender/offline"
	"github.com/provender-dev/provender/registry"
)

const (
	// shownFeatures is how many of a view's features a lookup to copy asks for.
	shownFeatures = 5
	// keyPatience is how long a real key is looked for.
	keyPatience = 5 * time.Second
)

// lookups are ways to ask a server for a service, or for features of a view, to copy: commands for a shell, and programs.
type lookups struct {
	RealKey bool   `json:"real_key"` // one of a row in the source's files, else a placeholder
	Get     string `json:"get"`
	Curl    string `json:"curl"`
	Grpcurl string `json:"grpcurl"`
	Python  string `json:"python"`
	Go      string `json:"go"`
}

// question is what they ask for.
type question struct {
	service    string
	features   []string
	keys       []registry.RequestKey
	values     []*columnar.Vector
	grpc, http string
}

// lookupsOf returns the lookups of a service or a view, nil for other kinds and for what can't be looked up.
func (a *app) lookupsOf(ctx context.Context, s *registry.Snapshot, kind, name string) *lookups {
	q := &question{grpc: "127.0.0.1:6565", http: "127.0.0.1:6566"}
	var asked *registry.Service
	switch kind {
	case "service":
		asked, q.service = s.Services[name], name
	case "view":
		for i, f := range s.Views[name].Features {
			if i < shownFeatures {
				q.features = append(q.features, name+":"+f.Name)
			}
		}
		var err error
		if asked, err = s.AdHoc(q.features); err != nil {
			return nil // such as a feature named like a join key
		}
	default:
		return nil
	}
	if slices.ContainsFunc(asked.Reads, func(r registry.Read) bool { return !r.View.Online }) {
		return nil
	}
	q.keys = asked.RequestKeys
	q.values = make([]*columnar.Vector, len(q.keys))
	if a.server != "" {
		q.grpc = a.server
	} else {
		// Where nothing can be read there are placeholders.
		_ = a.withProject(func(p *server.Project) error {
			q.grpc, q.http = p.Config.Server.GRPC, p.Config.Server.HTTP
			ctx, cancel := context.WithTimeout(ctx, keyPatience)
			defer cancel()
			q.findKeys(ctx, p, asked)
			return nil
		})
	}
	real := q.placeholders()
	return &lookups{RealKey: real, Get: q.get(), Curl: q.curl(), Grpcurl: q.grpcurl(), Python: q.python(), Go: q.golang()}
}

// findKeys takes the keys of a row of each view; views of more keys first, so that those of one row stay together.
func (q *question) findKeys(ctx context.Context, p *server.Project, asked *registry.Service) {
	reads := slices.Clone(asked.Reads)
	slices.SortStableFunc(reads, func(a, b registry.Read) int { return len(b.Binding) - len(a.Binding) })
	for _, r := range reads {
		if !slices.ContainsFunc(r.Binding, func(k int) bool { return q.values[k] == nil }) {
			continue
		}
		row, err := offline.SampleKey(ctx, p.Files, p.ParquetLimits(), r.View)
		if err != nil || row == nil {
			continue
		}
		for i, k := range r.Binding {
			if q.values[k] == nil {
				q.values[k] = row[i]
			}
		}
	}
}

// placeholders fills in what was not found, and reports whether that is nothing.
func (q *question) placeholders() bool {
	real := true
	for i, k := range q.keys {
		if q.values[i] != nil {
			continue
		}
		real = false
		q.values[i] = columnar.NewVector(columnar.Type{Kind: k.Kind}, 1)
		if k.Kind == columnar.Int64 {
			q.values[i].AppendInt64(1)
		} else {
			q.values[i].AppendString("KEY")
		}
	}
	return real
}

// value is a key's value as JSON.
func (q *question) value(i int) string { return string(columnar.AppendJSON(nil, q.values[i], 0)) }

// asJSON writes a value without what only HTML needs.
func asJSON(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // of strings
	return strings.TrimSpace(b.String())
}

// asked is the beginning of a request in JSON: the service or the features.
func (q *question) asked() string {
	if q.service != "" {
		return `{"service": ` + asJSON(q.service)
	}
	return `{"features": ` + strings.ReplaceAll(asJSON(q.features), `","`, `", "`)
}

// body is the request over HTTP.
func (q *question) body() string {
	pairs := make([]string, len(q.keys))
	for i, k := range q.keys {
		pairs[i] = asJSON(k.Name) + ": [" + q.value(i) + "]"
	}
	if len(pairs) == 0 {
		return q.asked() + "}"
	}
	return q.asked() + `, "keys": {` + strings.Join(pairs, ", ") + "}}"
}

func (q *question) curl() string {
	return "curl -s --json " + shellQuoted(q.body()) + " " + shellQuoted("http://"+q.http+"/v1/features:get")
}

func (q *question) grpcurl() string {
	keys := make([]string, len(q.keys))
	for i, k := range q.keys {
		field := "strings"
		if k.Kind == columnar.Int64 {
			field = "int64s"
		}
		keys[i] = fmt.Sprintf(`{"name": %s, "%s": [%s]}`, asJSON(k.Name), field, q.value(i))
	}
	body := q.asked()
	if len(keys) > 0 {
		body += `, "keys": [` + strings.Join(keys, ", ") + "]"
	}
	return "grpcurl -plaintext -d " + shellQuoted(body+"}") + " " + shellQuoted(q.grpc) + " provender.v1.OnlineService/GetFeatures"
}

func (q *question) get() string {
	var b strings.Builder
	if q.service != "" {
		b.WriteString("provender get --service " + shellQuoted(q.service))
	} else {
		b.WriteString("provender get --features " + shellQuoted(strings.Join(q.features, ",")))
	}
	pairs := make([]string, len(q.keys))
	for i, k := range q.keys {
		text := q.value(i)
		if k.Kind == columnar.String {
			if text = string(q.values[i].BytesAt(0)); text == "" || strings.ContainsAny(text, ",\"\r\n") || strings.TrimSpace(text) != text {
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
		}
		pairs[i] = k.Name + "=" + text
	}
	if len(pairs) > 0 {
		b.WriteString(" --entity " + shellQuoted(strings.Join(pairs, ",")))
	}
	return b.String()
}

// python is a program for the standard library: JSON without null, true and false is Python, too.
func (q *question) python() string {
	return fmt.Sprintf(`import json, urllib.request

body = %s
request = urllib.request.Request(%s, json.dumps(body).encode(), {"Content-Type": "application/json"})
answer = json.load(urllib.request.urlopen(request))
for column in answer["columns"]:
    print(column["name"], column["values"][0], column["statuses"][0])
`, q.body(), asJSON("http://"+q.http+"/v1/features:get"))
}

func (q *question) golang() string {
	var request strings.Builder
	pad := "   " // gofmt's
	if q.service != "" {
		fmt.Fprintf(&request, "\t\tService: %q,\n", q.service)
	} else {
		fmt.Fprintf(&request, "\t\tFeatures: %#v,\n", q.features)
		pad = "    "
	}
	if len(q.keys) > 0 {
		keys := make([]string, len(q.keys))
		for i, k := range q.keys {
			if k.Kind == columnar.Int64 {
				keys[i] = fmt.Sprintf("client.Int64s(%q, %d)", k.Name, q.values[i].Int64s[0])
			} else {
				keys[i] = fmt.Sprintf("client.Strings(%q, %s)", k.Name, strconv.Quote(string(q.values[i].BytesAt(0))))
			}
		}
		request.WriteString("\t\tKeys: " + pad + "[]client.Key{" + strings.Join(keys, ", ") + "},\n")
	}
	return fmt.Sprintf(`package main

import (
	"context"
	"fmt"
	"log"

	"github.com/provender-dev/provender/sdk/client"
)

func main() {
	ctx := context.Background()
	c, err := client.Dial(ctx, %q)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	answer, err := c.GetFeatures(ctx, client.Request{
%s	})
	if err != nil {
		log.Fatal(err)
	}
	for _, column := range answer.Columns {
		fmt.Println(column.Name, column.Values.Type(), column.Status(0))
	}
}
`, q.grpc, request.String())
}

func (l *lookups) text(p *printer) {
	key := "with a key of the source's newest file"
	if !l.RealKey {
		key = "with a placeholder for the key"
	}
	p.printf("\nLook it up, %s; -o json has programs in Python and Go:\n", key)
	for _, command := range []string{l.Get, l.Curl, l.Grpcurl} {
		p.command("%s", command)
	}
}
