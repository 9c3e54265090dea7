"""Builds the provender program into the package: the wheel is of one platform, and needs Go to be built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "github.com/provender-dev/provender"
INSIDE = "provender/bin/provender"

# The platforms that the program runs on, by GOOS/GOARCH. It is static: on Linux it needs no C library, so one of any
# age and kind will do. On macOS it needs the release that Go needs.
PLATFORMS = {
    "linux/amd64": "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    "linux/arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "darwin/amd64": "macosx_12_0_x86_64",
    "darwin/arm64": "macosx_12_0_arm64",
}


class CustomBuildHook(BuildHookInterface[Any]):
    """The hook of hatchling."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the program. Of a wheel for development, it lies in the sources, where that finds the package."""
        if self.target_name != "wheel":
            self.app.abort(
                "There is no source distribution of the Python package: its program's Go sources are outside of its "
                "folder. Build a wheel from a clone: pip wheel ./sdk/python."
            )
        source = Path(self.root).parents[1]
        if not (source / "go.mod").is_file():
            self.app.abort(f"There are no Go sources in {source}: build the Python package from a clone.")
        go = self._go(source)
        platform = f"{self._env(go, 'GOOS')}/{self._env(go, 'GOARCH')}"
        if platform not in PLATFORMS:
            self.app.abort(f"Provender has no wheel for {platform}; it has for {', '.join(PLATFORMS)}.")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{PLATFORMS[platform]}"
        if version == "editable":
            self._build(go, source, Path(self.root) / "src" / INSIDE)
            return
        self._folder = tempfile.mkdtemp(prefix="provender-build-")
        program = Path(self._folder) / "provender"
        self._build(go, source, program)
        build_data["force_include"].update({str(program): INSIDE, str(source / "LICENSE"): "provender/LICENSE"})

    def finalize(self, *_: Any) -> None:
        """Removes what the wheel has a copy of."""
        if folder := getattr(self, "_folder", None):
            shutil.rmtree(folder, ignore_errors=True)

    def _go(self, source: Path) -> str:
        """Returns the Go command, which is there and new enough, or may fetch one that is."""
        needed = re.search(r"(?m)^go (\S+)", (source / "go.mod").read_text())
        wanted = needed[1] if needed else "1.26"
        go = shutil.which("go")
        if go is None:
            self.app.abort(
                f"Go is missing: the Python package has the provender program in it, which is built with Go {wanted} "
                "or later. See https://go.dev/doc/install, or install a wheel that was built elsewhere."
            )
        have = self._env(go, "GOVERSION").removeprefix("go")
        # From 1.21 on Go fetches the version that a module needs, unless it is told not to.
        fetches = _number(have) >= (1, 21) and self._env(go, "GOTOOLCHAIN") != "local"
        if _number(have) < _number(wanted) and not fetches:
            self.app.abort(f"Go {have} is too old: the provender program is built with Go {wanted} or later.")
        return str(go)

    def _env(self, go: str, name: str) -> str:
        """Returns a setting of Go, as it is outside of any module."""
        done = subprocess.run([go, "env", name], cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.app.abort(f"go env {name} has failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _build(self, go: str, source: Path, program: Path) -> None:
        self.app.display_info(f"Building {program.name} with Go; the first time takes some minutes")
        program.parent.mkdir(parents=True, exist_ok=True)
        flags = f"-s -w -X {MODULE}/internal/version.version=v{self.metadata.version}"
        done = subprocess.run(
            [go, "build", "-trimpath", f"-ldflags={flags}", "-o", str(program), "./cmd/provender"],
            cwd=source,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self.app.abort(f"go build has failed:\n{done.stderr.strip()}")
        program.chmod(0o755)


def _number(version: str) -> tuple[int, ...]:
    """Returns the numbers that a version of Go begins with: (1, 26, 8) of "1.26.8"."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
