"""How far a long call is: a bar in a terminal and in a notebook, nothing in a pipe."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """How far a call is.

    Attributes:
        stage: What is done now: "airport_hourly as origin".
        done: Rows of it that are done.
        size: Of how many, a guess until all files are open; 0 where that is not known.
        part: How much of the whole call is done, from 0 to 1.
    """

    stage: str
    done: int = 0
    size: int = 0
    part: float = 0.0


Progress = bool | Callable[[Step], None] | None
"""What callers say of progress: True for a bar, False for none, None for one where somebody watches, or who is told."""

_WIDTH = 24


@contextmanager
def watching(progress: Progress) -> Iterator[Callable[[Step], None] | None]:
    """Gives what is to be told of progress; None where nobody watches. A bar goes at the end of the block."""
    if callable(progress):
        yield progress
        return
    if progress is False or (progress is None and not _watched()):
        yield None
        return
    bar = _tqdm() or _Text()
    try:
        yield bar.show
    finally:
        bar.close()


def _watched() -> bool:
    return _in_notebook() or bool(sys.stderr and sys.stderr.isatty())


def _in_notebook() -> bool:
    """Reports whether a notebook shows what is printed: IPython knows, where it runs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class _Text:
    """A bar of characters, in one line that is written over."""

    def __init__(self) -> None:
        self._length = 0

    def show(self, step: Step) -> None:
        full = round(step.part * _WIDTH)
        self._write(f"[{'#' * full}{'.' * (_WIDTH - full)}] {step.part:4.0%} {step.stage}")

    def close(self) -> None:
        self._write("")
        sys.stderr.write("\r")
        sys.stderr.flush()

    def _write(self, line: str) -> None:
        sys.stderr.write("\r" + line.ljust(self._length))
        sys.stderr.flush()
        self._length = len(line)


class _Tqdm:
    """A bar of tqdm's, which has one for notebooks too."""

    def __init__(self, make: Any) -> None:
        self._bar = make(
            total=1.0,
            leave=False,
            file=sys.stderr,
            bar_format="{percentage:3.0f}%|{bar}| {elapsed} {desc}",
            dynamic_ncols=True,
        )

    def show(self, step: Step) -> None:
        self._bar.n = step.part
        self._bar.set_description_str(step.stage, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


def _tqdm() -> _Tqdm | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of notebooks without widgets, where it shows text
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return _Tqdm(tqdm)
