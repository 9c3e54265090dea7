"""Why a feature has the value that it has."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import numpy as np

from . import _tables
from ._errors import InternalError, InvalidError
from ._instant import instant
from ._records import Record, record_of
from .v1 import offline_pb2, online_pb2, vector_pb2

_STATUSES = {number: name.removeprefix("CELL_STATUS_") for name, number in vector_pb2.CellStatus.items()}


@dataclass(frozen=True, repr=False)
class Place(Record):
    """Where a row lies, counted from 0.

    Attributes:
        file: The file.
        row_group: In the file.
        row: In the file.
    """

    file: str
    row_group: int
    row: int


@dataclass(frozen=True, repr=False)
class Candidate(Record):
    """A row of an entity.

    Attributes:
        value: The feature's value in it.
        event_time: When it became true.
        created_time: When it was written; None where the source does not say.
        place: Where it lies.
        copies: Further rows that equal it in everything.
        copies_at: The first of them.
        why: Why it does not answer: "older_event_time", "earlier_created_time" or "smaller_encoding"; empty for the
            first.
        decided_by: With smaller_encoding: the feature whose bytes decide.
    """

    value: Any
    event_time: datetime
    created_time: datetime | None
    place: Place
    copies: int
    copies_at: tuple[Place, ...]
    why: str
    decided_by: str


@dataclass(frozen=True, repr=False)
class Consumed(Record):
    """What runs into the online store have made of a row.

    Attributes:
        state: "not_online", "never", "pending", "changed", "held" or "read".
        generation: That serves; 0 for none.
        t: It is complete up to this instant.
        run: That read the file; 0 for none.
    """

    state: str
    generation: int
    t: datetime | None
    run: int


@dataclass(frozen=True, repr=False)
class NearMiss(Record):
    """A key that may have been meant.

    Attributes:
        keys: Its values by name.
        rows: Rows that have it.
    """

    keys: Mapping[str, Any]
    rows: int


@dataclass(frozen=True, repr=False)
class Explanation(Record):
    """Which row of history answers, and why the rows beside it do not.

    Attributes:
        feature: "view:feature".
        keys: The entity.
        at: The instant.
        revision: Of the definitions.
        value: What is answered, the default filled in.
        status: "PRESENT", "NULL", "EXPIRED" or "NOT_FOUND".
        is_default: Whether the value is the feature's default.
        ttl: None for rows that never expire.
        before: The rows up to the instant, the greatest first: that answers, if it is not too old.
        after: The rows after it, the earliest first.
        online: What runs have made of the first row; None where there is none.
        rows_before: How many rows the entity has up to the instant, listed or not.
        rows_after: And after it.
        has_created_times: Whether the source has created times.
        null_key: Whether a key is null, which is no entity's: then no file was read.
        null_event_times: Rows of the entity without an event time.
        files: Of the source.
        rows_read: Of them.
        rows_skipped: By statistics of keys.
        null_keys: Rows with a null key.
        first_event: Of the source; None where it has no row.
        last_event: Of the source.
        matching: Where the entity has no row: per key in the view's order, the rows that have its value.
        near_misses: Where the entity has no row: keys that may have been meant.
    """

    feature: str
    keys: Mapping[str, Any]
    at: datetime
    revision: int
    value: Any
    status: str
    is_default: bool
    ttl: timedelta | None
    before: tuple[Candidate, ...]
    after: tuple[Candidate, ...]
    online: Consumed | None
    rows_before: int
    rows_after: int
    has_created_times: bool
    null_key: bool
    null_event_times: int
    files: int
    rows_read: int
    rows_skipped: int
    null_keys: int
    first_event: datetime | None
    last_event: datetime | None
    matching: tuple[int, ...]
    near_misses: tuple[NearMiss, ...]

    @property
    def row(self) -> Candidate | None:
        """The row that answers, or would if it were not too old; None where there is none."""
        return self.before[0] if self.before else None

    @property
    def age(self) -> timedelta | None:
        """How old that row is at the instant."""
        return self.at - self.before[0].event_time if self.before else None

    def _facts(self) -> list[tuple[str, Any]]:
        entity = ", ".join(f"{k}={v}" for k, v in self.keys.items())
        facts: list[tuple[str, Any]] = [
            ("feature", self.feature),
            ("entity", entity or "everybody"),
            ("at", self.at),
            ("value", f"{_tables.cell(self.value)} ({self.status}{', the default' if self.is_default else ''})"),
            ("ttl", "never expires" if self.ttl is None else self.ttl),
        ]
        if self.row is not None:
            facts += [
                ("row", f"{self.row.place.file}, row group {self.row.place.row_group}, row {self.row.place.row:,}"),
                ("event time", self.row.event_time),
                ("age", self.age),
            ]
        if self.online is not None:
            by = f" by run {self.online.run}" if self.online.run else ""
            facts.append(("online", f"{self.online.state}{by}"))
        if self.near_misses:
            keys = ("; ".join(f"{k}={v}" for k, v in n.keys.items()) + f" ({n.rows:,} rows)" for n in self.near_misses)
            facts.append(("near misses", ", ".join(keys)))
        facts.append(("read", f"{self.files:,} files, {self.rows_read:,} rows"))
        return facts

    def _others(self) -> list[tuple[Any, ...]]:
        return [
            (c.event_time, c.created_time, c.value, c.why or ("answers" if i == 0 else ""), c.place.file, c.place.row)
            for i, c in enumerate(self.before)
        ] + [(c.event_time, c.created_time, c.value, "after", c.place.file, c.place.row) for c in self.after]

    _HEADERS: ClassVar[tuple[str, ...]] = ("event time", "created time", "value", "why", "file", "row")

    def __repr__(self) -> str:
        """Returns the answer, its row, and the rows beside it."""
        facts = "\n".join(f"{name:<12} {_tables.cell(value)}" for name, value in self._facts())
        others = self._others()
        return f"{facts}\n\n{_tables.text_table(self._HEADERS, others)}" if others else facts

    def _repr_html_(self) -> str:
        return (
            _tables.html_table(["", self.feature], self._facts()[1:])
            + "\n"
            + _tables.html_table(self._HEADERS, self._others())
        )


def key_columns(entities: Mapping[str, Any]) -> list[online_pb2.KeyColumn]:
    """Returns the keys of one entity: ``{"airport": "JFK"}``, or with lists of one value each."""
    if not isinstance(entities, Mapping):
        raise InvalidError("entities is no mapping", field="entities", fix='entities={"airport": "JFK"}')
    return [_key_column(name, value) for name, value in entities.items()]


def _key_column(name: str, value: Any) -> online_pb2.KeyColumn:
    field = f"keys.{name}"
    if isinstance(value, list | tuple):
        if len(value) != 1:
            raise InvalidError(f"key {name} has {len(value)} values: one entity is explained", field=field)
        (value,) = value
    if value is None:
        return online_pb2.KeyColumn(name=name, strings=[""], nulls=[True])
    if isinstance(value, str):
        return online_pb2.KeyColumn(name=name, strings=[value])
    if isinstance(value, bool):
        raise InvalidError(f"key {name} is a bool: keys are integers or strings", field=field)
    try:
        return online_pb2.KeyColumn(name=name, int64s=[operator.index(value)])
    except TypeError:
        raise InvalidError(f"key {name} is {type(value).__name__}: keys are integers or strings", field=field) from None
    except ValueError:
        raise InvalidError(f"key {name} is out of the range of int64", field=field) from None


def explanation_of(message: offline_pb2.ExplainResponse, feature: str, keys: Mapping[str, Any]) -> Explanation:
    """Returns the explanation of a message."""
    return record_of(
        Explanation,
        message,
        feature=feature,
        keys={name: value[0] if isinstance(value, list | tuple) else value for name, value in keys.items()},
        at=instant(message.at),
        value=_one(message.value),
        status=_STATUSES[message.status],
        before=tuple(map(_candidate, message.before)),
        after=tuple(map(_candidate, message.after)),
        first_event=instant(message.first_event) if message.HasField("first_event") else None,
        last_event=instant(message.last_event) if message.HasField("last_event") else None,
        near_misses=tuple(NearMiss({k.name: _key(k) for k in near.keys}, near.rows) for near in message.near_misses),
    )


def _candidate(m: offline_pb2.ExplainedRow) -> Candidate:
    return record_of(
        Candidate,
        m,
        value=_one(m.value),
        event_time=instant(m.event_time),
        created_time=instant(m.created_time) if m.HasField("created_time") else None,
    )


def _key(k: online_pb2.KeyColumn) -> int | str | None:
    if k.nulls and k.nulls[0]:
        return None
    return k.int64s[0] if k.int64s else k.strings[0]


def _one(v: vector_pb2.Vector) -> Any:
    """Returns the one value of a vector, as Python has it."""
    values = _values(v)
    if len(values) != 1:
        raise InternalError("the server's answer is malformed: not one value")
    return values[0]


_FIELDS = {
    vector_pb2.VALUE_TYPE_BOOL: "bools",
    vector_pb2.VALUE_TYPE_INT32: "int32s",
    vector_pb2.VALUE_TYPE_INT64: "int64s",
    vector_pb2.VALUE_TYPE_FLOAT32: "float32s",
    vector_pb2.VALUE_TYPE_FLOAT64: "float64s",
    vector_pb2.VALUE_TYPE_TIMESTAMP: "int64s",
}


def _time(us: int) -> Any:
    """Returns a time that is a value: NumPy's, where Python has none so early or late."""
    try:
        return instant(us)
    except OverflowError:
        return np.datetime64(us, "us")


def _values(v: vector_pb2.Vector) -> list[Any]:
    values: list[Any]
    parts = [slice(a, b) for a, b in zip(v.offsets, v.offsets[1:], strict=False)]
    if v.list:
        elements = _values(v.elements)
        values = [elements[p] for p in parts]
    elif v.type in _FIELDS:
        values = list(getattr(v, _FIELDS[v.type]))
        if v.type == vector_pb2.VALUE_TYPE_TIMESTAMP:
            values = [_time(us) for us in values]
    else:
        values = [v.data[p] for p in parts]
        if v.type == vector_pb2.VALUE_TYPE_STRING:
            values = [b.decode(errors="replace") for b in values]
    if len(values) != v.length or (v.validity and len(v.validity) * 8 < v.length):
        raise InternalError("the server's answer is malformed: a vector of another length")
    if v.validity:
        values = [x if v.validity[i >> 3] >> (i & 7) & 1 else None for i, x in enumerate(values)]
    return values
