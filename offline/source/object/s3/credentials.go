package s3

import (
	"bufio"
	"cmp"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/provender-dev/provender/offline/source/object"
)

// credentialsChain finds credentials where Amazon's own tools do: variables, files (profiles, single sign-on, external processes),
// the identity of a pod, task or instance. Where there are none, requests go unsigned, as public buckets allow.
type credentialsChain struct {
	getenv func(string) string
	amazon bool // the endpoint is Amazon's, which roles of instances are for

	mu     sync.Mutex
	found  *credentials.Credentials // nil until the first request
	client *http.Client
}

func newCredentials(getenv func(string) string, amazon bool) *credentialsChain {
	return &credentialsChain{getenv: getenv, amazon: amazon, client: &http.Client{Timeout: 5 * time.Second}}
}

// get returns credentials that have not expired; the zero value for none.
func (c *credentialsChain) get(ctx context.Context) (credentials.Value, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cc := &credentials.CredContext{Client: c.client, Context: ctx}
	if c.found != nil {
		value, err := c.found.GetWithContext(cc)
		if err != nil {
			return value, c.failure(ctx, "the credentials could not be renewed", err)
		}
		return value, nil
	}
	if c.getenv("AWS_ACCESS_KEY_ID") != "" || c.getenv("AWS_SECRET_ACCESS_KEY") != "" {
		if c.getenv("AWS_ACCESS_KEY_ID") == "" || c.getenv("AWS_SECRET_ACCESS_KEY") == "" {
			return credentials.Value{}, &object.ConfigError{Message: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set"}
		}
		c.found = credentials.NewStaticV4(c.getenv("AWS_ACCESS_KEY_ID"), c.getenv("AWS_SECRET_ACCESS_KEY"), c.getenv("AWS_SESSION_TOKEN"))
		return c.found.GetWithContext(cc)
	}
	profile := credentials.NewFileAWSCredentials("", "")
	value, err := profile.GetWithContext(cc)
	switch {
	case err == nil && value.AccessKeyID != "":
		c.found = profile
		return value, nil
	case err != nil && c.getenv("AWS_PROFILE") != "":
		return value, c.failure(ctx, "no credentials in the profile that AWS_PROFILE names", err)
	}
	if c.workload() || c.amazon && !strings.EqualFold(c.getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		role := credentials.NewIAM("")
		value, err := role.GetWithContext(cc)
		if err == nil {
			c.found = role
			return value, nil
		}
		if c.workload() || ctx.Err() != nil {
			return value, c.failure(ctx, "no credentials for the role of this pod or task", err)
		}
	}
	c.found = credentials.NewStaticV4("", "", "")
	return c.found.GetWithContext(cc)
}

// workload reports whether the environment names an identity of a pod or task.
func (c *credentialsChain) workload() bool {
	return cmp.Or(c.getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), c.getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
		c.getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")) != ""
}

// failure leaves the cause's text out: files, processes and servers that hold secrets may repeat them.
func (c *credentialsChain) failure(ctx context.Context, what string, _ error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return &object.ConfigError{Message: what + "; `aws sts get-caller-identity` shows what is wrong"}
}

// profileKey returns a key of the profile in the shared configuration file.
func profileKey(getenv func(string) string, key string) (string, bool) {
	path := getenv("AWS_CONFIG_FILE")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", false
		}
		path = filepath.Join(home, ".aws", "config")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	profile := cmp.Or(getenv("AWS_PROFILE"), "default")
	inside := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if section, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSpace(strings.TrimSuffix(section, "]"))
			name, isProfile := strings.CutPrefix(section, "profile ")
			inside = section == "default" && profile == "default" || isProfile && strings.TrimSpace(name) == profile
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok && inside && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}
