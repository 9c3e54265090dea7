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
)

// root is the repository.
var root = filepath.Join("..", "..")

// complete are the pages of which every block runs.
var complete = []string{"docs/how-to/training-set.md"}

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
	bin     string // a folder with python
	python  string
	example fs.FS // the flights example, applied
}

func newTools(t *testing.T) *tools {
	t.Helper()
	x := &tools{bin: t.TempDir(), python: os.Getenv("PROVENDER_TEST_PYTHON")}
	if x.python == "" {
		x.python = filepath.Join(root, ".cache", "engines", "bin", "python")
	}
	var err error
	if x.python, err = filepath.Abs(x.python); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(x.python); err != nil {
		t.Fatalf("no Python with DuckDB, pandas and Polars: run ./scripts/test once, which installs it in .cache/engines (%v)", err)
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
	var printed string
	notRun := 0
	for _, b := range blocks {
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
	folder string // where it is
	home   string
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
		c = exec.CommandContext(ctx, s.python, "-")
		c.Stdin = strings.NewReader(b.text)
	case "sql":
		c = exec.CommandContext(ctx, s.python, "-c", printSQL)
		c.Stdin = strings.NewReader(b.text)
	default:
		return "", errors.New("blocks of " + b.language + " can't run: mark it")
	}
	var stdout, stderr bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = s.folder, &stdout, &stderr
	c.Env = []string{
		"PATH=" + s.bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + s.home, "NO_COLOR=1", "TZ=UTC", "LANG=C.UTF-8",
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
