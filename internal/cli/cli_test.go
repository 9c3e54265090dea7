package cli_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/provender-dev/provender/internal/cli"
	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/online/onlinetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"provender": func() { os.Exit(cli.Main(os.Args[1:], cli.Process())) },
	})
}

// TestScripts runs the command lines of testdata/script in processes of their own. Besides testscript's commands there
// are:
//
//	code N COMMAND…     run it and expect exit code N
//	ready DIR           wait for the server of a project, then set $GRPC and $HTTP
//	replace FILE A B    replace A, which must be there, by B
//	stop DIR            send SIGTERM to the server of a project
//
// $REDIS is the URL of a Redis, $ADDRESS its host:port.
func TestScripts(t *testing.T) {
	redis := onlinetest.StartRedis(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Setenv("USER", "tester")
			env.Setenv("REDIS", redis)
			env.Setenv("ADDRESS", strings.TrimPrefix(redis, "redis://"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "ready": ready, "replace": replace, "stop": stop,
		},
	})
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready DIR")
	}
	var at struct{ GRPC, HTTP string }
	ts.Check(testenv.Await("server ready", func() bool {
		raw, err := os.ReadFile(ts.MkAbs(filepath.Join(args[0], ".provender", "serve.json")))
		if err != nil || json.Unmarshal(raw, &at) != nil {
			return false
		}
		response, err := http.Get("http://" + at.HTTP + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}))
	ts.Setenv("GRPC", at.GRPC)
	ts.Setenv("HTTP", at.HTTP)
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE A B")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}

func stop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stop DIR")
	}
	var at struct{ PID int }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(args[0], ".provender", "serve.json"))), &at))
	ts.Check(syscall.Kill(at.PID, syscall.SIGTERM))
}
