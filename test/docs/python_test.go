package docs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// interpret runs a block of Python in the page's interpreter and returns what it printed.
func (s *session) interpret(ctx context.Context, b *block) (string, error) {
	if s.python == nil {
		var err error
		if s.python, err = startInterpreter(s.tools.python, s.folder, s.env()); err != nil {
			return "", err
		}
	}
	stop := context.AfterFunc(ctx, s.python.kill)
	defer stop()
	answer, err := s.python.run(s.folder, b.text)
	if err == nil && answer.Code != b.exit {
		err = fmt.Errorf("exit code %d", answer.Code)
	}
	if err != nil {
		return "", errors.Join(err, ctx.Err(), errors.New(b.text+"\n"+answer.Stdout+answer.Failure+s.python.stderr.String()))
	}
	return answer.Stdout, nil
}

// interpreter is a Python that keeps its variables.
type interpreter struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
	stderr  bytes.Buffer
}

type pythonAnswer struct {
	Stdout  string `json:"stdout"`
	Failure string `json:"failure"`
	Code    int    `json:"code"`
}

// interpretBlocks runs the blocks that come on stdin. Answers go where no block writes.
const interpretBlocks = `
import ast, contextlib, io, json, os, sys, traceback
answers = os.fdopen(3, "w")
variables = {"__name__": "__main__"}
for line in sys.stdin:
    asked = json.loads(line)
    os.chdir(asked["folder"])
    printed, failure, code = io.StringIO(), "", 0
    with contextlib.redirect_stdout(printed):
        try:
            tree = ast.parse(asked["text"])
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "block", "exec"), variables)
            if last is not None:
                sys.displayhook(eval(compile(ast.Expression(last.value), "block", "eval"), variables))
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
        except BaseException:
            failure, code = traceback.format_exc(), 1
    json.dump({"stdout": printed.getvalue(), "failure": failure, "code": code}, answers)
    answers.write("\n")
    answers.flush()
`

func startInterpreter(python, folder string, env []string) (*interpreter, error) {
	x := &interpreter{process: exec.Command(python, "-c", interpretBlocks)}
	x.process.Dir, x.process.Env, x.process.Stderr = folder, env, &x.stderr
	// What a block leaves running ends with it.
	x.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	x.process.WaitDelay = time.Second
	var err error
	if x.stdin, err = x.process.StdinPipe(); err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	x.answers = bufio.NewReader(read)
	x.process.ExtraFiles = []*os.File{write}
	return x, x.process.Start()
}

func (x *interpreter) run(folder, text string) (answer pythonAnswer, err error) {
	asked, err := json.Marshal(map[string]string{"folder": folder, "text": text})
	if err != nil {
		return answer, err
	}
	if _, err := x.stdin.Write(append(asked, '\n')); err != nil {
		return answer, err
	}
	line, err := x.answers.ReadBytes('\n')
	if err != nil {
		return answer, fmt.Errorf("Python has ended: %w", err)
	}
	return answer, json.Unmarshal(line, &answer)
}

func (x *interpreter) kill() { _ = syscall.Kill(-x.process.Process.Pid, syscall.SIGKILL) }

// end lets the interpreter leave as at the end of a program.
func (x *interpreter) end() {
	_ = x.stdin.Close()
	kill := time.AfterFunc(patience, x.kill)
	_ = x.process.Wait()
	kill.Stop()
}
