package strict

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
)

// TestCompose: Compose reads compose.yaml as `docker compose config` does, with the variables of example.env and no others;
// each file that is mounted is there.
func TestCompose(t *testing.T) {
	folder := filepath.Join("..", "..", "..", "deploy", "compose")
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, "compose.yaml")},
		cli.WithWorkingDirectory(folder), cli.WithEnvFiles(filepath.Join(folder, "example.env")), cli.WithDotEnv, cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := project.CheckContainerNameUnicity(); err != nil {
		t.Error(err)
	}
	if _, err := project.GetService("provender"); err != nil {
		t.Error(err)
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type != "bind" {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s mounts %s: %v", name, volume.Target, err)
			}
		}
	}
}
