"""Spines of every kind: what is sent of them, and their own columns beside the features."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from . import _files, _frames
from ._errors import InvalidError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_KINDS = "a frame of pandas or Polars, a table, reader or dataset of pyarrow, a relation of DuckDB, or a file's path"


def of(spine: Any, keys: dict[str, str]) -> Spine:
    """Returns a spine of any kind. Files of text are read by the types of the keys."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(spine, pandas.DataFrame):
        return _Pandas(spine)
    if polars is not None and isinstance(spine, (polars.DataFrame, polars.LazyFrame)):
        return _Polars(spine.collect() if isinstance(spine, polars.LazyFrame) else spine)
    if isinstance(spine, pa.Table):
        return _Arrow(spine)
    if isinstance(spine, pa.RecordBatch):
        return _Arrow(pa.table(spine))
    if isinstance(spine, (str, os.PathLike)):
        return _Arrow(_files.read(os.fspath(spine), keys))
    if _files.is_dataset(spine):
        return _Arrow(spine.to_table())
    if hasattr(spine, "__arrow_c_stream__"):
        return _Arrow(pa.RecordBatchReader.from_stream(spine).read_all())
    raise InvalidError(f"a spine can't be a {type(spine).__name__}", field="spine", fix=f"give {_KINDS}")


class Spine(ABC):
    """The caller's rows. They are shown again, never changed."""

    kind: str  # "pandas", "polars" or "arrow"

    def __init__(self, columns: Sequence[str], rows: int) -> None:
        """Takes the names of the columns, and how many rows there are."""
        self.names = columns
        self.rows = rows

    def needed(self, time: str, keys: dict[str, str]) -> pa.Table:
        """Returns the columns that are sent: time and keys, each once, without dictionaries."""
        columns = {time: self._plain(time, "time")}
        if pa.types.is_null(columns[time].type):
            columns[time] = columns[time].cast(pa.timestamp("us", "UTC"))
        for name, kind in keys.items():
            column = self._plain(name, "key")
            if pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
                raise InvalidError(
                    f"the spine's key column {name!r} is {_ARROW_NAMES.get(column.type, column.type)}, "
                    f"and the service needs {kind}",
                    field="spine",
                    fix=self._fix(name, kind, column.type),
                )
            columns[name] = column.cast(_KEY_TYPES[kind]) if pa.types.is_null(column.type) else column
        return pa.table(columns)

    def refuse(self, outputs: Iterable[str]) -> None:
        """Refuses features that are named like one of the spine's columns."""
        taken = set(self.names)
        for output in outputs:
            if output in taken:
                raise InvalidError(
                    f"output {output} is named like a column of the spine",
                    field="spine",
                    fix="rename the spine's column, or give the feature another name with `as` or `prefix` in "
                    "the service",
                )

    def _plain(self, name: str, what: str) -> pa.ChunkedArray:
        count = self.names.count(name)
        if count == 0:
            raise self._missing(name, what)
        if count > 1:
            raise InvalidError(f"the spine has {count} columns named {name!r}", field="spine", fix="rename all but one")
        try:
            column = self._column(name)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as e:
            raise InvalidError(
                f"the spine's {what} column {name!r} has no single type: {str(e).splitlines()[0]}",
                field="spine",
                fix="make all its values of one type",
            ) from e
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if isinstance(column.type, pa.BaseExtensionType):
            raise InvalidError(
                f"the spine's {what} column {name!r} is {column.type}",
                field="spine",
                fix="make it integers or text" if what == "key" else "make it timestamps",
            )
        # Of a slice, views would be sent with all the texts that there are.
        return column.cast(pa.large_string()) if column.type == pa.string_view() else column

    def _missing(self, name: str, what: str) -> InvalidError:
        have = sorted(self.names)
        more = f" and {len(have) - 50} more" if len(have) > 50 else ""
        close = [n for n in have if n.lower() == name.lower()] or get_close_matches(name, have, 1)
        fix = f'did you mean "{close[0]}"?' if close else ""
        if not fix and what == "key":
            fix = "add that column, or `join` the key to another one in the service"
        return InvalidError(
            f"the spine has no {what} column {name!r}; it has {', '.join(have[:50]) or 'none'}{more}",
            field="spine",
            fix=fix,
        )

    def _fix(self, name: str, kind: str, have: pa.DataType) -> str:
        if kind == "string" and pa.types.is_floating(have):
            return "read the column as text from the start: made text now, 7 would be 7.0"
        return self._cast(name, kind) + (", which keeps nulls" if kind == "int64" else "")

    def _cast(self, name: str, kind: str) -> str:
        return f"cast {name} to {kind}"

    @abstractmethod
    def _column(self, name: str) -> pa.ChunkedArray:
        """Returns one of the columns."""

    @abstractmethod
    def to_arrow(self, features: pa.Table) -> pa.Table:
        """Returns the spine with features beside it."""

    @abstractmethod
    def to_polars(self, features: pa.Table) -> pl.DataFrame:
        """Returns the spine with features beside it."""

    @abstractmethod
    def to_pandas(self, shared: pd.DataFrame, dtype_backend: Literal["pyarrow"] | None) -> pd.DataFrame:
        """Returns the spine with features beside it; ``shared`` are those that ``share`` made of them."""

    def share(self, features: pa.Table, dtype_backend: Literal["pyarrow"] | None) -> pd.DataFrame:
        """Returns features for pandas, on their own memory, to be kept for as long as there are frames made of them."""
        import pandas as pd

        return _frames.share(features, self._index(pd), dtype_backend=dtype_backend)

    def _index(self, pandas: Any) -> Any:
        return pandas.RangeIndex(self.rows)


_KEY_TYPES = {"int64": pa.int64(), "string": pa.string()}
_ARROW_NAMES = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}  # else as Arrow says


class _Arrow(Spine):
    kind = "arrow"

    def __init__(self, table: pa.Table) -> None:
        super().__init__(table.column_names, table.num_rows)
        self._table = table

    def _column(self, name: str) -> pa.ChunkedArray:
        return self._table[name]

    def to_arrow(self, features: pa.Table) -> pa.Table:
        return _beside(self._table, features)

    def to_polars(self, features: pa.Table) -> pl.DataFrame:
        return _frames.to_polars(self._table).hstack(_frames.to_polars(features))

    def to_pandas(self, shared: pd.DataFrame, dtype_backend: Literal["pyarrow"] | None) -> pd.DataFrame:
        return _concat(_frames.to_pandas(self._table, dtype_backend=dtype_backend), shared)


class _Polars(Spine):
    kind = "polars"

    def __init__(self, frame: pl.DataFrame) -> None:
        super().__init__(frame.columns, frame.height)
        self._frame = frame

    def _column(self, name: str) -> pa.ChunkedArray:
        return _chunked(self._frame.get_column(name).to_arrow())

    def _cast(self, name: str, kind: str) -> str:
        return f'spine.with_columns(pl.col("{name}").cast(pl.{"Int64" if kind == "int64" else "String"}))'

    def to_arrow(self, features: pa.Table) -> pa.Table:
        return _beside(self._frame.to_arrow(), features)

    def to_polars(self, features: pa.Table) -> pl.DataFrame:
        return self._frame.hstack(_frames.to_polars(features))

    def to_pandas(self, shared: pd.DataFrame, dtype_backend: Literal["pyarrow"] | None) -> pd.DataFrame:
        return _concat(_frames.to_pandas(self._frame.to_arrow(), dtype_backend=dtype_backend), shared)


class _Pandas(Spine):
    kind = "pandas"

    def __init__(self, frame: pd.DataFrame) -> None:
        if frame.columns.nlevels > 1:
            raise InvalidError(
                "the spine's columns have names of several levels",
                field="spine",
                fix='spine.columns = spine.columns.map("_".join)',
            )
        # Of an index, levels with a name are columns too: that of the time or of a key may be one.
        self._levels = [name for name in frame.index.names if isinstance(name, str)]
        super().__init__([name for name in frame.columns if isinstance(name, str)] + self._levels, len(frame))
        self._frame = frame

    def _column(self, name: str) -> pa.ChunkedArray:
        values = self._frame.index.get_level_values(name) if name in self._levels else self._frame[name]
        return _chunked(pa.array(values, from_pandas=True))

    def _cast(self, name: str, kind: str) -> str:
        return f'spine["{name}"] = spine["{name}"].astype("{"Int64" if kind == "int64" else "str"}")'

    def _index(self, pandas: Any) -> Any:  # noqa: ARG002
        return self._frame.index

    def to_arrow(self, features: pa.Table) -> pa.Table:
        return _beside(pa.Table.from_pandas(self._frame), features)

    def to_polars(self, features: pa.Table) -> pl.DataFrame:
        own = _frames.to_polars(pa.Table.from_pandas(self._frame, preserve_index=False))
        return own.hstack(_frames.to_polars(features))

    def to_pandas(self, shared: pd.DataFrame, dtype_backend: Literal["pyarrow"] | None) -> pd.DataFrame:  # noqa: ARG002
        return _concat(self._frame, shared)


def _chunked(column: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _beside(spine: pa.Table, features: pa.Table) -> pa.Table:
    for field, column in zip(features.schema, features.columns, strict=True):
        spine = spine.append_column(field, column)
    return spine


def _concat(spine: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    # By position: an index may have duplicates.
    features = features.set_axis(spine.index)
    frame = pd.concat([spine, features], axis=1)
    frame.attrs = spine.attrs
    return frame
