package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/provender-dev/provender/internal/columnar"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/registry"
)

// watched is output that tells when it holds a text.
type watched struct {
	mu      sync.Mutex
	b       bytes.Buffer
	text    string
	arrived chan struct{}
	once    sync.Once
}

func watch(text string) *watched { return &watched{text: text, arrived: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(p)
	if strings.Contains(w.b.String(), w.text) {
		w.once.Do(func() { close(w.arrived) })
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// world returns a world without terminals, and the channel of its signals.
func world(stdin io.Reader, stdout, stderr io.Writer) (World, chan os.Signal) {
	signals := make(chan os.Signal, 2)
	return World{
		Stdin: stdin, Stdout: stdout, Stderr: stderr, Now: time.Now,
		Signals: signals, Exit: func(int) { panic("stopped at once") },
	}, signals
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	w, _ := world(strings.NewReader(""), &stdout, &stderr)
	if code := Main(args, w); code != exitDone {
		t.Fatalf("provender %s: exit code %d\n%s%s", strings.Join(args, " "), code, &stdout, &stderr)
	}
	return stdout.String()
}

func TestEveryCommandHasAnExample(t *testing.T) {
	w, _ := world(nil, io.Discard, io.Discard)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: an example is not indented: %q", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{World: w}).root())
}

// The reference names every command and every flag, and the JSON reference every field.
func TestReference(t *testing.T) {
	reference := read(t, "cli.md")
	w, _ := world(nil, io.Discard, io.Discard)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if path := strings.TrimPrefix(c.CommandPath(), "provender "); c.HasParent() && !strings.Contains(reference, "`"+path) {
			t.Errorf("cli.md does not name %s", path)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(reference, "--"+f.Name) {
				t.Errorf("cli.md does not name --%s of %s", f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{World: w}).root())

	fields := read(t, "json.md")
	for _, r := range []report{
		&versionReport{}, &initReport{}, &validateReport{}, &fmtReport{}, &planReport{}, &applyReport{}, &listReport{}, &showReport{},
		&historyReport{}, &runsReport{}, &oneRunReport{}, &schedulesReport{}, &statusReport{}, &verifyReport{}, &getReport{}, &exportReport{},
		&serveReport{}, &demoReport{}, &explainReport{}, &doctorReport{}, &runPlansReport{}, &pruneReport{}, &cancelReport{}, &configReport{},
	} {
		for _, name := range jsonFields(reflect.TypeOf(r)) {
			if !strings.Contains(fields, "`"+name+"`") {
				t.Errorf("json.md does not name %s of %T", name, r)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// jsonFields lists the fields of a type and of what it holds.
func jsonFields(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return jsonFields(t.Elem())
	case reflect.Struct:
		var names []string
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				names = append(append(names, name), jsonFields(f.Type)...)
			}
		}
		return names
	default:
		return nil
	}
}

// A server leaves nothing behind: no goroutine, no socket, no address file.
func TestServeLifecycle(t *testing.T) {
	defer testenv.NoLeaks(t, goleak.IgnoreCurrent())
	dir := filepath.Join(t.TempDir(), "shop")
	run(t, "init", dir)
	run(t, "apply", "--yes", "-C", dir)
	run(t, "materialize", "-C", dir)
	for range 2 {
		stdout := watch("Serving shop")
		var stderr bytes.Buffer
		w, signals := world(strings.NewReader(""), stdout, &stderr)
		exit := make(chan int)
		go func() {
			exit <- Main([]string{"serve", "-C", dir, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}, w)
		}()
		select {
		case <-stdout.arrived:
			signals <- syscall.SIGTERM
		case code := <-exit:
			t.Fatalf("exit code %d\n%s%s", code, stdout, &stderr)
		}
		if code := <-exit; code != exitDone {
			t.Fatalf("exit code %d\n%s", code, &stderr)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".provender", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if name := filepath.Base(path); name != "online" && !strings.HasPrefix(name, "registry.db") {
			t.Errorf("%s is left behind", path)
		}
	}
}

// interrupting sends a signal when it is read, and goes on once the signal was taken.
type interrupting struct {
	signals chan os.Signal
	taken   chan struct{}
	io.Reader
}

func (r *interrupting) Read(p []byte) (int, error) {
	select {
	case <-r.taken:
	default:
		r.signals <- os.Interrupt
		<-r.taken
	}
	return r.Reader.Read(p)
}

func TestInterrupt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	run(t, "init", dir)
	run(t, "apply", "--yes", "-C", dir)
	run(t, "materialize", "-C", dir)
	var stdout bytes.Buffer
	stderr := watch("interrupt again to stop at once.\n")
	w, signals := world(nil, &stdout, stderr)
	w.Stdin = &interrupting{signals, stderr.arrived, strings.NewReader("customer_id\n1\n")}
	code := Main([]string{"get", "-C", dir, "--service", "churn_model_v1", "--entities", "-"}, w)
	if code != exitInterrupted || stdout.Len() > 0 || !strings.Contains(stderr.String(), "Interrupted.") {
		t.Errorf("exit code %d, want %d\n%s%s", code, exitInterrupted, &stdout, stderr)
	}
}

func TestEntities(t *testing.T) {
	keys := []registry.RequestKey{{Name: "id", Kind: columnar.Int64}, {Name: "city", Kind: columnar.String}}
	for _, c := range []struct {
		flags []string
		want  string // JSON of the columns' rows
		err   string
	}{
		{[]string{"id=1,city=Bonn"}, `1 "Bonn"`, ""},
		{[]string{`city="Washington, DC",id=-7`}, `-7 "Washington, DC"`, ""},
		{[]string{`id=1,city="say ""hi"""`}, `1 "say \"hi\""`, ""},
		{[]string{`id=,city=`}, `null null`, ""},
		{[]string{`id=1,city=""`}, `1 ""`, ""},
		{[]string{`id=1,city=a=b`}, `1 "a=b"`, ""},
		{[]string{"id=1,city=01"}, `1 "01"`, ""},
		{[]string{"id=1,city=x", "city=y,id=2"}, `1 "x"; 2 "y"`, ""},
		{[]string{"id=9223372036854775808,city=x"}, "", `key "id" is int64`},
		{[]string{"id=1.0,city=x"}, "", `key "id" is int64`},
		{[]string{"id=1"}, "", `key "city" is missing`},
		{[]string{"id=1,city=x,extra=2"}, "", `there is no key "extra"`},
		{[]string{"id=1,id=2,city=x"}, "", `given twice`},
		{[]string{"id=1,city=x", "id=2"}, "", `must give the same keys`},
		{[]string{`id=1,city="open`}, "", `not closed`},
		{[]string{`id=1,city="a"b`}, "", `text after a closing quote`},
		{[]string{`id=1,city=a"b`}, "", `a quote inside a value`},
		{[]string{"id=1,"}, "", `a comma at the end`},
		{[]string{"JFK"}, "", `want key=value`},
	} {
		e, err := parseEntityFlags(c.flags)
		var columns []*columnar.Vector
		if err == nil {
			columns, err = e.columns(keys)
		}
		if err != nil || c.err != "" {
			if err == nil || c.err == "" || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v, want %q", c.flags, err, c.err)
			}
			continue
		}
		var rows []string
		for i := range e.rows {
			rows = append(rows, string(columnar.AppendJSON(nil, columns[0], i))+" "+string(columnar.AppendJSON(nil, columns[1], i)))
		}
		if diff := cmp.Diff(c.want, strings.Join(rows, "; ")); diff != "" {
			t.Errorf("%q: -want +got\n%s", c.flags, diff)
		}
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 20 * time.Millisecond: "20ms", time.Second: "1s", 61 * time.Second: "1m1s", time.Hour: "1h",
		25*time.Hour + time.Minute: "1d1h", -90 * time.Second: "-1m30s",
	} {
		if got := since(d); got != want {
			t.Errorf("since(%v) = %q, want %q", d, got, want)
		}
	}
}
