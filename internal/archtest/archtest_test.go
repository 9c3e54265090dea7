package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/provender-dev/provender/"

// layer is a set of packages and what of this module they may import.
type layer struct {
	name     string
	packages []string // prefixes; the first layer that matches a package is its own
	may      []string // names of layers
	why      string
}

// layers are listed from the top down; imports point down.
var layers = []layer{
	{
		"main",
		[]string{"cmd/provender"},
		[]string{"cli"},
		"main parses, calls and exits; what it does can then be tested without a process",
	},
	{
		"cli",
		[]string{"internal/cli"},
		[]string{"server", "client", "offline", "online", "registry", "definitions", "imports", "control", "example", "leaf", "materialize"},
		"commands sit on the Go client, the definitions and the plan, so that a command works the same on a server elsewhere",
	},
	{
		"server",
		[]string{"internal/server"},
		[]string{"rpc", "calls", "metrics", "tracing", "control", "client", "materialize", "serving", "online", "offline", "implementations", "registry", "definitions", "leaf"},
		"wiring is the one place that knows every concrete store",
	},
	{
		"rpc",
		[]string{"internal/rpc"},
		[]string{"calls", "feast", "wire", "generated", "control", "definitions", "materialize", "serving", "online", "offline", "ipc", "registry", "leaf"},
		"rpc turns messages into domain calls; it opens nothing and reads no file",
	},
	{
		"tracing",
		[]string{"internal/tracing"},
		[]string{"leaf"},
		"spans are sent by one package, which knows nothing of what they tell",
	},
	{
		"metrics",
		[]string{"internal/metrics"},
		[]string{"tracing", "control", "materialize", "serving", "online", "registry", "leaf"},
		"what is counted knows nothing of who counts it, nor how it is asked for",
	},
	{
		"feast",
		[]string{"internal/rpc/feast"},
		[]string{"wire", "generated", "serving", "registry", "leaf"},
		"Feast's messages become lookups; errors stay the domain's, so that one table serves both APIs",
	},
	{
		"calls",
		[]string{"internal/rpc/calls"},
		[]string{"serving", "online", "leaf"},
		"whatever is asked for, a call is seen in the same way; those who answer know nothing of it",
	},
	{
		"wire",
		[]string{"internal/rpc/wire"},
		nil,
		"the codec knows messages by what they can do, not by what they are",
	},
	{
		"control",
		[]string{"control"},
		[]string{"offline", "registry", "definitions", "leaf"},
		"definitions are planned and applied by one code, whoever asks; no online store is needed for it",
	},
	{
		"client",
		[]string{"sdk/client"},
		[]string{"generated", "leaf"},
		"users import the client: it must not drag the server in",
	},
	{
		"training",
		[]string{"sdk/client/training"},
		[]string{"client", "generated", "ipc"},
		"Arrow is for those who make training sets: the client itself does without it",
	},
	{
		"generated",
		[]string{"proto"},
		nil,
		"generated code stands alone",
	},
	{
		"implementations",
		[]string{"online/redis", "online/embedded", "registry/store"},
		[]string{"online", "registry", "leaf"},
		"a store implements a contract and knows nothing above it",
	},
	{
		"suite",
		[]string{"online/onlinetest"},
		[]string{"online", "leaf", "testing"},
		"the conformance suite sees a store through its contract alone",
	},
	{
		"materialize",
		[]string{"materialize"},
		[]string{"online", "offline", "registry", "leaf"},
		"materialize is where online and offline meet; it must work on any store",
	},
	{
		"serving",
		[]string{"online/serving"},
		[]string{"online", "registry", "leaf"},
		"lookups depend on no run, no file and no particular store",
	},
	{
		"online",
		[]string{"online"},
		[]string{"leaf"},
		"an online store holds opaque rows: definitions, files and history are above it",
	},
	{
		"ipc",
		[]string{"offline/arrowipc"},
		nil,
		"who reads Arrow that may lie, a server or a client, does it by the same code",
	},
	{
		"offline",
		[]string{"offline"},
		[]string{"ipc", "registry", "leaf"},
		"history is read without an online store, so that a training set never depends on what is being served",
	},
	{
		"definitions",
		[]string{"registry/definition", "registry/plan"},
		[]string{"registry", "leaf"},
		"definitions are checked and compared without stores",
	},
	{
		"imports",
		[]string{"registry/feast"},
		[]string{"definitions", "registry", "generated", "leaf"},
		"what another store's registry holds becomes definition files, and is nothing else's business",
	},
	{
		"registry",
		[]string{"registry"},
		[]string{"leaf"},
		"what users declare depends on nothing that reads it",
	},
	{
		"example",
		[]string{"examples"},
		nil,
		"the example is data; it must not reach into the product",
	},
	{
		"leaf",
		[]string{"internal/columnar", "internal/row", "internal/diag", "internal/problem", "internal/failpoint", "internal/redisurl", "internal/checkup", "internal/clock", "internal/database", "internal/auth", "internal/version", "internal/admission"},
		nil,
		"leaf packages serve every layer",
	},
	{
		"testing",
		[]string{"internal/testenv"},
		[]string{"leaf"},
		"support of tests: nothing that is shipped may import it",
	},
}

// confined are imports from outside that only some packages may have.
var confined = []struct {
	imports string // prefix
	only    []string
	why     string
}{
	{
		"google.golang.org/grpc/codes",
		[]string{"internal/rpc", "sdk/client", "proto"},
		"domain errors become gRPC codes in one function; elsewhere a *problem.Error says what happened",
	},
	{
		"github.com/parquet-go/parquet-go",
		[]string{"offline/parquet", "offline", "examples"},
		"every Parquet byte passes the guards of offline/parquet",
	},
	{
		"github.com/redis/go-redis",
		[]string{"online/redis", "online/onlinetest"},
		"one driver lives in one package",
	},
	{
		"github.com/cockroachdb/pebble",
		[]string{"online/embedded"},
		"one driver lives in one package",
	},
	{
		"github.com/jackc/pgx",
		[]string{"internal/database", "internal/testenv/postgres"},
		"one driver lives in one package",
	},
	{
		"modernc.org/sqlite",
		[]string{"internal/database"},
		"one driver lives in one package",
	},
	{
		"github.com/pressly/goose",
		[]string{"internal/database"},
		"migrations go one way, with one lock",
	},
	{
		"github.com/minio/minio-go",
		[]string{"offline/source/object/s3"},
		"requests to a store are ours: a library's own retries and reads without a condition would pass by the rules of offline/source/object",
	},
	{
		"github.com/Azure/azure-sdk-for-go",
		[]string{"offline/source/object/azure"},
		"requests to a store are ours; the library finds identities",
	},
	{
		"golang.org/x/oauth2",
		[]string{"offline/source/object/gcs"},
		"requests to a store are ours; the library finds tokens",
	},
	{
		"go.yaml.in/yaml",
		[]string{"registry/definition", "registry/feast"},
		"YAML is read in one place, where its positions are kept; feature_store.yaml is Feast's",
	},
	{
		"github.com/prometheus/client_golang",
		[]string{"internal/metrics"},
		"metrics are decorators, in one place",
	},
	{
		"go.opentelemetry.io/otel/sdk",
		[]string{"internal/tracing"},
		"others make spans by its API alone, which does nothing until somebody listens",
	},
	{
		"go.opentelemetry.io/otel/exporters",
		[]string{"internal/tracing"},
		"where spans are sent is decided in one place",
	},
	{
		"github.com/go-git",
		[]string{"control/gitops"},
		"one driver lives in one package",
	},
	{
		"github.com/spf13/cobra",
		[]string{"internal/cli"},
		"the command line is one package",
	},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	packages := list(t)
	if len(packages) < 20 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, p := range packages {
		path, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours || within(path, []string{"test", "tools", "bench", "internal/archtest"}) {
			continue
		}
		from := layerOf(path)
		if from == nil {
			t.Errorf("%s is in no layer: give it a place in internal/archtest and docs/architecture.md", path)
			continue
		}
		for _, imported := range p.Imports {
			checkConfined(t, path, imported)
			target, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			to := layerOf(target)
			if to == nil {
				t.Errorf("%s imports %s, which is in no layer", path, target)
				continue
			}
			if to.name != from.name && !slices.Contains(from.may, to.name) {
				t.Errorf("%s (%s) must not import %s (%s): %s", path, from.name, target, to.name, from.why)
			}
		}
	}
}

func checkConfined(t *testing.T, path, imported string) {
	t.Helper()
	for _, c := range confined {
		if within(imported, []string{c.imports}) && !within(path, c.only) {
			t.Errorf("%s must not import %s: %s", path, imported, c.why)
		}
	}
}

// layerOf returns the layer with the longest prefix that matches.
func layerOf(path string) *layer {
	var best *layer
	longest := -1
	for i := range layers {
		for _, prefix := range layers[i].packages {
			if within(path, []string{prefix}) && len(prefix) > longest {
				best, longest = &layers[i], len(prefix)
			}
		}
	}
	return best
}

func within(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// list returns the module's packages with the imports of their production code.
func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
