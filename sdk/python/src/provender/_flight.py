"""Arrow Flight's messages, over the connection that every other call takes.

They are made by hand: pyarrow's own client would be a second connection with rules of its own, and can't be interrupted
while it waits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from ._errors import InternalError

EXCHANGE = "/arrow.flight.protocol.FlightService/DoExchange"

# How large messages are made, and may become as rows differ: servers take 4 MiB where they do not say otherwise.
_BYTES = 1 << 20
_MOST_BYTES = 3 << 20

# The fields of FlightData.
_DESCRIPTOR, _HEADER, _METADATA, _BODY = 1, 2, 3, 1000

# What stands before a message of Arrow's format for streams: its mark, and the length of what describes it.
_PREFIX = struct.Struct("<Ii")
_MARK = 0xFFFFFFFF


def requests(command: bytes, table: pa.Table) -> Iterator[bytes]:
    """Yields the messages that send a table: its schema with the command, then its rows."""
    # A descriptor of type CMD, 2.
    descriptor = b"\x08\x02" + _field(2, command)
    yield _field(_DESCRIPTOR, descriptor) + _data(table.schema.serialize())
    row = max(1, table.nbytes // max(1, table.num_rows))
    for batch in table.to_batches(max_chunksize=max(1, _BYTES // row)):
        yield from _rows(batch)


def _rows(batch: pa.RecordBatch) -> Iterator[bytes]:
    message = batch.serialize()
    if message.size <= _MOST_BYTES or batch.num_rows == 1:
        yield _data(message)
        return
    half = batch.num_rows // 2
    yield from _rows(batch.slice(0, half))
    yield from _rows(batch.slice(half))


def _data(message: pa.Buffer) -> bytes:
    """Returns a message of Arrow's format for streams as FlightData."""
    view = memoryview(message)
    _, length = _PREFIX.unpack_from(view)
    end = _PREFIX.size + length
    return b"".join((_head(_HEADER, length), view[_PREFIX.size : end], _head(_BODY, len(view) - end), view[end:]))


def _field(number: int, value: bytes) -> bytes:
    return _head(number, len(value)) + value


def _head(number: int, length: int) -> bytes:
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass
class Data:
    """A message that came: parts of its bytes."""

    header: memoryview
    metadata: memoryview
    body: memoryview

    @classmethod
    def parse(cls, message: bytes) -> Data:
        """Finds the parts of a message."""
        view = memoryview(message)
        data = cls(view[:0], view[:0], view[:0])
        at = 0
        while at < len(view):
            key, at = _read_varint(view, at)
            kind = key & 7
            if kind == 0:
                _, at = _read_varint(view, at)
                continue
            if kind == 2:
                length, at = _read_varint(view, at)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise _malformed(f"a field of kind {kind}")
            part = view[at : at + length]
            if len(part) != length:
                raise _malformed("it ends too soon")
            at += length
            if key >> 3 == _HEADER:
                data.header = part
            elif key >> 3 == _METADATA:
                data.metadata = part
            elif key >> 3 == _BODY:
                data.body = part
        return data

    def message(self) -> pa.Message:
        """Returns the message of Arrow's format for streams, copied together."""
        pad = -len(self.header) % 8
        prefix = _PREFIX.pack(_MARK, len(self.header) + pad)
        try:
            return pa.ipc.read_message(pa.py_buffer(b"".join((prefix, self.header, b"\0" * pad, self.body))))
        except (pa.ArrowException, OSError, EOFError) as e:
            raise _malformed(str(e)) from e


def read_schema(message: pa.Message) -> pa.Schema:
    """Reads the answer's schema."""
    if message.type != "schema":
        raise _malformed(f"a {message.type} before the schema")
    return pa.ipc.read_schema(message)


def read_batch(message: pa.Message, schema: pa.Schema) -> pa.RecordBatch:
    """Reads rows of the answer."""
    if message.type != "record batch":
        raise _malformed(f"a {message.type} among the rows")
    try:
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate()
    except (pa.ArrowException, OSError) as e:
        raise _malformed(str(e)) from e
    return batch


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 64:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _malformed("it ends too soon")


def _malformed(what: str) -> InternalError:
    return InternalError(f"a message of Arrow Flight can't be read: {what}")
