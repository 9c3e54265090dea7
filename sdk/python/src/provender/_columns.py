"""The columns of a lookup's answer, straight from its bytes.

A ``Vector`` is laid out as Arrow lays values out, so that nothing is done per value, and little per column: a server
encodes the columns of one request in the same way each time, apart from the values. What was found out about a column's
bytes (its ``Layout``) is kept, and holds again where the bytes around the values are the same. What has been encoded in
another way, as protobuf allows, takes the generated code's way.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from ._errors import InternalError
from .v1 import offline_pb2, online_pb2

TIMESTAMP = pa.timestamp("us", tz="UTC")
NO_EVENT = -(1 << 63)
STATUSES = ("INVALID", "PRESENT", "NULL", "EXPIRED", "NOT_FOUND", "ERROR")
_STATUS_TYPE = pa.dictionary(pa.int8(), pa.string())
_KNOWN_STATUSES = bytes(range(len(STATUSES)))

_BOOL, _STRING, _BYTES, _TIMESTAMP = 1, 6, 7, 8
_KINDS = ("", "bool", "int32", "int64", "float32", "float64", "string", "bytes", "timestamp")

# Of each kind of fixed width: the tag of its field in Vector, as NumPy reads its values, and Arrow's type.
_FIXED: dict[int, tuple[int, np.dtype[Any], pa.DataType]] = {
    _BOOL: (0x2A, np.dtype("?"), pa.bool_()),
    2: (0x32, np.dtype("<i4"), pa.int32()),
    3: (0x3A, np.dtype("<i8"), pa.int64()),
    4: (0x42, np.dtype("<f4"), pa.float32()),
    5: (0x4A, np.dtype("<f8"), pa.float64()),
    _TIMESTAMP: (0x3A, np.dtype("<i8"), TIMESTAMP),
}
_VARIABLE: dict[int, pa.DataType] = {_STRING: pa.string(), _BYTES: pa.binary()}
_OFFSET = np.dtype("<u4")

# How many numbers of rows, and how many layouts of one column for each, a decoder remembers.
_MAX_ROWS, _MAX_LAYOUTS = 256, 4

Span = tuple[int, int]
_NOWHERE: Span = (0, 0)


class _UnusualError(Exception):
    """Bytes that are not as a server of ours writes them; the message says what contradicts itself."""


def _list(of: pa.DataType) -> pa.DataType:
    """Returns the type of lists, with the name that Parquet has for what is in them, as training sets have it."""
    return pa.list_(pa.field("element", of))


def malformed(what: str) -> InternalError:
    """Returns the error of an answer that contradicts itself."""
    return InternalError(f"malformed answer: {what}; is the server of another version?")


@dataclass(slots=True)
class Vector:
    """Where the parts of a Vector message are, counted from the start of its column."""

    kind: int
    is_list: bool
    length: int
    validity: Span
    values: Span
    offsets: Span
    data: Span
    elements: Vector | None

    @property
    def type(self) -> pa.DataType:
        """Arrow's type of the values."""
        if self.elements is not None:
            return _list(self.elements.type)
        return _FIXED[self.kind][2] if self.kind in _FIXED else _VARIABLE[self.kind]

    @property
    def named(self) -> str:
        """The type as definitions have it: "list<int32>"."""
        name = _KINDS[self.kind]
        return f"list<{name}>" if self.is_list else name


@dataclass(slots=True)
class Layout:
    """One column's bytes: what they hold, where, and between what."""

    name: str
    vector: Vector
    statuses: Span
    view: int
    size: int
    head: bytes
    between: tuple[tuple[int, bytes], ...]


class Column:
    """The values of one feature."""

    __slots__ = ("_body", "_start", "layout")

    def __init__(self, body: bytes, start: int, layout: Layout) -> None:
        """Makes a column of an answer's bytes."""
        self._body, self._start, self.layout = body, start, layout

    def arrow(self) -> pa.Array:
        """Returns the values as an Arrow array. Strings that are not UTF-8 come as binary."""
        return self._arrow(self.layout.vector)

    def statuses(self) -> pa.Array:
        """Returns the statuses as a dictionary array."""
        codes = self.status_codes()
        return pa.DictionaryArray.from_buffers(
            _STATUS_TYPE, len(codes), [None, pa.py_buffer(codes)], _status_names(), null_count=0
        )

    def status_codes(self) -> bytes:
        """Returns one index into STATUSES per row."""
        codes = self._cut(self.layout.statuses)
        if codes.translate(None, _KNOWN_STATUSES):  # of a server that knows more
            return bytes(code if code < len(STATUSES) else 0 for code in codes)
        return codes

    def python(self) -> list[Any]:
        """Returns the values as Python has them, None for null."""
        vector = self.layout.vector
        if vector.elements is not None or vector.kind not in _FIXED or vector.kind == _TIMESTAMP:
            return python_values(self.arrow(), self.layout.name)
        start, stop = vector.values
        raw = memoryview(self._body)[self._start + start : self._start + stop]
        code: Any = _FIXED[vector.kind][1].char
        values: list[Any] = raw.cast(code).tolist()  # faster than NumPy's
        for i in self.nulls():
            values[i] = None
        return values

    def numbers(self) -> np.ndarray[Any, Any] | None:
        """Returns numbers and bools as NumPy has them, with anything where they are null; None for other types."""
        vector = self.layout.vector
        if vector.elements is not None or vector.kind not in _FIXED or vector.kind == _TIMESTAMP:
            return None
        return self._numbers(vector)

    def nulls(self) -> list[int]:
        """Returns the rows whose value is null."""
        vector = self.layout.vector
        if vector.validity == _NOWHERE:
            return []
        validity, all_set = self._cut(vector.validity), (1 << vector.length) - 1
        if int.from_bytes(validity, "little") & all_set == all_set:
            return []
        bits = np.unpackbits(np.frombuffer(validity, np.uint8), count=vector.length, bitorder="little")
        rows: list[int] = np.flatnonzero(bits == 0).tolist()
        return rows

    def _numbers(self, vector: Vector) -> np.ndarray[Any, Any]:
        dtype = _FIXED[vector.kind][1]
        if vector.length == 0:
            return np.empty(0, dtype)
        return np.frombuffer(self._body, dtype, vector.length, self._start + vector.values[0])

    def _cut(self, span: Span) -> bytes:
        return self._body[self._start + span[0] : self._start + span[1]]

    def _arrow(self, vector: Vector) -> pa.Array:
        # Arrow asks for buffers that are aligned, which the middle of a message is not: so they are cut out.
        validity = None if vector.validity == _NOWHERE else pa.py_buffer(self._cut(vector.validity))
        if vector.elements is not None:
            child = self._arrow(vector.elements)
            offsets = pa.py_buffer(self._cut(vector.offsets))
            return pa.Array.from_buffers(_list(child.type), vector.length, [validity, offsets], children=[child])
        if vector.kind == _BOOL:
            bits = np.packbits(self._numbers(vector), bitorder="little").tobytes()
            return pa.Array.from_buffers(pa.bool_(), vector.length, [validity, pa.py_buffer(bits)])
        if vector.kind in _FIXED:
            return pa.Array.from_buffers(vector.type, vector.length, [validity, pa.py_buffer(self._cut(vector.values))])
        offsets, data = self._cut(vector.offsets), self._cut(vector.data)
        kind = vector.type if vector.kind == _BYTES or _is_text(offsets, data) else pa.binary()
        return pa.Array.from_buffers(kind, vector.length, [validity, pa.py_buffer(offsets), pa.py_buffer(data)])


@functools.cache
def _status_names() -> pa.Array:
    return pa.array(STATUSES)  # not while this is imported: it imports pandas, where that is installed


def python_values(array: pa.Array, name: str) -> list[Any]:
    """Returns an array's values as Python has them, and strings that are not UTF-8 as bytes."""
    try:
        values: list[Any] = array.to_pylist()
    except (OverflowError, ValueError) as e:
        raise InternalError(
            f"feature {name} has a time that Python's datetime can't hold: {e}", fix="take to_arrow()"
        ) from e
    return values


def _is_text(offsets: bytes, data: bytes) -> bool:
    """Reports that every value is UTF-8."""
    places = np.frombuffer(offsets, _OFFSET)
    used = data[places[0] : places[-1]]
    if used.isascii():
        return True
    try:
        used.decode()
    except UnicodeDecodeError:
        return False
    # No value may begin inside a character; where one begins behind the last byte, nothing does.
    starts = places[places < places[-1]]
    return not bool(((np.frombuffer(data, np.uint8)[starts] & 0xC0) == 0x80).any())


@dataclass(slots=True)
class View:
    """Which data answered for one view under one binding of its keys.

    Attributes:
        name: The feature view.
        generation: Which generation of it answered; 0 for history.
        t: The generation holds the newest rows up to this instant, in microseconds since 1970.
        events: The event time of each row read, NO_EVENT for none; None where they were not asked for.
    """

    name: str
    generation: int
    t: int
    events: np.ndarray[Any, Any] | None = field(repr=False)


@dataclass(slots=True)
class Answer:
    """A decoded answer. Its columns are checked, and share its bytes."""

    read_time: int
    fixed_read_time: bool
    revision: int
    rows: int
    columns: list[tuple[Layout, int]]
    views: list[View]
    body: bytes = field(repr=False)

    def column(self, i: int) -> Column:
        """Returns a column."""
        layout, start = self.columns[i]
        return Column(self.body, start, layout)


class Decoder:
    """Decodes the answers to one kind of request. Safe between threads."""

    def __init__(self) -> None:
        """Makes a decoder that remembers nothing yet."""
        self._known: dict[int, list[list[Layout]]] = {}

    def decode(self, body: bytes) -> Answer:
        """Returns the answer that a GetFeaturesResponse holds."""
        return self._decode(body, online_pb2.GetFeaturesResponse.FromString)

    def decode_historical(self, body: bytes) -> Answer:
        """Returns the answer that a GetHistoricalFeaturesResponse holds."""
        try:
            fields = _fields(body, 0, len(body))
            inner = body[slice(*fields[0x0A])]
        except (_UnusualError, LookupError):
            inner, parse = body, lambda b: offline_pb2.GetHistoricalFeaturesResponse.FromString(b).response
            return self._usual(parse, inner)
        return self._decode(inner, online_pb2.GetFeaturesResponse.FromString)

    def _decode(self, body: bytes, parse: Callable[[bytes], online_pb2.GetFeaturesResponse]) -> Answer:
        try:
            return self._walk(body)
        except (_UnusualError, LookupError, ValueError):
            return self._usual(parse, body)

    def _usual(self, parse: Callable[[bytes], online_pb2.GetFeaturesResponse], body: bytes) -> Answer:
        """Decodes what has been encoded in another way, or in no way that is right."""
        try:
            message = parse(body)
            message.DiscardUnknownFields()
            return self._walk(message.SerializeToString())
        except _UnusualError as e:
            raise malformed(str(e)) from None
        except (DecodeError, LookupError, ValueError):
            raise malformed("it is not a GetFeaturesResponse") from None

    def _walk(self, body: bytes) -> Answer:
        read_time = revision = rows = 0
        fixed = False
        columns: list[tuple[Layout, int]] = []
        views: list[View] = []
        known: list[list[Layout]] | None = None
        starts = body.startswith
        i, end = 0, len(body)
        while i < end:
            tag = body[i]
            if tag == 0x2A:
                if known is None:
                    known = self._layouts(rows)
                start, k = i, len(columns)
                if k == len(known):
                    known.append([])
                for layout in known[k]:
                    if starts(layout.head, i):
                        for place, literal in layout.between:
                            if not starts(literal, i + place):
                                break
                        else:
                            break  # it fits
                else:
                    layout = self._learn(body, i, rows, known[k])
                columns.append((layout, start))
                i += layout.size
            elif tag == 0x32:
                size, i = _varint(body, i + 1)
                views.append(_view(body, i, i + size))
                i += size
            elif tag == 0x09:
                read_time = int.from_bytes(body[i + 1 : i + 9], "little", signed=True)
                i += 9
            elif tag == 0x10:
                value, i = _varint(body, i + 1)
                fixed = value != 0
            elif tag == 0x18:
                value, i = _varint(body, i + 1)
                revision = value - (1 << 64) if value >> 63 else value
            elif tag == 0x20 and not columns:
                rows, i = _varint(body, i + 1)
            else:
                raise _UnusualError("a field that is not known")
        if i != end:
            raise _UnusualError("it ends early")
        for view in views:
            if view.events is not None and len(view.events) not in (0, rows):
                raise _UnusualError(f"view {view.name} has not one event time per row")
        for layout, _ in columns:
            if layout.view >= len(views):
                raise _UnusualError(f"column {layout.name} is of no view")
        return Answer(read_time, fixed, revision, rows, columns, views, body)

    def _layouts(self, rows: int) -> list[list[Layout]]:
        known = self._known.get(rows)
        if known is None:
            if len(self._known) >= _MAX_ROWS:
                self._known.clear()
            known = self._known[rows] = []
        return known

    def _learn(self, body: bytes, start: int, rows: int, known: list[Layout]) -> Layout:
        """Returns the layout of the column that starts there, and keeps it where all its values are of one size."""
        size, i = _varint(body, start + 1)
        end = i + size
        fields = _fields(body, i, end)
        name = str(body[slice(*fields.get(0x0A, _NOWHERE))], "utf-8")
        if 0x12 not in fields:
            raise _UnusualError(f"column {name} has no values")
        vector = _vector(body, fields[0x12], start, name)
        statuses = _move(fields.get(0x1A, _NOWHERE), start)
        if vector.length != rows or statuses[1] - statuses[0] != rows:
            raise _UnusualError(f"column {name} has not one value and status per row")
        gaps = sorted(span for span in (vector.validity, vector.values, statuses) if span != _NOWHERE)
        literals = []
        place = 0
        for gap in (*gaps, (end - start, end - start)):
            if gap[0] > place:
                literals.append((place, body[start + place : start + gap[0]]))
            place = gap[1]
        layout = Layout(name, vector, statuses, fields.get(0x20, 0), end - start, literals[0][1], tuple(literals[1:]))
        if vector.elements is None and vector.kind in _FIXED:
            known.insert(0, layout)
            del known[_MAX_LAYOUTS:]
        return layout


def _view(body: bytes, i: int, end: int) -> View:
    fields = _fields(body, i, end)
    at = fields.get(0x19)
    if 0x21 in fields:
        raise _UnusualError("event times one by one")
    events = None
    if 0x22 in fields:
        start, stop = fields[0x22]
        events = np.frombuffer(body[start:stop], np.dtype("<i8"))
    return View(
        str(body[slice(*fields.get(0x0A, _NOWHERE))], "utf-8"),
        fields.get(0x10, 0),
        int.from_bytes(body[at : at + 8], "little", signed=True) if at is not None else 0,
        events,
    )


def _vector(body: bytes, span: Span, start: int, name: str, of: Vector | None = None) -> Vector:
    """Returns the vector in a span of the column at start, checked; of is that whose lists have it as elements."""
    fields = _fields(body, *span)
    kind, is_list, length = fields.get(0x08, 0), bool(fields.get(0x10, 0)), fields.get(0x18, 0)
    validity = fields.get(0x22, _NOWHERE)
    if validity[0] == validity[1]:
        validity = _NOWHERE
    elif validity[1] - validity[0] < (length + 7) // 8:
        raise _UnusualError(f"column {name} has values missing")
    values = offsets = data = _NOWHERE
    elements = None
    if is_list or kind in _VARIABLE:
        if is_list and of is not None:
            raise _UnusualError(f"column {name} has lists of lists")
        offsets, data = fields.get(0x52, _NOWHERE), fields.get(0x5A, _NOWHERE)
        limit = data[1] - data[0]
        if is_list:
            if 0x62 not in fields:
                raise _UnusualError(f"column {name} has lists without elements")
            outer = Vector(kind, True, length, validity, values, offsets, data, None)
            elements = _vector(body, fields[0x62], start, name, outer)
            limit = elements.length
        if offsets[1] - offsets[0] != _OFFSET.itemsize * (length + 1):
            raise _UnusualError(f"column {name} has values missing")
        places = np.frombuffer(body, _OFFSET, length + 1, offsets[0])
        if places[-1] > limit or bool((places[1:] < places[:-1]).any()):
            raise _UnusualError(f"column {name} has offsets out of order")
    elif kind in _FIXED:
        tag, dtype, _ = _FIXED[kind]
        values = fields.get(tag, _NOWHERE)
        if values[1] - values[0] != dtype.itemsize * length:
            raise _UnusualError(f"column {name} has values missing")
    else:
        raise _UnusualError(f"column {name} has values of type {kind}")
    if of is not None and kind != of.kind:
        raise _UnusualError(f"column {name} has list elements of another type")
    return Vector(
        kind,
        is_list,
        length,
        _move(validity, start),
        _move(values, start),
        _move(offsets, start),
        _move(data, start),
        elements,
    )


def _move(span: Span, start: int) -> Span:
    return span if span == _NOWHERE else (span[0] - start, span[1] - start)


def _fields(body: bytes, i: int, end: int) -> dict[int, Any]:
    """Returns fields by tag: the number of a varint, the place of a fixed64, the span of anything longer."""
    if end > len(body):
        raise _UnusualError("it ends early")
    fields: dict[int, Any] = {}
    while i < end:
        tag = body[i]
        if tag in fields or tag > 127:
            raise _UnusualError("a field that is there twice, or not known")
        kind = tag & 7
        if kind == 2:
            size, i = _varint(body, i + 1)
            fields[tag] = (i, i + size)
            i += size
        elif kind == 0:
            fields[tag], i = _varint(body, i + 1)
        elif kind == 1:
            fields[tag] = i + 1
            i += 9
        else:
            raise _UnusualError("a field that is not known")
    if i != end:
        raise _UnusualError("it ends early")
    return fields


def _varint(body: bytes, i: int) -> tuple[int, int]:
    """Returns the varint at i, and where it ends."""
    value = body[i]
    i += 1
    if value > 127:
        value &= 127
        shift = 7
        while True:
            byte = body[i]
            i += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise _UnusualError("a number that is too long")
    return value, i


if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("provender needs a machine that is little-endian, as Arrow's buffers are")
