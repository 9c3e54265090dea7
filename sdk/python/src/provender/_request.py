"""Requests for features: what callers name entities by, and the bytes that travel."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from google.protobuf.timestamp_pb2 import Timestamp

from ._columns import Decoder
from ._errors import InvalidError
from ._instant import Instant, micros
from .v1 import online_pb2

# What names entities: per key a column, in a mapping or a frame of pandas, Polars or Arrow; or one mapping per entity.
Entities: TypeAlias = Any

ONLINE = "/provender.v1.OnlineService/GetFeatures"
HISTORICAL = "/provender.v1.OfflineService/GetHistoricalFeatures"


@dataclass(frozen=True)
class Shape:
    """What requests for the same features have in common.

    Attributes:
        names: The service or the features, as they travel.
        decoder: Of the answers.
    """

    names: bytes
    decoder: Decoder = field(default_factory=Decoder)


def shape(service: str | None, features: Sequence[str] | None) -> Shape:
    """Returns the shape of a request for a service, or for features. The server knows what is wrong with names."""
    if features is None:
        return _shape(_text(service or "", "service"), ())
    if isinstance(features, str):
        raise InvalidError(f"features is text: {features!r}", field="features", fix=f"write features=[{features!r}]")
    return _shape(
        _text(service or "", "service"), tuple(_text(name, f"features[{i}]") for i, name in enumerate(features))
    )


@functools.lru_cache(maxsize=256)
def _shape(service: str, features: tuple[str, ...]) -> Shape:
    return Shape(online_pb2.GetFeaturesRequest(service=service, features=features).SerializeToString())


def _text(value: str, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidError(f"{name} is {type(value).__name__}, not text", field=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidError(f"{name} {value!r} can't be written as UTF-8", field=name) from None
    return value


@dataclass(slots=True)
class Keys:
    """The entities of a request.

    Attributes:
        wire: Their columns, each as field 3 of a request.
        columns: The columns as they were given.
        index: The index of the pandas frame that they are from, else None.
    """

    wire: bytes
    columns: dict[str, Any]
    index: Any = None

    def table(self) -> pa.Table:
        """Returns the columns as an Arrow table."""
        return pa.table({name: _array(name, column) for name, column in self.columns.items()})


def keys(entities: Entities) -> Keys:
    """Returns the entities that a request is about, packed."""
    columns, index = _columns(entities)
    return Keys(b"".join(_wire(name, column) for name, column in columns.items()), columns, index)


def _columns(entities: Entities) -> tuple[dict[str, Any], Any]:
    """Returns entities as columns, and the index of a pandas frame."""
    if entities is None:
        return {}, None
    if isinstance(entities, Mapping):
        return {_name(name): column for name, column in entities.items()}, None
    if isinstance(entities, pa.RecordBatch | pa.Table):
        return _once((_name(name), entities.column(i)) for i, name in enumerate(entities.schema.names)), None
    if _is_from(entities, "pandas") and hasattr(entities, "columns"):
        return _once((_name(name), column) for name, column in entities.items()), entities.index
    if _is_from(entities, "polars") and hasattr(entities, "columns"):
        return _columns(entities.to_arrow())
    if hasattr(entities, "__arrow_c_stream__") and hasattr(entities, "columns"):
        return _columns(pa.table(entities))
    if isinstance(entities, Sequence) and not isinstance(entities, str | bytes):
        return _transposed(entities), None
    raise InvalidError(
        f"entities is {type(entities).__name__}",
        field="entities",
        fix='write entities={"airport": ["JFK", "SFO"]}, or give a frame with one column per key',
    )


def _once(columns: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, column in columns:
        if name in out:
            raise InvalidError(f"key {name} is given twice", field=f"keys.{name}")
        out[name] = column
    return out


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidError(
            f"the name of a key is {name!r}, not text", field="entities", fix="name the columns after keys"
        )
    return _text(name, "the name of a key")


def _transposed(rows: Sequence[Any]) -> dict[str, Any]:
    """Returns rows, one mapping per entity, as columns."""
    names: list[str] = []
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidError(
                f"entities[{i}] is {type(row).__name__}, not a mapping",
                field=f"entities[{i}]",
                fix='write entities={"airport": ["JFK", "SFO"]} or [{"airport": "JFK"}, {"airport": "SFO"}]',
            )
        if i == 0:
            names = [_name(name) for name in row]
        elif len(row) != len(names) or any(name not in row for name in names):
            different = sorted(map(str, set(row) ^ set(names)))
            raise InvalidError(
                f"entities[{i}] has not the keys of entities[0]: {', '.join(different)}", field=f"entities[{i}]"
            )
    return {name: [row[name] for row in rows] for name in names}


def _wire(name: str, column: Any) -> bytes:
    """Returns a key's column as field 3 of a request."""
    if isinstance(column, list | tuple):
        kinds = set(map(type, column))
        if kinds == {int}:
            return _message(name, ints=column)
        if kinds == {str}:
            return _message(name, strings=column)
    elif isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind == "i":
        return _message(name, packed=column)
    array = _array(name, column)
    nulls = None if array.null_count == 0 else array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(array.type):
        return _message(name, packed=array.fill_null(0).to_numpy(zero_copy_only=False), nulls=nulls)
    if pa.types.is_null(array.type):  # which the server takes for any type
        return _message(name, strings=[""] * len(array), nulls=nulls)
    return _message(name, strings=array.fill_null("").to_pylist(), nulls=nulls)


def _message(
    name: str,
    *,
    ints: Iterable[int] = (),
    strings: Iterable[str] = (),
    packed: np.ndarray[Any, Any] | None = None,
    nulls: np.ndarray[Any, Any] | None = None,
) -> bytes:
    """Returns a KeyColumn as field 3 of a request. What is an array is laid out as the wire has it."""
    try:
        wire = online_pb2.KeyColumn(name=name, int64s=ints, strings=strings).SerializeToString()
    except UnicodeEncodeError as e:
        raise InvalidError(f"key {name} has a value that is not UTF-8: {e.object!r}", field=f"keys.{name}") from None
    except ValueError:
        raise _out_of_range(name) from None
    if packed is not None:
        wire += _field(0x12, np.ascontiguousarray(packed, "<i8").tobytes())
    if nulls is not None:
        wire += _field(0x22, nulls.astype(np.uint8).tobytes())
    return _field(0x1A, wire)


def online(shape: Shape, keys: Keys, *, event_times: bool, read_time: Instant | None) -> bytes:
    """Returns a GetFeaturesRequest."""
    request = shape.names + keys.wire
    if event_times:
        request += b"\x20\x01"
    if read_time is not None:
        request += b"\x29" + micros(read_time, "read_time").to_bytes(8, "little", signed=True)
    return request


def historical(shape: Shape, keys: Keys, *, at: Instant | None) -> bytes:
    """Returns a GetHistoricalFeaturesRequest, whose fields up to the keys are those of a GetFeaturesRequest."""
    request = shape.names + keys.wire
    if at is not None:
        seconds, rest = divmod(micros(at, "at"), 1_000_000)
        request += _field(0x22, Timestamp(seconds=seconds, nanos=1000 * rest).SerializeToString())
    return request


def _field(tag: int, payload: bytes) -> bytes:
    n = len(payload)
    lead = bytearray((tag,))
    while n > 127:
        lead.append(n & 127 | 128)
        n >>= 7
    lead.append(n)
    return bytes(lead) + payload


def _array(name: str, column: Any) -> pa.Array:
    """Returns a key's column as an Arrow array of integers, strings, or nulls alone."""
    array = _arrow(name, column)
    if pa.types.is_dictionary(array.type):
        array = pa.DictionaryArray.from_arrays(array.indices, _without_views(array.dictionary)).dictionary_decode()
    array = _without_views(array)
    kind = array.type
    if pa.types.is_integer(kind):
        try:
            return array.cast(pa.int64())
        except pa.ArrowInvalid:
            raise _out_of_range(name) from None
    if pa.types.is_large_string(kind):
        return array.cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return array
    fix = "keys are integers or strings: convert them"
    if pa.types.is_floating(kind):
        fix = (
            f'integers with missing values are floats in pandas: frame["{name}"].astype("Int64") keeps them integers'
            if _is_from(column, "pandas")
            else "convert them to integers, with None for a missing one"
        )
    elif pa.types.is_boolean(kind):
        fix = "no key is true or false: convert them to integers or strings"
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        fix = "decode them to strings"
    raise InvalidError(f"key {name} has values of type {kind}", field=f"keys.{name}", fix=fix)


def _without_views(array: pa.Array) -> pa.Array:
    """Returns an array of string views as strings: Arrow can do little with views, older versions nothing at all."""
    return pa.array(array.to_pylist(), pa.string()) if pa.types.is_string_view(array.type) else array


def _arrow(name: str, column: Any) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, str | bytes) or not (
        isinstance(column, Sequence | np.ndarray)
        or hasattr(column, "__arrow_c_stream__")
        or hasattr(column, "__array__")
    ):
        raise InvalidError(
            f"key {name} is one value, not one per entity", field=f"keys.{name}", fix=f"write [{column!r}]"
        )
    if isinstance(column, np.ndarray) and column.ndim != 1:
        raise InvalidError(
            f"key {name} has {column.ndim} dimensions", field=f"keys.{name}", fix="give one value per entity"
        )
    if isinstance(column, np.ndarray) and not column.dtype.isnative:
        column = column.astype(column.dtype.newbyteorder("="))
    if isinstance(column, np.ndarray) and column.dtype.kind == "T":
        column = column.astype(object)  # pyarrow before 26 does not take NumPy's texts
    try:
        if _is_from(column, "polars"):
            return _arrow(name, column.to_arrow())
        if hasattr(column, "__arrow_c_stream__") and not _is_from(column, "pandas"):
            return _arrow(name, pa.chunked_array(column))
        array = pa.array(column, from_pandas=_is_from(column, "pandas") or None)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as e:
        if isinstance(e, OverflowError) or "too large" in str(e) or "out of bounds" in str(e):
            raise _out_of_range(name) from None
        raise InvalidError(
            f"key {name} has values of several types: {e}",
            field=f"keys.{name}",
            fix="a key is of integers or of strings",
        ) from None
    return _arrow(name, array)


def _is_from(value: Any, package: str) -> bool:
    """Reports whose type a value's is, without importing that package."""
    return type(value).__module__.partition(".")[0] == package


def _out_of_range(name: str) -> InvalidError:
    return InvalidError(f"key {name} has a value that no int64 holds", field=f"keys.{name}")
