"""Training sets: features joined onto a spine, each as it was known at the row's time."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from google.protobuf import json_format
from pyarrow import parquet

from . import _flight, _progress, _spines, _tables
from ._channel import Channel
from ._errors import InternalError, InvalidError
from ._gather import Gather
from ._needs import Needs, needs
from ._progress import Progress, Step
from ._records import Record, Records
from ._spines import Spine
from .v1 import offline_pb2

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class TrainingSetWarning(UserWarning):
    """What a training set has of odd: mostly missing features, and what that looks like."""


@dataclass(frozen=True, repr=False)
class Coverage(Record):
    """The cells of one feature by status.

    Attributes:
        name: The feature's column.
        present: Values of the newest row at the time.
        null: The same, and the value is null.
        expired: The newest row is older than the ttl: the feature's default, else null.
        not_found: No row so far, a much older one, or a null key: the feature's default, else null.
    """

    name: str
    present: int
    null: int
    expired: int
    not_found: int


class Coverages(Records[Coverage]):
    """The cells of a training set's features by status."""

    kind = Coverage
    shown = ("name", "present", "null", "expired", "not_found")


@dataclass(frozen=True, repr=False)
class Read(Record):
    """What rows of the spine found in one view, under one binding of its keys.

    Attributes:
        name: The view, and the binding where there are several: "airport_hourly as origin".
        present: Rows that found one.
        expired: Rows that found one older than the ttl.
        not_found: Rows that found none, or a much older one.
        ties: Source rows that another equals in entity, event time and created time.
        newest_age: The least age of a row that was found; None where none was.
        oldest_age: The greatest.
    """

    name: str
    present: int
    expired: int
    not_found: int
    ties: int
    newest_age: timedelta | None
    oldest_age: timedelta | None


class Reads(Records[Read]):
    """What a spine's rows found, by reads of views."""

    kind = Read
    shown = ("name", "present", "expired", "not_found", "newest_age", "oldest_age", "ties")


@dataclass(frozen=True, repr=False)
class Finding(Record):
    """What is odd about a training set.

    Attributes:
        code: What it looks like: "time-zone". It stays the same between versions.
        read: The read of a view that it is about.
        text: For people.
        fix: What to do about it.
    """

    code: str
    read: str
    text: str
    fix: str

    def __str__(self) -> str:
        """Returns the text and the fix."""
        return f"{self.read}: {self.text} ({self.fix})" if self.fix else f"{self.read}: {self.text}"


class TrainingSet:
    """A spine with features beside it: its own columns first, unchanged, in its order and with its index.

    Example:
        >>> ts = store.training_set(flights, service="delay_model_v1", time="departs")
        >>> ts.data[ts.features].describe()

    Attributes:
        service: The feature service; None for a list of features.
        columns: The names of the spine's columns.
        features: The names of the features' columns, in the service's order.
        keys: The spine's columns that entities are named by, and their types: "int64" or "string".
        time: The spine's time column.
        revision: The revision of the definitions.
        coverage: Per feature, its cells by status.
        reads: Per read of a view, what the spine's rows found.
        warnings: What is odd. They were issued as ``TrainingSetWarning`` too.
        manifest: Where the set comes from: the definitions, every file that was read, the options.
    """

    def __init__(self, spine: Spine, features: pa.Table, done: offline_pb2.ExportDone, asked: Needs, time: str) -> None:
        """Puts together what ``Store.training_set`` has got."""
        self._spine = spine
        self._features = features
        self._shared: dict[str | None, pd.DataFrame] = {}
        self.manifest: dict[str, Any] = json.loads(done.manifest) if done.manifest else {}
        self.service: str | None = self.manifest.get("service")
        self.columns: list[str] = list(spine.names)
        self.features: list[str] = features.column_names
        self.keys: dict[str, str] = dict(asked.keys)
        self.time = time
        self.revision: int = done.revision
        self.coverage = Coverages(Coverage(c.name, c.present, c.null, c.expired, c.not_found) for c in done.columns)
        self.reads = Reads(map(_read, done.reads))
        self.warnings = tuple(Finding(w.code, w.read, w.text, w.fix) for w in done.warnings)

    def __len__(self) -> int:
        """Returns the number of rows, which is the spine's."""
        return self._spine.rows

    @property
    def data(self) -> Any:
        """The set as the spine was given: a DataFrame of pandas or Polars, else a table of pyarrow."""
        if self._spine.kind == "pandas":
            return self.to_pandas()
        return self.to_polars() if self._spine.kind == "polars" else self.to_arrow()

    def to_pandas(self, *, dtype_backend: Literal["pyarrow"] | None = None) -> pd.DataFrame:
        """Returns the set for pandas, with the index of a spine of pandas.

        A spine's own columns of pandas stay as they are. Integers and booleans of features are nullable: ``Int64`` also
        where nothing is null. In floats a null is NaN.

        Args:
            dtype_backend: "pyarrow" for features of Arrow's types, which tell a null from NaN.
        """
        # Kept, so that pandas copies what is written to instead of writing here.
        if dtype_backend not in self._shared:
            self._shared[dtype_backend] = self._spine.share(self._features, dtype_backend)
        return self._spine.to_pandas(self._shared[dtype_backend], dtype_backend)

    def to_polars(self) -> pl.DataFrame:
        """Returns the set for Polars."""
        return self._spine.to_polars(self._features)

    def to_arrow(self) -> pa.Table:
        """Returns the set as a table of pyarrow. A spine of pandas brings its index along, as pandas' metadata."""
        return self._spine.to_arrow(self._features)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the set as Parquet, and its manifest beside it, as ``PATH.manifest.json``.

        A file under its final name is complete: both are written under temporary names first. The manifest then has the
        digest of the file.
        """
        target = Path(path)
        sidecar = target.with_name(target.name + ".manifest.json")
        # The set gets its name first, as it does in an export.
        with _written(sidecar) as manifest, _written(target) as data:
            parquet.write_table(self.to_arrow(), data, compression="zstd")
            with data.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            output = {"path": os.fspath(path), "rows": len(self), "bytes": data.stat().st_size, "sha256": digest}
            told = self.manifest | {"output": output | {"format": "parquet", "compression": "zstd"}}
            manifest.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        """Returns the counts, and tables of features and reads."""
        parts = [self._title(), _tables.text_table(*self._features_table()), _tables.text_table(*self._reads_table())]
        parts += [f"Warning: {w}" for w in self.warnings]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [
            _tables.html_table(*self._features_table(), caption=self._title()),
            _tables.html_table(*self._reads_table()),
            *(f"<p>{escape(f'Warning: {w}')}</p>" for w in self.warnings),
        ]
        return "\n".join(parts)

    def _title(self) -> str:
        of = f" of {self.service}" if self.service else ""
        return f"Training set{of}, revision {self.revision}: {len(self):,} rows, {len(self.features)} features"

    def _features_table(self) -> tuple[list[str], list[list[Any]]]:
        rows = [
            [c.name, *(_share(n, len(self)) for n in (c.present, c.null, c.expired, c.not_found))]
            for c in self.coverage
        ]
        return ["feature", "present", "null", "expired", "not found"], rows

    def _reads_table(self) -> tuple[list[str], list[list[Any]]]:
        rows = [[r.name, r.newest_age, r.oldest_age, r.ties] for r in self.reads]
        return ["read", "newest age", "oldest age", "ties"], rows


def _read(read: offline_pb2.ExportedRead) -> Read:
    newest = timedelta(microseconds=read.newest_age) if read.HasField("newest_age") else None
    oldest = timedelta(microseconds=read.oldest_age) if read.HasField("oldest_age") else None
    return Read(read.name, read.present, read.expired, read.not_found, read.ties, newest, oldest)


def _share(part: int, of: int) -> str:
    """Returns a share as the command line prints it: nothing is not little, and all is not most."""
    if part == 0:
        return "-"
    return "100%" if part == of else f"{min(max(100 * part / of, 0.1), 99.9):.1f}%"


def training_set(
    channel: Channel,
    spine: Any,
    *,
    service: str | None,
    features: Sequence[str] | None,
    time: str,
    time_unit: str | None,
    timezone: str | None,
    time_at: str | None,
    progress: Progress,
    timeout: float | None,
) -> TrainingSet:
    """Does what ``Store.training_set`` promises."""
    if (service is None) == (features is None):
        raise InvalidError("name either a service or features", field="service", fix='service="delay_model_v1"')
    if isinstance(features, str):
        raise InvalidError(f"features is text: {features!r}", field="features", fix=f"write features=[{features!r}]")
    if not isinstance(time, str):
        raise InvalidError(f"time is {time!r}, not text", field="time", fix="name the spine's time column")
    named = list(features or ())
    asked = needs(channel, service, named)
    rows = _spines.of(spine, asked.keys)
    rows.refuse(asked.outputs)
    sent = rows.needed(time, asked.keys)
    command = offline_pb2.ExportCommand(
        service=service or "",
        features=named,
        time=time,
        time_unit=time_unit or "",
        timezone=timezone or "",
        time_at=time_at or "",
    )
    with _progress.watching(progress) as show:
        command.progress = show is not None
        table, done = _exchange(channel, command, sent, show, timeout)
    rows.refuse(table.column_names)  # where definitions have changed in between
    made = TrainingSet(rows, table, done, asked, time)
    for found in made.warnings:
        warnings.warn(str(found), TrainingSetWarning, stacklevel=3)
    return made


def _exchange(
    channel: Channel,
    command: offline_pb2.ExportCommand,
    spine: pa.Table,
    show: Callable[[Step], None] | None,
    timeout: float | None,
) -> tuple[pa.Table, offline_pb2.ExportDone]:
    """Sends a spine, and returns the features and what the server tells of them."""
    raw = json_format.MessageToJson(command, preserving_proto_field_name=True, indent=None).encode()
    answers = channel.exchange(_flight.EXCHANGE, lambda: _flight.requests(raw, spine), timeout=timeout)
    answer = _Answer(spine, show)
    # Whatever happens here ends the server's work at once, not when a collector comes by.
    with closing(answers):
        for message in answers:
            answer.add(_flight.Data.parse(message))
    return answer.finish()


class _Answer:
    """What has come of an answer."""

    def __init__(self, spine: pa.Table, show: Callable[[Step], None] | None) -> None:
        self._spine = spine
        self._show = show
        self._part = 0.0
        self._schema: pa.Schema | None = None
        self._gather: Gather | None = None
        self._done: offline_pb2.ExportDone | None = None
        self._tell("spine", 0, spine.num_rows, 0)

    def add(self, data: _flight.Data) -> None:
        """Takes the next message."""
        if data.metadata:
            self._metadata(bytes(data.metadata))
        if not data.header:
            return
        message = data.message()
        if self._schema is None or self._gather is None:
            self._schema = _flight.read_schema(message)
            self._gather = Gather(_features(self._schema, self._spine.schema), self._spine.num_rows)
            return
        self._gather.add(_flight.read_batch(message, self._schema))
        rows, size = self._gather.rows, self._spine.num_rows
        self._tell("rows", rows, size, self._part + (1 - self._part) * rows / size if rows < size else 1)

    def finish(self) -> tuple[pa.Table, offline_pb2.ExportDone]:
        """Returns the features and what the server tells of them."""
        if self._gather is None or self._done is None:
            raise InternalError("the server's answer has no end")
        return self._gather.finish(), self._done

    def _metadata(self, raw: bytes) -> None:
        told = json_format.Parse(raw, offline_pb2.ExportMessage(), ignore_unknown_fields=True)
        if told.HasField("done"):
            self._done = told.done
        elif told.HasField("progress"):
            self._part = max(self._part, min(told.progress.part, 1.0))
            self._tell(told.progress.stage, told.progress.done, told.progress.size, self._part)

    def _tell(self, stage: str, done: int, size: int, part: float) -> None:
        if self._show is not None:
            self._show(Step(stage, done, size, part))


def _features(answer: pa.Schema, spine: pa.Schema) -> pa.Schema:
    """Returns the answer's columns that are not the spine's, which come first."""
    width = len(spine)
    if answer.names[:width] != spine.names:
        raise InternalError("the server's answer does not begin with the columns of the spine")
    return pa.schema([field.remove_metadata() for field in list(answer)[width:]])


class _written:  # noqa: N801
    """Gives a temporary name beside a path, and moves what is there onto the path when all went well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")

    def __enter__(self) -> Path:
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink(missing_ok=True)
