package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	const full, short, other = "4eb9e68ab0123456789012345678901234567890", "4eb9e68ab012", "0123456789012345678901234567890123456789"
	repository := []debug.BuildSetting{
		{Key: "-trimpath", Value: "true"},
		{Key: "vcs.revision", Value: full},
		{Key: "vcs.time", Value: "2026-11-29T04:10:00Z"},
		{Key: "vcs.modified", Value: "true"},
	}
	ours := debug.Module{Path: module, Version: "v0.0.0-20261129041000-" + short + "+dirty"}
	for _, test := range []struct {
		name    string
		build   *debug.BuildInfo
		stamped Info
		want    Info
		text    string // before Go's version
	}{
		{
			name: "no record", want: Info{Version: "(devel)"}, text: "(devel) (",
		},
		{
			name:    "no record, stamped",
			stamped: Info{Version: "v1.2.3", Commit: full, Date: "2026-11-29T04:10:00Z"},
			want:    Info{Version: "v1.2.3", Commit: full, Date: "2026-11-29T04:10:00Z"},
			text:    "v1.2.3 (4eb9e68ab012, 2026-11-29T04:10:00Z, ",
		},
		{
			name:  "from a repository",
			build: &debug.BuildInfo{Main: ours, Settings: repository},
			want:  Info{Version: ours.Version, Commit: full, Modified: true, Date: "2026-11-29T04:10:00Z"},
			text:  ours.Version + " (4eb9e68ab012, modified, 2026-11-29T04:10:00Z, ",
		},
		{
			name:    "the stamp goes first, field by field",
			build:   &debug.BuildInfo{Main: ours, Settings: repository},
			stamped: Info{Version: "v1.2.3", Commit: "abc"},
			want:    Info{Version: "v1.2.3", Commit: "abc", Modified: true, Date: "2026-11-29T04:10:00Z"},
			text:    "v1.2.3 (abc, modified, 2026-11-29T04:10:00Z, ",
		},
		{
			name:  "go install of a version",
			build: &debug.BuildInfo{Main: debug.Module{Path: module, Version: "v1.2.3"}},
			want:  Info{Version: "v1.2.3"},
			text:  "v1.2.3 (",
		},
		{
			name: "in a program elsewhere",
			build: &debug.BuildInfo{
				Main:     debug.Module{Path: "example.org/model", Version: "v9.0.0"},
				Deps:     []*debug.Module{{Path: "example.org/x", Version: "v8.0.0"}, {Path: module, Version: "v1.2.3"}},
				Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: other}, {Key: "vcs.modified", Value: "true"}},
			},
			want: Info{Version: "v1.2.3"},
			text: "v1.2.3 (",
		},
		{
			name: "in a program elsewhere, from a folder",
			build: &debug.BuildInfo{
				Main: debug.Module{Path: "example.org/model", Version: "v9.0.0"},
				Deps: []*debug.Module{{Path: module, Version: "v1.2.3", Replace: &debug.Module{Path: "../provender"}}},
			},
			want: Info{Version: "(devel)"},
			text: "(devel) (",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := of(test.build, test.stamped)
			test.want.Go, test.want.Platform = strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS+"/"+runtime.GOARCH
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if want := test.text + "Go " + got.Go + ", " + got.Platform + ")"; got.String() != want {
				t.Errorf("it reads %q, want %q", got, want)
			}
		})
	}
}

// TestAgent keeps to what HTTP calls a product.
func TestAgent(t *testing.T) {
	name, version, ok := strings.Cut(Agent("provender-go"), "/")
	if !ok || name != "provender-go" || version == "" || strings.ContainsAny(version, "() /") || strings.HasPrefix(version, "v") {
		t.Errorf("it is %q", Agent("provender-go"))
	}
}
