package docs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/provender-dev/provender/internal/cli"
	"github.com/provender-dev/provender/internal/testenv"
)

// root is the repository.
var root = filepath.Join("..", "..")

// complete are the pages of which every block runs.
var complete = []string{"docs/how-to/training-set.md", "docs/how-to/change-a-feature.md"}

// patience bounds one block, on a busy machine too.
const patience = 2 * time.Minute

// TestMain makes the test's program be provender where it is called so, as it is in the PATH of the tests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"provender": func() { os.Exit(cli.Main(os.Args[1:], cli.Process())) },
	})
}

// TestPages runs the blocks of every page.
func TestPages(t *testing.T) {
	tools := newTools(t)
	var pages []string
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(pages, filepath.Join(root, "README.md")) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := parse(string(raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if programs(blocks) == 0 {
			continue
		}
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			t.Parallel()
			tools.run(t, filepath.ToSlash(name), blocks)
		})
	}
}

func programs(blocks []block) int {
	n := 0
	for _, b := range blocks {
		if b.program() {
			n++
		}
	}
	return n
}

// tools are what blocks are run with.
type tools struct {
	bin      string // a folder with python
	python   string
	packages string // a folder with the package provender
	example  fs.FS  // the flights example, applied
}

func newTools(t *testing.T) *tools {
	t.Helper()
	x := &tools{bin: t.TempDir(), python: os.Getenv("PROVENDER_TEST_PYTHON_SDK")}
	if x.python == "" {
		x.python = filepath.Join(root, ".cache", "python", "bin", "python")
	}
	var err error
	if x.python, err = filepath.Abs(x.python); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(x.python); err != nil {
		t.Fatalf("no Python with what pages import: run ./scripts/test once, which installs it in .cache/python (%v)", err)
	}
	if x.packages, err = filepath.Abs(filepath.Join(root, "sdk", "python", "src")); err != nil {
		t.Fatal(err)
	}
	// A link would lose the packages: Python finds them by its own place.
	script := "#!/bin/sh\nexec '" + x.python + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(x.bin, "python"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	s := &session{tools: x, folder: filepath.Join(home, "flights"), home: home}
	if err := os.CopyFS(s.folder, os.DirFS(filepath.Join(root, "examples", "flights"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.folder, ".provender")); err != nil { // of somebody who tried it there
		t.Fatal(err)
	}
	if _, err := s.do(t.Context(), &block{language: "sh", text: "provender apply --yes"}); err != nil {
		t.Fatal(err)
	}
	x.example = os.DirFS(s.folder)
	return x
}

// run runs the blocks of a page.
func (x *tools) run(t *testing.T, page string, blocks []block) {
	home := t.TempDir()
	s := &session{tools: x, folder: filepath.Join(home, "flights"), home: home}
	if err := os.CopyFS(s.folder, x.example); err != nil {
		t.Fatal(err)
	}
	s.listenAt(t)
	defer s.end(t)
	var printed string
	notRun := 0
	for _, b := range blocks {
		b.text = s.addresses.Replace(b.text)
		switch {
		case b.notRun != "":
			notRun++
			t.Logf("line %d does not run: %s", b.line, b.notRun)
		case b.file != "":
			if err := os.WriteFile(filepath.Join(s.folder, b.file), []byte(b.text), 0o644); err != nil {
				t.Fatal(err)
			}
		case b.output:
			if !b.matches(printed) {
				t.Errorf("%s:%d: the page says\n%s\nand the block before printed\n%s", page, b.line, b.text, printed)
			}
		case b.background:
			if err := s.begin(&b); err != nil {
				t.Fatalf("%s:%d: %v", page, b.line, err)
			}
		case b.program():
			var err error
			if printed, err = s.do(t.Context(), &b); err != nil {
				t.Fatalf("%s:%d: %v", page, b.line, err)
			}
		}
	}
	t.Logf("%d blocks run, %d do not", programs(blocks)-notRun, notRun)
	for _, whole := range complete {
		if page == whole && notRun > 0 {
			t.Errorf("every block of %s must run", page)
		}
	}
}

// session is the shell of one page.
type session struct {
	*tools
	folder    string // where it is
	home      string
	addresses *strings.Replacer // from those of the page
	behind    []*behind
	python    *interpreter // nil until a block needs it
}

// behind is a block that runs in the background.
type behind struct {
	text    string
	process *exec.Cmd
	output  bytes.Buffer
}

// listenAt has the example's server listen on free ports.
func (s *session) listenAt(t *testing.T) {
	t.Helper()
	var pairs []string
	for _, written := range []string{"127.0.0.1:6565", "127.0.0.1:6566"} {
		pairs = append(pairs, written, testenv.FreeAddress(t))
	}
	s.addresses = strings.NewReplacer(pairs...)
	path := filepath.Join(s.folder, "provender.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.addresses.Replace(string(raw))), 0o644); err != nil {
		t.Fatal(err)
	}
}

// begin starts a block that runs until end.
func (s *session) begin(b *block) error {
	x := &behind{text: b.text, process: exec.Command("bash", "-euo", "pipefail", "-c", b.text)}
	x.process.Dir, x.process.Stdout, x.process.Stderr, x.process.Env = s.folder, &x.output, &x.output, s.env()
	x.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	x.process.WaitDelay = time.Second
	if err := x.process.Start(); err != nil {
		return err
	}
	s.behind = append(s.behind, x)
	return nil
}

// end stops what begin has started.
func (s *session) end(t *testing.T) {
	t.Helper()
	if s.python != nil {
		s.python.end()
	}
	for _, x := range s.behind {
		if err := syscall.Kill(-x.process.Process.Pid, syscall.SIGTERM); err != nil {
			t.Errorf("%s: had ended: %v", x.text, err)
		}
		kill := time.AfterFunc(patience, func() { _ = syscall.Kill(-x.process.Process.Pid, syscall.SIGKILL) })
		_ = x.process.Wait() // a shell that was told to stop does so with a failure
		kill.Stop()
		if t.Failed() {
			t.Logf("%s\n%s", x.text, &x.output)
		}
	}
}

// env is the environment of blocks.
func (s *session) env() []string {
	return []string{
		"PATH=" + s.bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + s.home, "NO_COLOR=1", "TZ=UTC", "LANG=C.UTF-8",
		"PYTHONPATH=" + s.packages, "MLFLOW_DISABLE_TELEMETRY=true",
		"OMP_NUM_THREADS=1", // more of them wait for each other where the cores are busy
	}
}

// printSQL prints what a statement returns as DuckDB does.
const printSQL = `import duckdb, sys
result = duckdb.sql(sys.stdin.read())
if result is not None:
    print(result)`

// do runs a block and returns its stdout.
func (s *session) do(ctx context.Context, b *block) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	where := filepath.Join(s.home, "where")
	var c *exec.Cmd
	switch b.language {
	case "sh":
		c = exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", "trap 'pwd >\""+where+"\"' EXIT\n"+b.text)
	case "python":
		return s.interpret(ctx, b)
	case "sql":
		c = exec.CommandContext(ctx, s.tools.python, "-c", printSQL)
		c.Stdin = strings.NewReader(b.text)
	case "go":
		program := filepath.Join(s.home, "main.go")
		if err := os.WriteFile(program, []byte(b.text), 0o644); err != nil {
			return "", err
		}
		c = exec.CommandContext(ctx, "go", "run", program)
	default:
		return "", errors.New("blocks of " + b.language + " can't run: mark it")
	}
	var stdout, stderr bytes.Buffer
	c.Dir, c.Stdout, c.Stderr, c.Env = s.folder, &stdout, &stderr, s.env()
	if b.language == "go" {
		c.Dir, c.Env = root, os.Environ() // the module and its caches
	}
	// What a block leaves running ends with it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == b.exit {
		err = nil
	} else if err == nil && b.exit != 0 {
		err = errors.New("exit code 0")
	}
	if err != nil {
		return "", errors.Join(err, errors.New(b.text+"\n"+stdout.String()+stderr.String()))
	}
	if b.language == "sh" {
		raw, err := os.ReadFile(where)
		if err != nil {
			return "", err
		}
		s.folder = strings.TrimSpace(string(raw))
	}
	return stdout.String(), nil
}
