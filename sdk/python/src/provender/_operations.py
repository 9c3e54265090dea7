"""Runs and what is online: materialize, status, verify, explain."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from . import _tables
from ._channel import Channel, request_id
from ._errors import InternalError, InvalidError, ProvenderError, UnavailableError
from ._instant import Instant, instant, micros
from ._records import Record, Records, record_of
from .v1 import offline_pb2, online_pb2, operations_pb2, vector_pb2

# How often a stream that was cut off is asked for again, and the seconds before that: twice as long each time.
_REPEATS = 4
_REPEAT_AFTER = 0.5

_PAGE = 1000
_INT32_MAX = (1 << 31) - 1
_STATUSES = {number: name.removeprefix("CELL_STATUS_") for name, number in vector_pb2.CellStatus.items()}


@dataclass(frozen=True, repr=False)
class Reject(Record):
    """Rows that could not be used, for one reason.

    Attributes:
        reason: "null key", "null event time", "key out of range", "time out of range", "value".
        rows: How many.
        samples: The first few: file, row group, row, what.
    """

    reason: str
    rows: int
    samples: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Phase(Record):
    """How long one part of a run took.

    Attributes:
        name: "list", "read", "write" or "commit".
        took: How long.
    """

    name: str
    took: timedelta | None


@dataclass(frozen=True, repr=False)
class Run(Record):
    """The record of one materialization of one view up to an instant.

    Attributes:
        id: Its number.
        view: The feature view.
        state: "queued", "running", "succeeded", "failed" or "cancelled".
        t: It covers rows up to this instant.
        full: Whether it filled a new generation.
        reason: Why full; else what it found: "2 new, 1 due".
        trigger: "command", "schedule" or "retry".
        by: user@host:pid.
        revision: Of the definitions.
        generation: That it wrote to.
        started: None while it is queued.
        finished: None until it has ended.
        files: Files read.
        rows_read: Rows of them.
        written: Rows stored.
        older: Rows that were not newer than what was there.
        held: Rows dated after t, kept for a run that covers them.
        null_keys: Rows dropped for a null key.
        ties: Rows that tied in event and created time.
        error: Why it failed.
        asked_to: What was asked for.
        asked_full: Whether a full run was.
        attempt: 1 for the first.
        retry_of: The run of attempt 1; 0 where this is it.
        queued: When it was asked for, where it had to wait.
        bytes_read: Of the files read, their whole size.
        bytes_written: Of keys and rows sent to the store.
        rejects: Rows that could not be used.
        phases: How long its parts took.
        cancel_asked: When somebody asked for its end.
        cancel_by: Who did.
        request_id: Of the request that made it.
    """

    id: int
    view: str
    state: str
    t: datetime | None
    full: bool
    reason: str
    trigger: str
    by: str
    revision: int
    generation: int
    started: datetime | None
    finished: datetime | None
    files: int
    rows_read: int
    written: int
    older: int
    held: int
    null_keys: int
    ties: int
    error: str
    asked_to: datetime | None
    asked_full: bool
    attempt: int
    retry_of: int
    queued: datetime | None
    bytes_read: int
    bytes_written: int
    rejects: tuple[Reject, ...]
    phases: tuple[Phase, ...]
    cancel_asked: datetime | None
    cancel_by: str
    request_id: str

    @property
    def took(self) -> timedelta | None:
        """How long it ran; None while it does."""
        return self.finished - self.started if self.started and self.finished else None


class Runs(Records[Run]):
    """Runs: those of a call in its order, else newest first."""

    kind: ClassVar[type[Record]] = Run
    shown: ClassVar[tuple[str, ...]] = ("id", "view", "state", "t", "reason", "rows_read", "written", "took", "error")


@dataclass(frozen=True, repr=False)
class PlannedFile(Record):
    """One file that a run would deal with.

    Attributes:
        path: The file.
        size: In bytes.
        why: "new", "changed", "deleted", "due" (held rows that t covers) or "again" (a rebuild reads it).
    """

    path: str
    size: int
    why: str


@dataclass(frozen=True, repr=False)
class RunPlan(Record):
    """What a run of one view would do.

    Attributes:
        view: The feature view.
        t: It would cover rows up to this instant.
        full: Whether it would fill a new generation.
        reason: As of Run.
        files: Those that it would read, and those that are no more.
        error: Why it can't be run.
    """

    view: str
    t: datetime | None
    full: bool
    reason: str
    files: tuple[PlannedFile, ...]
    error: str


class RunPlans(Records[RunPlan]):
    """What a materialize would do, per view."""

    kind: ClassVar[type[Record]] = RunPlan
    shown: ClassVar[tuple[str, ...]] = ("view", "t", "full", "reason", "files", "error")

    def _rows(self) -> list[list[Any]]:
        return [[p.view, p.t, p.full, p.reason, len(p.files), p.error] for p in self]


@dataclass(frozen=True, repr=False)
class ViewStatus(Record):
    """The truth about one view.

    Attributes:
        view: The feature view.
        state: "ok", "never", "queued", "running", "failed", "stale", "diverged", "lost", "unknown" or "offline".
        generation: The one that serves.
        written: Rows stored by its runs, updates of an entity included.
        t: It covers rows up to this instant.
        newest_event: The newest event time online.
        lag: How far that is behind now.
        newest_in_source: The newest that a run could bring now, as far as the files' statistics tell it.
        held: Rows dated after t.
        pending_files: New, changed or deleted since the last run.
        last_run: None where there is none.
        next_run: By the schedule.
        failures: Runs that failed since the last that succeeded.
        paused: Since when the schedule rests.
        paused_by: Who paused it.
        diverged: Since when rows of changed or deleted files may remain.
        error: What is wrong.
    """

    view: str
    state: str
    generation: int
    written: int
    t: datetime | None
    newest_event: datetime | None
    lag: timedelta | None
    newest_in_source: datetime | None
    held: int
    pending_files: int
    last_run: Run | None
    next_run: datetime | None
    failures: int
    paused: datetime | None
    paused_by: str
    diverged: datetime | None
    error: str


@dataclass(frozen=True, repr=False)
class DefinitionsStatus(Record):
    """How the registry stands to the repository or folder that a server takes definitions from.

    Attributes:
        source: Without user and password.
        state: "starting", "applied", "kept", "refused", "invalid" or "failed".
        message: Why it is not applied, or what differs.
        details: Problems with their positions, or what would break.
        seen: The newest commit, or the digest of a folder.
        seen_at: When the server first saw it.
        checked: When the source answered last.
        applied: The commit that was applied last.
        applied_at: When.
        revision: That it became.
        failures: Looks in a row that failed.
    """

    source: str
    state: str
    message: str
    details: tuple[str, ...]
    seen: str
    seen_at: datetime | None
    checked: datetime | None
    applied: str
    applied_at: datetime | None
    revision: int
    failures: int


class Status(Records[ViewStatus]):
    """The state of views.

    Attributes:
        definitions: How the registry stands to where the server takes definitions from; None for nowhere.
    """

    kind: ClassVar[type[Record]] = ViewStatus
    shown: ClassVar[tuple[str, ...]] = ("view", "state", "t", "newest_event", "lag", "pending_files", "last_run", "error")

    definitions: DefinitionsStatus | None = None

    def _rows(self) -> list[list[Any]]:
        return [
            [v.view, v.state, v.t, v.newest_event, v.lag, v.pending_files, v.last_run and v.last_run.finished, v.error]
            for v in self
        ]

    def _caption(self) -> str:
        d = self.definitions
        return "" if d is None else f"Definitions from {d.source}: {d.state}" + (f", {d.message}" if d.message else "")


@dataclass(frozen=True, repr=False)
class Difference(Record):
    """One cell that is not the same.

    Attributes:
        entity: "airport=JFK".
        feature: The feature.
        online: "12.5 PRESENT", "NOT_FOUND".
        offline: As history has it.
        kind: "wrong", "missing" (online has none) or "extra" (offline has none).
    """

    entity: str
    feature: str
    online: str
    offline: str
    kind: str


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """What a comparison of one view found. Equal, behind, wrong, missing and extra add up to the cells.

    Attributes:
        view: The feature view.
        t: The instant that it is complete up to.
        read_time: The instant that ttl was judged at.
        entities: That were compared.
        cells: Of them.
        equal: The same.
        behind: Equal to history as of t, where history has newer rows by now: a run brings them.
        wrong: Online has another value.
        missing: Online has none.
        extra: Offline has none.
        repaired: Entities whose rows were rewritten or removed, before the comparison.
        differences: The first of them.
        note: What is odd.
    """

    view: str
    t: datetime | None
    read_time: datetime | None
    entities: int
    cells: int
    equal: int
    behind: int
    wrong: int
    missing: int
    extra: int
    repaired: int
    differences: tuple[Difference, ...]
    note: str


class Verification(Records[Comparison]):
    """What is served, compared with what history says, per view."""

    kind: ClassVar[type[Record]] = Comparison
    shown: ClassVar[tuple[str, ...]] = (
        "view",
        "t",
        "entities",
        "cells",
        "equal",
        "behind",
        "wrong",
        "missing",
        "extra",
        "repaired",
        "note",
    )

    @property
    def equal(self) -> bool:
        """Whether nothing is wrong, missing or extra."""
        return not any(c.wrong or c.missing or c.extra for c in self)

    def _caption(self) -> str:
        return "Online equals offline" if self.equal else "Online differs from offline"

    def __repr__(self) -> str:
        """Returns a table of the views, and one of the first differences."""
        differences = [(c.view, d.entity, d.feature, d.online, d.offline, d.kind) for c in self for d in c.differences]
        if not differences:
            return super().__repr__()
        headers = ["view", "entity", "feature", "online", "offline", "kind"]
        return f"{super().__repr__()}\n\n{_tables.text_table(headers, differences)}"


@dataclass(frozen=True, repr=False)
class Pruned(Record):
    """One generation that was, or would be, removed.

    Attributes:
        generation: Its number.
        view: Empty where no record is left of it.
        why: "retired", "abandoned", "view deleted", "offline" or "unknown".
    """

    generation: int
    view: str
    why: str


class Prunes(Records[Pruned]):
    """What was, or would be, removed from the online store."""

    kind: ClassVar[type[Record]] = Pruned
    shown: ClassVar[tuple[str, ...]] = ("generation", "view", "why")


@dataclass(frozen=True, repr=False)
class Token(Record):
    """What is known of a token: everything but itself.

    Attributes:
        name: Its name.
        roles: "read-online", "read-offline", "write", "apply", "admin".
        created: When.
        created_by: Who made it.
        expires: None for never.
        revoked: None while it is valid.
        revoked_by: Who ended it.
    """

    name: str
    roles: tuple[str, ...]
    created: datetime | None
    created_by: str
    expires: datetime | None
    revoked: datetime | None
    revoked_by: str


class Tokens(Records[Token]):
    """Tokens, by name."""

    kind: ClassVar[type[Record]] = Token
    shown: ClassVar[tuple[str, ...]] = ("name", "roles", "created", "created_by", "expires", "revoked")


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
        why: Why it does not answer: "older_event_time", "earlier_created_time", "smaller_encoding"; empty for the first.
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


def timestamp(value: Instant | None, name: str) -> Timestamp | None:
    """Returns the message of an instant, None for none."""
    if value is None:
        return None
    seconds, rest = divmod(micros(value, name), 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def names(views: str | Sequence[str] | None) -> list[str]:
    """Returns names of views, of one or several; none for all."""
    if views is None:
        return []
    return [views] if isinstance(views, str) else list(views)


def number(value: int, name: str) -> int:
    """Returns a number that a request has room for; larger ones ask for all."""
    try:
        n = operator.index(value)
    except TypeError:
        raise InvalidError(f"{name} is {value!r}, no whole number", field=name) from None
    if n < 0:
        raise InvalidError(f"{name} is {n}: want 0 or more", field=name)
    return min(n, _INT32_MAX)


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


P = TypeVar("P", bound=_Page)


def pages(page: Callable[[int, str], P]) -> Iterator[P]:
    """Yields the pages of a list: ``page`` is called with the size of one and the token that the one before has for it."""
    token = ""
    while True:
        answer = page(_PAGE, token)
        yield answer
        if not answer.next_page_token:
            return
        if answer.next_page_token == token:
            raise InternalError("the server's answer is malformed: a page that leads to itself")
        token = answer.next_page_token


M = TypeVar("M", bound=Message)


def watched(
    answers: Iterator[M], show: Callable[[operations_pb2.Progress], None] | None, take: Callable[[M], None]
) -> None:
    """Takes the messages of a stream until it ends, and shows those that are progress."""
    for answer in answers:
        if not answer.HasField("progress"):
            take(answer)
        elif show is not None:
            show(answer.progress)  # type: ignore[attr-defined]


RunMessage = operations_pb2.MaterializeResponse | operations_pb2.RetryRunResponse


def runs_of(
    channel: Channel,
    method: str,
    request: operations_pb2.MaterializeRequest | operations_pb2.RetryRunRequest,
    response: type[Message],
    show: Callable[[operations_pb2.Progress], None] | None,
    timeout: float | None,
) -> Runs:
    """Makes a call that runs views, and makes it again where the connection is lost: what has begun is not run twice.

    Raises:
        ProvenderError: The call's, with the records of the runs that there were as a note.
    """
    request.request_id = request_id()
    pause, left, runs = _REPEAT_AFTER, _REPEATS, Runs()
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        got: list[Run] = []
        try:
            rest = None if end is None else max(end - time.monotonic(), 0)
            watched(
                channel.stream(method, request, response, timeout=rest),
                show,
                lambda m: got.append(record_of(Run, m.run)),  # noqa: B023 # type: ignore[attr-defined]
            )
            return Runs(got)
        except ProvenderError as e:
            runs = Runs(got) if got else runs
            if left == 0 or not _cut_off(e):
                if runs:
                    e.add_note(repr(runs))
                raise
        left -= 1
        time.sleep(pause)
        pause *= 2


def _cut_off(error: ProvenderError) -> bool:
    """Reports that a call ended without the server's own answer, which says when to try again."""
    return isinstance(error, UnavailableError) and error.retry_after is None


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
        raise InvalidError(
            f"key {name} is {type(value).__name__}: keys are integers or strings", field=field
        ) from None
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
        near_misses=tuple(
            NearMiss({k.name: _key(k) for k in near.keys}, near.rows) for near in message.near_misses
        ),
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


def _values(v: vector_pb2.Vector) -> list[Any]:
    values: list[Any]
    parts = [slice(a, b) for a, b in zip(v.offsets, v.offsets[1:], strict=False)]
    if v.list:
        elements = _values(v.elements)
        values = [elements[p] for p in parts]
    elif v.type in _FIELDS:
        values = list(getattr(v, _FIELDS[v.type]))
        if v.type == vector_pb2.VALUE_TYPE_TIMESTAMP:
            values = [instant(us) for us in values]
    else:
        values = [v.data[p] for p in parts]
        if v.type == vector_pb2.VALUE_TYPE_STRING:
            values = [b.decode(errors="replace") for b in values]
    if len(values) != v.length or (v.validity and len(v.validity) * 8 < v.length):
        raise InternalError("the server's answer is malformed: a vector of another length")
    if v.validity:
        values = [x if v.validity[i >> 3] >> (i & 7) & 1 else None for i, x in enumerate(values)]
    return values
