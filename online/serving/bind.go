package serving

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/diag"
	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry"
)

// bind checks a request's keys against what the plan needs, and notes them and the number of rows. Errors are Invalid
// with the Field, or Exhausted.
func (a *Answer) bind(p *plan, req *Request, maxEntities int) error {
	needed := p.service.RequestKeys
	if len(req.KeyNames) != len(req.Keys) {
		return invalidKey("", "the request has "+itoa(len(req.KeyNames))+" key names and "+itoa(len(req.Keys))+" key columns")
	}
	for i, name := range req.KeyNames {
		j := slices.IndexFunc(needed, func(k registry.RequestKey) bool { return k.Name == name })
		switch {
		case j < 0:
			return unknownKey(p.service, name)
		case a.inputs[j] != nil:
			return invalidKey(name, "key "+quote(name)+" is given twice")
		}
		a.inputs[j] = req.Keys[i]
	}
	a.Rows = 1
	for j, k := range needed {
		v := a.inputs[j]
		if v == nil {
			return invalidKey(k.Name, "key "+quote(k.Name)+forService(p.service)+" is missing; it is "+k.Kind.String())
		}
		if j == 0 {
			a.Rows = v.Len()
		}
		switch {
		case v.Len() != a.Rows:
			return invalidKey(k.Name, "the keys have different numbers of values: "+quote(k.Name)+" "+itoa(v.Len())+", "+
				quote(needed[0].Name)+" "+itoa(a.Rows))
		case v.Type != columnar.Type{Kind: k.Kind} && v.NullCount() < v.Len(): // nulls alone are of every type
			return invalidKey(k.Name, "key "+quote(k.Name)+" is "+k.Kind.String()+", the request has "+v.Type.String()+" values")
		}
	}
	if a.Rows > maxEntities {
		return limitError("entities", "limits.request_entities", a.Rows, maxEntities, "keys")
	}
	return nil
}

func unknownKey(service *registry.Service, name string) error {
	names := make([]string, len(service.RequestKeys))
	for i, k := range service.RequestKeys {
		names[i] = k.Name
	}
	err := &problem.Error{Code: problem.Invalid, Message: "unknown key " + quote(name) + forService(service), Field: keyField(name)}
	if err.Suggestion = diag.Suggest(name, names); err.Suggestion == "" {
		err.Suggestion = "it takes no keys"
		if len(names) > 0 {
			err.Suggestion = "it takes " + strings.Join(names, ", ")
		}
	}
	return err
}

func invalidKey(name, message string) error {
	return &problem.Error{Code: problem.Invalid, Message: message, Field: keyField(name)}
}

// keyField is how a request's key is named in Problem.Field.
func keyField(name string) string {
	if name == "" {
		return "keys"
	}
	return "keys." + name
}

// forService names the service in a message; an ad-hoc list has no name.
func forService(service *registry.Service) string {
	if service.Name == "" {
		return ""
	}
	return " of service " + quote(service.Name)
}

func quote(s string) string { return strconv.Quote(s) }

func itoa(n int) string { return strconv.Itoa(n) }

// group writes a number as people read it: 10,001.
func group(n int) string { return humanize.Comma(int64(n)) }

func formatMicros(t int64) string { return time.UnixMicro(t).UTC().Format(time.RFC3339Nano) }
