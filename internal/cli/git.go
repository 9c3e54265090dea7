package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/provender-dev/provender/internal/problem"
	"github.com/provender-dev/provender/registry/definition"
)

// gitTimeout bounds how long Git is asked for what is only told.
const gitTimeout = 2 * time.Second

// git runs Git in a folder and returns what it prints.
func git(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	c.Stdin = stdin
	c.Env = append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	return c.Output()
}

// gitCommit is the commit of the definition files in dir, marked where they differ from it; "" without Git.
func gitCommit(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	out, err := git(ctx, dir, nil, "rev-parse", "HEAD")
	if err != nil {
		return ""
	}
	commit := strings.TrimSpace(string(out))
	if changed, err := git(ctx, dir, nil, "status", "--porcelain", "--", "*.yaml", "*.yml"); err != nil || len(changed) > 0 {
		commit += "-dirty"
	}
	return commit
}

// gitFiles reads the definition files that a project's folder had in a commit, branch or tag. Submodules and large files
// kept elsewhere are not followed.
func gitFiles(ctx context.Context, dir, ref string) ([]definition.File, error) {
	_, err := git(ctx, dir, nil, "rev-parse", "--git-dir")
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		e := problem.New(problem.Precondition, "--against git:%s needs git, which is not installed: %w", ref, err)
		e.Suggestion = "install it, or compare with a revision or a folder"
		return nil, e
	case err != nil:
		e := problem.New(problem.Precondition, "--against git:%s: %s is in no Git repository that can be read", ref, dir)
		if why := gitSays(err); why != "" {
			e.Message += ": " + why
		}
		return nil, e
	}
	out, err := git(ctx, dir, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		e := problem.New(problem.NotFound, "--against git:%s: the repository of %s has no such commit, branch or tag", ref, dir)
		e.Suggestion = "git fetch brings what a shallow clone lacks; git branch -a lists branches"
		return nil, e
	}
	listed, err := git(ctx, dir, nil, "ls-tree", "-r", "-z", "-l", strings.TrimSpace(string(out)))
	if err != nil {
		return nil, fmt.Errorf("list the files of git:%s: %w", ref, gitFailure(err))
	}
	files, blobs, err := definitionBlobs(ref, string(listed))
	if err != nil {
		return nil, err
	}
	contents, err := git(ctx, dir, strings.NewReader(strings.Join(blobs, "\n")), "cat-file", "--batch")
	if err != nil {
		return nil, fmt.Errorf("read the files of git:%s: %w", ref, gitFailure(err))
	}
	in := bufio.NewReader(bytes.NewReader(contents))
	for i := range files {
		if files[i].Content, err = readBlob(in); err != nil {
			return nil, fmt.Errorf("read git:%s: %w", files[i].Name, err)
		}
	}
	return files, nil
}

// definitionBlobs picks the definition files of what git ls-tree -r -z -l prints, without their contents, and the ids of
// those. The error is a diag.Set of files that can't be taken.
func definitionBlobs(ref, listed string) (files []definition.File, blobs []string, err error) {
	found := definition.Gathering{Prefix: ref + ":"}
	for line := range strings.SplitSeq(listed, "\x00") {
		about, name, ok := strings.Cut(line, "\t")
		fields := strings.Fields(about) // mode, type, id, size
		if !ok || len(fields) != 4 || slices.ContainsFunc(strings.Split(name, "/"), definition.Skips) {
			continue
		}
		switch {
		case fields[0] == "120000":
			found.Refuse(name, "a symbolic link; none is followed")
		case fields[1] == "blob":
			size, err := strconv.ParseInt(fields[3], 10, 64)
			if err != nil {
				return nil, nil, fmt.Errorf("git tells no size of %s: %q", name, about)
			}
			found.Add(name, size, func() ([]byte, error) { blobs = append(blobs, fields[2]); return nil, nil })
		}
	}
	files, err = found.Files()
	return files, blobs, err
}

// readBlob reads the next file of what git cat-file --batch prints.
func readBlob(in *bufio.Reader) ([]byte, error) {
	head, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(head) // id, type, size
	if len(fields) != 3 {
		return nil, fmt.Errorf("git answers %q", strings.TrimSpace(head)) // a partial clone lacks it
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return nil, err
	}
	content := make([]byte, size+1) // and an end of line
	if _, err := io.ReadFull(in, content); err != nil {
		return nil, err
	}
	return content[:size], nil
}

// gitFailure adds what Git says of an error.
func gitFailure(err error) error {
	if why := gitSays(err); why != "" {
		return fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// gitSays is the first line that a failed Git printed.
func gitSays(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
	return line
}
