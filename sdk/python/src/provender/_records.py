"""Data that calls return: frozen records, and sequences of them, which show themselves as tables."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, overload

import pyarrow as pa
from google.protobuf.message import Message

from . import _frames, _tables
from ._errors import InternalError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

R = TypeVar("R", bound="Record")


class Record:
    """A frozen dataclass that shows what it says, and leaves out what it says nothing of."""

    def __repr__(self) -> str:
        """Returns the class and the fields that are not empty."""
        said = ", ".join(f"{name}={_plain(value)}" for name, value in _said(self))
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        return _tables.html_table(["", type(self).__name__], _said(self), most=200)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name, those of records within as dicts too."""
        return {f.name: _dicts(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def _dicts(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_dicts(v) for v in value]
    return value


def _said(record: Record) -> list[tuple[str, Any]]:
    all_of = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))  # type: ignore[arg-type]
    return [(name, value) for name, value in all_of if value not in (None, "", (), {})]


def _plain(value: Any) -> str:
    if isinstance(value, datetime | timedelta):
        return _tables.cell(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return repr(value)


class Records(Sequence[R], Generic[R]):
    """Records in the order of the answer: a sequence that shows itself as a table."""

    kind: ClassVar[type[Record]]
    # The fields that tables show.
    shown: ClassVar[tuple[str, ...]]

    def __init__(self, records: Iterable[R] = ()) -> None:
        """Makes a sequence of records."""
        self._records = tuple(records)

    @overload
    def __getitem__(self, i: int) -> R: ...

    @overload
    def __getitem__(self, i: slice) -> tuple[R, ...]: ...

    def __getitem__(self, i: int | slice) -> R | tuple[R, ...]:
        """Returns a record, or a tuple of some."""
        return self._records[i]

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self._records)

    def __iter__(self) -> Iterator[R]:
        """Iterates over the records."""
        return iter(self._records)

    def __eq__(self, other: object) -> bool:
        """Reports whether the other has the same records."""
        return type(other) is type(self) and other._records == self._records

    __hash__ = None  # type: ignore[assignment]

    def _caption(self) -> str:
        return ""

    def _rows(self) -> list[list[Any]]:
        return [[getattr(r, name) for name in self.shown] for r in self._records]

    def _headers(self) -> list[str]:
        return [name.replace("_", " ") for name in self.shown]

    def __repr__(self) -> str:
        """Returns a table, one row per record."""
        caption = self._caption()
        table = _tables.text_table(self._headers(), self._rows())
        return f"{caption}\n{table}" if caption else table

    def _repr_html_(self) -> str:
        return _tables.html_table(self._headers(), self._rows(), caption=self._caption())

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the records as dicts."""
        return [r.to_dict() for r in self._records]

    def to_arrow(self) -> pa.Table:
        """Returns a table of Arrow, one row per record, one column per field."""
        return pa.Table.from_pylist(self.to_dicts(), schema=pa.schema(_arrow_fields(self.kind)))

    def to_pandas(self, *, dtype_backend: Literal["pyarrow"] | None = None) -> pd.DataFrame:
        """Returns a frame of pandas, one row per record, one column per field.

        Args:
            dtype_backend: "pyarrow" for Arrow's types throughout.
        """
        return _frames.to_pandas(self.to_arrow(), dtype_backend=dtype_backend)

    def to_polars(self) -> pl.DataFrame:
        """Returns a frame of Polars, one row per record, one column per field."""
        return _frames.to_polars(self.to_arrow())


_known: dict[type[Record], dict[str, Any]] = {}


def _hints(kind: type[Record]) -> dict[str, Any]:
    if kind not in _known:
        _known[kind] = typing.get_type_hints(kind)
    return _known[kind]


def _bare(hint: Any) -> Any:
    """Returns a hint without None."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (h for h in typing.get_args(hint) if h is not type(None))
    return hint


_ARROW: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    str: pa.string(),
    datetime: pa.timestamp("us", tz="UTC"),
    timedelta: pa.duration("us"),
}


def _arrow_fields(kind: type[Record]) -> list[pa.Field]:
    hints = _hints(kind)
    return [pa.field(f.name, _arrow_type(hints[f.name])) for f in dataclasses.fields(kind)]  # type: ignore[arg-type]


def _arrow_type(hint: Any) -> pa.DataType:
    hint = _bare(hint)
    if typing.get_origin(hint) is tuple:
        return pa.list_(_arrow_type(typing.get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, Record):
        return pa.struct(_arrow_fields(hint))
    return _ARROW[hint]


def record_of(kind: type[R], message: Message, /, **other: Any) -> R:
    """Returns the record of a message: its fields of the same names.

    Args:
        kind: The record's class.
        message: The message.
        other: Fields that the message has otherwise, or not at all.
    """
    hints = _hints(kind)
    names = (f.name for f in dataclasses.fields(kind) if f.name not in other)  # type: ignore[arg-type]
    return kind(**other, **{name: _value(message, name, _bare(hints[name])) for name in names})


def _value(message: Message, name: str, hint: Any) -> Any:
    if hint is datetime:
        return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None
    if hint is timedelta:
        return getattr(message, name).ToTimedelta() if message.HasField(name) else None
    value = getattr(message, name)
    if typing.get_origin(hint) is tuple:
        of = typing.get_args(hint)[0]
        if isinstance(of, type) and issubclass(of, Record):
            return tuple(record_of(of, m) for m in value)
        return tuple(value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return record_of(hint, value) if message.HasField(name) else None
    if hint not in (bool, int, str):
        raise InternalError(f"{type(message).__name__}.{name} is read as {hint}")
    return value
