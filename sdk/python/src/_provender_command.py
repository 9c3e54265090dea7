"""The command ``provender``: a module of its own, so that it begins without what the package imports."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PACKAGED = Path(__file__).with_name("provender") / "bin" / "provender"


def find() -> Path | None:
    """Returns the program: what PROVENDER_BINARY names, else the package's, else one on PATH; None for none."""
    if named := os.environ.get("PROVENDER_BINARY"):
        return Path(named).absolute() if os.access(named, os.X_OK) else None
    if PACKAGED.is_file():
        return PACKAGED
    for folder in os.get_exec_path():
        found = shutil.which("provender", path=folder)
        if found is not None and not _is_this(Path(found)):
            return Path(found).absolute()
    return None


def _is_this(file: Path) -> bool:
    """Reports whether a file is the script that calls ``main``, of this or of another installation."""
    try:
        with file.open("rb") as f:
            return __name__.encode() in f.read(1000)
    except OSError:
        return False


def main() -> None:
    """Becomes the program, with the arguments of this process."""
    program = find()
    if program is None:
        sys.exit(f"Error: {MISSING}\n  {FIX}")
    os.execv(program, ["provender", *sys.argv[1:]])


MISSING = "no provender program is in this installation of the Python package, on PATH, or where PROVENDER_BINARY says"
FIX = "install the package's wheel, or build the program: go build ./cmd/provender"
