"""Answers' bytes: those of any writer that protobuf allows, and those of none."""

from __future__ import annotations

import math
import random
import struct
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import rounds
from google.protobuf.message import DecodeError

import provender
from provender._columns import STATUSES, Answer, Decoder
from provender._features import Features
from provender._instant import micros
from provender._request import keys
from provender.v1 import offline_pb2, online_pb2, vector_pb2

FIELDS = {1: "bools", 2: "int32s", 3: "int64s", 4: "float32s", 5: "float64s", 8: "int64s"}
FLOATS = (0.0, -0.0, math.inf, -math.inf, math.nan)
Values = list[list[Any]]  # by column
SIZES = (0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000)


def random_value(rng: random.Random, kind: int) -> Any:
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.choice((0, 1, -1, -(1 << 31), (1 << 31) - 1, rng.randrange(-1000, 1000)))
    if kind == 3:
        return rng.choice((0, -1, -(1 << 63), (1 << 63) - 1, rng.getrandbits(40)))
    if kind == 4:
        return float(np.float32(rng.choice((*FLOATS, 1e-45, rng.random()))))
    if kind == 5:
        return rng.choice((*FLOATS, 5e-324, rng.random()))
    if kind == 6:
        return rng.choice(("", "a", "ÄÖÜ", "日本", "🙂", "x" * rng.randrange(200)))
    if kind == 7:
        return rng.choice((b"", b"\x00", b"\xff\xfe", rng.randbytes(rng.randrange(200))))
    return rng.randrange(-62135596800_000000, 253402300799_999999)


def vector_of(values: list[Any], kind: int, *, in_list: bool = False) -> vector_pb2.Vector:
    """The Vector of some values, None for null, as the server lays it out."""
    v = vector_pb2.Vector(type=kind, length=len(values), list=in_list)
    if any(value is None for value in values):
        bits = bytearray((len(values) + 7) // 8)
        for i, value in enumerate(values):
            bits[i >> 3] |= (value is not None) << (i & 7)
        v.validity = bytes(bits)
    if in_list:
        v.offsets.append(0)
        elements: list[Any] = []
        for value in values:
            elements.extend(value or [])
            v.offsets.append(len(elements))
        v.elements.CopyFrom(vector_of(elements, kind))
    elif kind in FIELDS:
        getattr(v, FIELDS[kind]).extend(type_of(kind)() if value is None else value for value in values)
    else:
        data = b""
        v.offsets.append(0)
        for value in values:
            data += value.encode() if isinstance(value, str) else value or b""
            v.offsets.append(len(data))
        v.data = data
    return v


def type_of(kind: int) -> type:
    return {1: bool, 4: float, 5: float}.get(kind, int)


def random_values(rng: random.Random, kind: int, rows: int, nulls: float, *, in_list: bool) -> list[Any]:
    def value() -> Any:
        if rng.random() < nulls:
            return None
        if in_list:
            return random_values(rng, kind, rng.randrange(4), nulls, in_list=False)
        return random_value(rng, kind)

    return [value() for _ in range(rows)]


def random_answer(rng: random.Random, rows: int, columns: int) -> tuple[online_pb2.GetFeaturesResponse, Values]:
    answer = online_pb2.GetFeaturesResponse(
        read_time=rng.randrange(1 << 50), fixed_read_time=rng.random() < 0.5, revision=rng.randrange(300), rows=rows
    )
    views = rng.randrange(1, 4)
    for i in range(views):
        view = answer.views.add(view=f"view_{i}", generation=rng.randrange(1000), t=rng.randrange(1 << 50))
        if rng.random() < 0.5:
            view.event_times.extend(rng.choice((-(1 << 63), rng.randrange(1 << 50))) for _ in range(rows))
    everything = []
    for i in range(columns):
        kind, in_list = rng.randrange(1, 9), rng.random() < 0.3
        values = random_values(rng, kind, rows, rng.choice((0.0, 0.0, 0.3, 1.0)), in_list=in_list)
        everything.append(values)
        answer.columns.add(
            name="f" * rng.choice((1, 10, 130)) + str(i),
            values=vector_of(values, kind, in_list=in_list),
            statuses=bytes(rng.randrange(1, 6) for _ in range(rows)),
            view=rng.randrange(views),
        )
    return answer, everything


def exact(value: Any) -> Any:
    """A value that equals another's only where their bits do."""
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, list):
        return [exact(v) for v in value]
    if isinstance(value, datetime):
        return micros(value, "value")
    return value


def check(answer: Answer, message: online_pb2.GetFeaturesResponse, values: Values) -> None:
    features = Features(answer, keys(None))
    assert features.names == [c.name for c in message.columns]
    assert answer.read_time == message.read_time
    assert (answer.fixed_read_time, answer.revision) == (message.fixed_read_time, message.revision)
    assert len(features) == message.rows
    as_dict = features.to_dict()
    for i, (column, expected) in enumerate(zip(message.columns, values, strict=True)):
        arrow = answer.column(i).arrow()
        arrow.validate(full=True)
        assert exact(arrow.to_pylist()) == exact(expected), column.name
        assert exact(as_dict[column.name]) == exact(expected), column.name
        assert features.statuses.column(i).to_pylist() == [STATUSES[code] for code in column.statuses]
    for view, theirs in zip(answer.views, message.views, strict=True):
        assert (view.name, view.generation, view.t) == (theirs.view, theirs.generation, theirs.t)
        assert ([] if view.events is None else view.events.tolist()) == list(theirs.event_times)


def test_random_answers(rng: random.Random) -> None:
    decoder = Decoder()
    for _ in range(rounds(60)):
        message, values = random_answer(rng, rng.choice(SIZES), rng.randrange(6))
        check(decoder.decode(message.SerializeToString()), message, values)
        wrapped = offline_pb2.GetHistoricalFeaturesResponse(response=message)
        check(decoder.decode_historical(wrapped.SerializeToString()), message, values)


def test_remembered_layouts_do_not_mix(rng: random.Random) -> None:
    """Columns of one place, name and size whose type, nulls and views change from answer to answer."""
    decoder = Decoder()
    for _ in range(rounds(300)):
        rows = rng.choice((1, 8, 16))
        message = online_pb2.GetFeaturesResponse(rows=rows, read_time=rng.choice((0, 1 << 40)))
        values = []
        for i in range(3):
            kind = rng.randrange(1, 9)
            values.append(random_values(rng, kind, rows, rng.choice((0.0, 0.5)), in_list=False))
            message.columns.add(
                name=f"f{i}", values=vector_of(values[-1], kind), statuses=b"\x01" * rows, view=rng.randrange(2)
            )
        message.views.add(view="a")
        message.views.add(view="b")
        check(decoder.decode(message.SerializeToString()), message, values)


def test_other_writers(rng: random.Random) -> None:
    """Packed fields that come one by one or in pieces, fields in another order, fields that are not known."""
    message, values = random_answer(rng, 9, 0)
    kinds = [1, 2, 3, 4, 5, 6, 7, 8]
    values = [random_values(rng, kind, 9, 0.2, in_list=False) for kind in kinds]
    for kind, column in zip(kinds, values, strict=True):
        message.columns.add(name=f"f{kind}", values=vector_of(column, kind), statuses=b"\x01" * 9)
    for rewrite in (one_by_one, in_pieces, backwards, with_unknown_fields, in_long_numbers):
        check(Decoder().decode(rewritten(message.SerializeToString(), rewrite)), message, values)


def test_one_value_not_packed() -> None:
    message = online_pb2.GetFeaturesResponse(rows=1)
    values: Values = [[True], [-5], [1 << 40], [1.5], [-0.0]]
    for kind, column in enumerate(values, 1):
        message.columns.add(name=f"f{kind}", values=vector_of(column, kind), statuses=b"\x01")
    message.views.add(view="v")
    check(Decoder().decode(rewritten(message.SerializeToString(), one_by_one)), message, values)


# A message as a list of fields: number, wire type, and a number or bytes.
Fields = list[tuple[int, int, Any]]
PACKED = {5: (0, 1), 6: (5, 4), 7: (1, 8), 8: (5, 4), 9: (1, 8), 10: (5, 4)}  # Vector's: wire type and width
NESTED = {"answer": {5: "column", 6: "view"}, "column": {2: "vector"}, "vector": {12: "vector"}, "view": {}}


def parse(body: bytes) -> Fields:
    fields: Fields = []
    i = 0

    def varint() -> int:
        nonlocal i
        n = shift = 0
        while True:
            byte = body[i]
            i += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while i < len(body):
        tag = varint()
        if tag & 7 == 0:
            fields.append((tag >> 3, 0, varint()))
        else:
            n = {1: 8, 5: 4}.get(tag & 7) or varint()
            fields.append((tag >> 3, tag & 7, body[i : i + n]))
            i += n
    return fields


def encode_varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(fields: Fields) -> bytes:
    out = b""
    for number, wire, value in fields:
        out += encode_varint(number << 3 | wire)
        if wire == 0:
            out += encode_varint(value)
        else:
            out += encode_varint(len(value)) + value if wire == 2 else value
    return out


def rewritten(body: bytes, rewrite: Any, message: str = "answer") -> bytes:
    fields: Fields = []
    for number, wire, value in parse(body):
        inner = NESTED[message].get(number)
        fields.append((number, wire, rewritten(value, rewrite, inner) if inner else value))
    return rewrite(fields, message) if rewrite is in_long_numbers else encode(rewrite(fields, message))


def one_by_one(fields: Fields, message: str) -> Fields:
    if message != "vector":
        return fields
    out: Fields = []
    for number, wire, value in fields:
        if number not in PACKED:
            out.append((number, wire, value))
            continue
        kind, width = PACKED[number]
        for i in range(0, len(value), width):
            out.append((number, kind, value[i] if kind == 0 else value[i : i + width]))
    return out


def in_pieces(fields: Fields, message: str) -> Fields:
    if message != "vector":
        return fields
    out: Fields = []
    for number, wire, value in fields:
        if number in PACKED:
            width = PACKED[number][1]
            out += [(number, 2, value[:width]), (number, 2, value[width:])]
        else:
            out.append((number, wire, value))
    return out


def backwards(fields: Fields, message: str) -> Fields:
    if message == "answer":  # what is repeated keeps its order
        return [f for f in fields if f[0] > 4] + [f for f in fields if f[0] <= 4]
    return fields[::-1]


def with_unknown_fields(fields: Fields, message: str) -> Fields:
    del message
    return [(14, 2, b"new"), *fields, (99, 2, b"newer"), (15, 5, b"1234")]


def in_long_numbers(fields: Fields, message: str) -> bytes:
    """Varints with more bytes than they need, which protobuf allows."""
    del message
    out = b""
    for number, wire, value in fields:
        out += encode([(number, wire, value)])
        if wire == 0 and value < 128:
            out = out[:-1] + bytes([value | 0x80, 0x00])
    return out


def column(**vector: Any) -> online_pb2.GetFeaturesResponse:
    """An answer of one column of two rows."""
    message = online_pb2.GetFeaturesResponse(rows=2)
    message.columns.add(name="f", values=vector_pb2.Vector(**({"length": 2} | vector)), statuses=b"\x01\x01")
    message.views.add(view="v")
    return message


def answer_with(**fields: Any) -> online_pb2.GetFeaturesResponse:
    message = column(type=3, int64s=[1, 2])
    for name, value in fields.items():
        if name == "events":
            message.views[0].event_times.extend(value)
        elif name == "rows":
            message.rows = value
        else:
            setattr(message.columns[0], name, value)
    return message


INTS = vector_pb2.Vector(type=3, length=2, int64s=[1, 2])


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (column(type=3, int64s=[1]), "values missing"),
        (column(type=3, int64s=[1, 2, 3]), "values missing"),
        (column(type=1, bools=[True]), "values missing"),
        (column(type=3, float64s=[1, 2]), "values missing"),
        (column(type=0), "values of type 0"),
        (column(type=77, int64s=[1, 2]), "values of type 77"),
        (column(type=3, int64s=[1], length=1), "one value and status per row"),
        (column(type=3, int64s=[1] * 9, length=9, validity=b"\x01"), "values missing"),
        (column(type=6, offsets=[0, 1], data=b"abc"), "values missing"),
        (column(type=6, data=b"abc"), "values missing"),
        (column(type=6, offsets=[0, 2, 1], data=b"abc"), "offsets out of order"),
        (column(type=6, offsets=[0, 1, 4], data=b"abc"), "offsets out of order"),
        (column(type=7, offsets=[0, 0xFFFFFFFF, 3], data=b"abc"), "offsets out of order"),
        (column(type=6, offsets=[5, 5, 5], data=b"abc"), "offsets out of order"),
        (column(type=3, list=True, offsets=[0, 1, 2]), "without elements"),
        (column(type=3, list=True, offsets=[0, 1, 3], elements=INTS), "offsets out of order"),
        (column(type=3, list=True, offsets=[0, 2], elements=INTS), "values missing"),
        (column(type=5, list=True, offsets=[0, 1, 2], elements=INTS), "another type"),
        (
            column(
                type=3,
                list=True,
                offsets=[0, 1, 2],
                elements=vector_pb2.Vector(type=3, list=True, length=2, offsets=[0, 1, 2], elements=INTS),
            ),
            "lists of lists",
        ),
        (
            column(
                type=6,
                list=True,
                offsets=[0, 1, 1],
                elements=vector_pb2.Vector(type=6, length=1, offsets=[0, 9], data=b"abc"),
            ),
            "offsets out of order",
        ),
        (answer_with(statuses=b"\x01"), "one value and status per row"),
        (answer_with(statuses=b""), "one value and status per row"),
        (answer_with(rows=3), "one value and status per row"),
        (answer_with(view=1), "of no view"),
        (answer_with(events=[1, 2, 3]), "one event time per row"),
        (online_pb2.GetFeaturesResponse(columns=[online_pb2.FeatureColumn(name="f")]), "has no values"),
    ],
)
def test_malformed(message: online_pb2.GetFeaturesResponse, what: str) -> None:
    decoder = Decoder()
    for _ in range(2):
        with pytest.raises(provender.InternalError, match=what) as caught:
            decoder.decode(message.SerializeToString())
        assert "malformed answer" in str(caught.value)
        decoder.decode(answer_with().SerializeToString())  # what is remembered of a good one changes nothing


def test_damaged_bytes(rng: random.Random) -> None:
    """Whatever bytes come, they are an answer that Arrow finds valid, or an error."""
    decoder = Decoder()
    for _ in range(rounds(40)):
        message, _ = random_answer(rng, rng.choice((1, 8, 20)), 4)
        body = message.SerializeToString()
        decoder.decode(body)
        for _ in range(50):
            damaged = bytearray(body)
            if rng.random() < 0.2:
                del damaged[rng.randrange(len(damaged)) :]
            for _ in range(rng.randrange(1, 4)):
                if damaged:
                    damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            for decode in (decoder.decode, decoder.decode_historical):
                try:
                    answer = decode(bytes(damaged))
                except provender.InternalError:
                    continue
                for i in range(len(answer.columns)):
                    answer.column(i).arrow().validate(full=True)
                    answer.column(i).statuses().validate(full=True)


def test_same_as_the_generated_parser(rng: random.Random) -> None:
    """What a fast look at bytes finds is what protobuf finds, also in damaged ones."""
    decoder = Decoder()
    for _ in range(rounds(40)):
        message, _ = random_answer(rng, rng.choice((1, 8)), 3)
        body = bytearray(message.SerializeToString())
        body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            answer = decoder.decode(bytes(body))
        except provender.InternalError:
            continue
        theirs = online_pb2.GetFeaturesResponse.FromString(bytes(body))
        assert (answer.rows, answer.read_time, answer.revision) == (theirs.rows, theirs.read_time, theirs.revision)
        for i, column in enumerate(theirs.columns):
            ours = answer.column(i)
            assert (ours.layout.name, ours.layout.view) == (column.name, column.view)
            assert ours.layout.vector.length == column.values.length
            if not column.values.list and column.values.type in FIELDS and column.values.type != 8:
                nulls = set(ours.nulls())
                values = ours.python()
                for k, value in enumerate(getattr(column.values, FIELDS[column.values.type])):
                    assert k in nulls or exact(values[k]) == exact(value)


def test_cut_short(rng: random.Random) -> None:
    """A message that ends inside a field is an error, as it is for protobuf; one that ends between fields is one."""
    message, _ = random_answer(rng, 3, 2)
    for body in (message.SerializeToString(), online_pb2.GetFeaturesResponse(read_time=1 << 40).SerializeToString()):
        for end in range(len(body)):
            try:
                theirs = online_pb2.GetFeaturesResponse.FromString(body[:end])
            except DecodeError:
                with pytest.raises(provender.InternalError):
                    Decoder().decode(body[:end])
            else:
                if all(column.view < len(theirs.views) for column in theirs.columns):
                    assert Decoder().decode(body[:end]).read_time == theirs.read_time


def test_rows_behind_the_columns() -> None:
    message = online_pb2.GetFeaturesResponse()
    message.columns.add(name="f", values=vector_pb2.Vector(type=3))
    message.views.add(view="v")
    body = message.SerializeToString()
    assert Decoder().decode(body).rows == 0
    with pytest.raises(provender.InternalError, match="one value and status per row"):
        Decoder().decode(body + b"\x20\x02")


def test_text_that_is_not_utf8() -> None:
    """Bytes are kept as they are: such a column is binary."""
    good, bad = "ä".encode(), b"\xff"
    split = vector_pb2.Vector(type=6, length=2, offsets=[0, 1, 2], data=good)
    for vector, values in (
        (vector_pb2.Vector(type=6, length=2, offsets=[0, 2, 3], data=good + bad), [good, bad]),
        (split, [good[:1], good[1:]]),
        (vector_pb2.Vector(type=6, length=2, offsets=[1, 3, 3], data=b"\xff" + good + b"\xff"), ["ä", ""]),
    ):
        message = online_pb2.GetFeaturesResponse(rows=2)
        message.columns.add(name="f", values=vector, statuses=b"\x01\x01")
        message.views.add(view="v")
        answer = Decoder().decode(message.SerializeToString())
        arrow = answer.column(0).arrow()
        arrow.validate(full=True)
        assert arrow.to_pylist() == values
        assert arrow.type == (pa.string() if isinstance(values[0], str) else pa.binary())
        assert answer.column(0).python() == values


def test_status_of_a_newer_server() -> None:
    answer = Decoder().decode(answer_with(statuses=b"\x01\x09").SerializeToString())
    assert answer.column(0).statuses().to_pylist() == ["PRESENT", "INVALID"]
