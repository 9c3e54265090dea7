"""What is installed: a wheel of one platform with the program in it, or a clear word why not."""

from __future__ import annotations

import os
import re
import shutil
import site
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import PATIENCE, REPOSITORY, Project, clean_environment

import provender

PACKAGE = REPOSITORY / "sdk" / "python"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def pip(*args: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs pip with what it builds with from this environment: no network is needed."""
    return subprocess.run(
        [*PIP, *map(str, args)], capture_output=True, text=True, env=environment or clean_environment(), check=False
    )


def interpreter_of(program: bytes) -> bool:
    """Reports whether an ELF program needs a loader: a static one has no header of that kind."""
    assert program[:5] == b"\x7fELF\x02"
    at, size, count = struct.unpack_from("<Q", program, 32)[0], *struct.unpack_from("<HH", program, 54)
    return any(struct.unpack_from("<I", program, at + i * size)[0] == 3 for i in range(count))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into a program for Linux")
def test_wheel(project: Project, tmp_path: Path) -> None:
    done = pip("wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "dist", PACKAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (tmp_path / "dist").iterdir()
    assert re.fullmatch(
        rf"provender-{provender.__version__}-py3-none-manylinux_2_17_(\w+)\.manylinux2014_\1\.musllinux_1_1_\1\.whl",
        built.name,
    )
    with zipfile.ZipFile(built) as z:
        names = z.namelist()
        assert {"provender/py.typed", "provender/LICENSE", "_provender_command.py"} <= set(names)
        assert not interpreter_of(z.read("provender/bin/provender"))
        assert [n for n in names if "test" in n] == []

    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    done = pip("--python", python, "install", "--no-deps", built)
    assert done.returncode == 0, done.stdout + done.stderr
    # What the package needs is that of this environment.
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text("\n".join(p for p in site.getsitepackages() if Path(p).is_dir()))

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd=project.folder,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = home / "bin" / "provender"
    assert run(command, "version").startswith(f"provender v{provender.__version__} (")
    run(command, "apply", "--yes")
    text = "import provender; s = provender.connect(); print(provender.__file__, len(s.history())); s.close()"
    file, revisions = run(python, "-c", text).split()
    assert Path(file).is_relative_to(packages)
    assert revisions == "1"
    # The program's own exit codes, and signals, are the command's.
    refused = subprocess.run(
        [command, "nonsense"], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (1, 'Error: provender has no command "nonsense"')


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The package's folder in a clone, beside what its build looks at, and a Go that builds in no time."""
    folder = tmp_path / "clone" / "sdk" / "python"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("bin", "tests", ".*", "__pycache__"))
    for name in ("go.mod", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path / "clone")
    fake_go(tmp_path, 'printf program > "$out"')
    return folder


def fake_go(folder: Path, build: str, version: str = "go1.26.8") -> None:
    script = folder / "go" / "go"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        f"""#!/bin/sh
if [ "$1" = env ]; then
  case "$2" in
    GOVERSION) echo {version} ;;
    GOOS) echo "${{GOOS:-linux}}" ;;
    GOARCH) echo "${{GOARCH:-amd64}}" ;;
  esac
  exit
fi
while [ "$1" != -o ]; do shift; done
out=$2
{build}
"""
    )
    script.chmod(0o755)


def with_go(folder: Path, **more: str) -> dict[str, str]:
    return clean_environment() | {"PATH": f"{folder}/go:/usr/bin:/bin"} | more


def build(clone: Path, what: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Builds a "wheel" or an "sdist" of the package in ``dist``, as pip does in the end."""
    text = f"import hatchling.build; hatchling.build.build_{what}('dist')"
    return subprocess.run(
        [sys.executable, "-c", text], cwd=clone, capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize(
    ("goos", "goarch", "tag"),
    [
        ("linux", "arm64", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
        ("darwin", "arm64", "macosx_12_0_arm64"),
        ("darwin", "amd64", "macosx_12_0_x86_64"),
    ],
)
def test_wheels_are_of_the_platform_that_go_builds_for(
    clone: Path, tmp_path: Path, goos: str, goarch: str, tag: str
) -> None:
    done = build(clone, "wheel", with_go(tmp_path, GOOS=goos, GOARCH=goarch))
    assert done.returncode == 0, done.stderr
    assert [w.name for w in (clone / "dist").iterdir()] == [f"provender-{provender.__version__}-py3-none-{tag}.whl"]


def test_what_keeps_a_wheel_from_being_built(clone: Path, tmp_path: Path) -> None:
    def refused(environment: dict[str, str], what: str = "wheel") -> str:
        done = build(clone, what, environment)
        assert done.returncode != 0
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "There is no source distribution of the Python package" in refused(with_go(tmp_path), "sdist")
    assert "Provender has no wheel for windows/amd64" in refused(with_go(tmp_path, GOOS="windows"))
    fake_go(tmp_path, "exit 0", "go1.20.14")
    assert "Go 1.20.14 is too old: the provender program is built with Go 1.26.0 or later" in refused(with_go(tmp_path))
    fake_go(tmp_path, "echo 'no space left' >&2; exit 1")
    assert "go build has failed:\nno space left" in refused(with_go(tmp_path))
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    assert "Go is missing" in refused(clean_environment() | {"PATH": str(nowhere)})
    (tmp_path / "clone" / "go.mod").unlink()
    assert "build the Python package from a clone" in refused(with_go(tmp_path))
    assert not list(clone.glob("dist/*"))


def test_editable(clone: Path, tmp_path: Path) -> None:
    """The program lies in the sources, where the package finds it; a wheel does not take it from there."""
    target = tmp_path / "site"
    done = pip(
        "install", "--no-deps", "--no-build-isolation", "--target", target, "-e", clone, environment=with_go(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    program = clone / "src" / "provender" / "bin" / "provender"
    assert os.access(program, os.X_OK)
    (path,) = target.glob("*.pth")
    assert path.read_text().strip() == str(clone / "src")
    text = "import _provender_command; print(_provender_command.find())"
    environment = clean_environment() | {"PYTHONPATH": path.read_text().strip()}
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == str(program)
    program.write_text("old")
    assert build(clone, "wheel", with_go(tmp_path)).returncode == 0
    (built,) = (clone / "dist").iterdir()
    with zipfile.ZipFile(built) as z:
        assert z.read("provender/bin/provender") == b"program"
