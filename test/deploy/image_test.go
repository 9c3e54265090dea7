package deploy

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/provender-dev/provender/internal/testenv"
)

// asRoot is a command that takes root's rights: mounts, and files of another user.
func asRoot(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() == 0 {
		return exec.CommandContext(t.Context(), name, args...)
	}
	return exec.CommandContext(t.Context(), "sudo", append([]string{"-n", name}, args...)...)
}

// TestImage builds the image, and runs the program in it as an orchestrator does: nothing but the image is there, its root
// can't be written, the user is nobody.
func TestImage(t *testing.T) {
	work := t.TempDir()
	context := filepath.Join(work, "context")
	if err := os.CopyFS(filepath.Join(context, "deploy", "docker"), os.DirFS(filepath.Join(root, "deploy", "docker"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(os.Getenv("PROVENDER_TEST_BINARY"), filepath.Join(context, "provender")); err != nil {
		do(t, "cp", os.Getenv("PROVENDER_TEST_BINARY"), filepath.Join(context, "provender"))
	}
	buildah := func(args ...string) string {
		t.Helper()
		at := []string{"--root", filepath.Join(work, "storage"), "--runroot", filepath.Join(work, "run"), "--storage-driver", "vfs"}
		c := asRoot(t, "buildah", append(at, args...)...)
		var said strings.Builder
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			t.Fatalf("buildah %q: %v\n%s%s", args, err, out, &said)
		}
		return strings.TrimSpace(string(out))
	}
	buildah("bud", "--isolation", "chroot", "--format", "docker", "--file", filepath.Join(context, "deploy", "docker", "Dockerfile"), "--build-arg", "BINARY=provender", "--tag", "provender", context)
	var image struct {
		Docker struct {
			Config struct {
				User, WorkingDir string
				Entrypoint, Cmd  []string
				Labels           map[string]string
				Healthcheck      struct{ Test []string }
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(buildah("inspect", "--type", "image", "provender")), &image); err != nil {
		t.Fatal(err)
	}
	is := image.Docker.Config
	if is.User != "65532:65532" || is.WorkingDir != "/project" || !slices.Equal(is.Entrypoint, []string{"/provender"}) || !slices.Equal(is.Cmd, []string{"serve"}) ||
		!slices.Equal(is.Healthcheck.Test, []string{"CMD", "/provender", "health"}) || is.Labels["org.opencontainers.image.licenses"] != "Apache-2.0" {
		t.Errorf("%+v", is)
	}

	filesystem := buildah("mount", buildah("from", "provender"))
	var files []string
	for line := range strings.Lines(asRootOutput(t, "find", filesystem, "-type", "f", "-printf", "%P\n")) {
		files = append(files, strings.TrimSpace(line))
	}
	slices.Sort(files)
	if !slices.Equal(files, []string{"project/.provender/.keep", "provender", "tmp/.keep"}) {
		t.Errorf("the image has %q", files)
	}

	// What is mounted: the project, its state, a folder for temporary files. No network but the machine's own.
	mounted := filepath.Join(work, "mounted")
	for _, name := range []string{"definitions", "data"} {
		if err := os.CopyFS(filepath.Join(mounted, name), os.DirFS(filepath.Join(root, "examples", "flights", name))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(mounted, "provender.yaml"), read(t, "examples", "flights", "provender.yaml"))
	script := filepath.Join(work, "run.sh")
	write(t, script, `set -eu
mount --bind "$1" "$1"
mount --bind "$2" "$1/project"
mount -t tmpfs -o uid=65532,gid=65532 tmpfs "$1/project/.provender"
mount -t tmpfs -o uid=65532,gid=65532 tmpfs "$1/tmp"
mount -o remount,bind,ro "$1"
mount -o remount,bind,ro "$1/project"
chrooted() { exec env -i /usr/sbin/chroot --userspec=65532:65532 "$root" /provender -C /project "$@"; }
provender() { (chrooted "$@"); }
root=$1
provender apply --yes
provender materialize --to 2001-06-30T18:00:00Z
! provender health
chrooted serve --now 2001-06-30T18:00:00Z --grpc 127.0.0.1:0 --http "$3" &
server=$!
until provender health; do sleep 0.1; done
echo up >"$4"
read -r _
kill -TERM $server
wait $server
! touch "$root/project/x" "$root/x"
echo "done as $(stat -c %u:%g "$root/project/.provender/registry.db")"
`)
	if err := os.MkdirAll(filepath.Join(mounted, ".provender"), 0o755); err != nil {
		t.Fatal(err)
	}
	web, up := testenv.FreeAddress(t), filepath.Join(work, "up")
	run := asRoot(t, "unshare", "--mount", "sh", script, filesystem, mounted, web, up)
	var said strings.Builder
	run.Stdout, run.Stderr = &said, &said
	stop, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	testenv.Until(t, "the server in the image is ready", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("%v\n%s", err, &said)
		default:
		}
		_, err := os.Stat(up)
		return err == nil
	})
	if code, answer := lookup(t, "http://"+web, evening); code != http.StatusOK || !strings.Contains(answer, present) {
		t.Errorf("%d %s", code, answer)
	}
	_, _ = stop.Write([]byte("stop\n"))
	if err := <-ended; err != nil || !strings.Contains(said.String(), "done as 65532:65532") {
		t.Errorf("%v\n%s", err, &said)
	}
	// Files of another user, which the test's own clean-up can't remove.
	buildah("rm", "--all")
	asRootOutput(t, "rm", "-rf", filepath.Join(work, "storage"), filepath.Join(work, "run"))
}

func asRootOutput(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := asRoot(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
