"""Records of operations: runs, the state of views, comparisons, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from . import _tables
from ._records import Record, Records


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
    shown: ClassVar[tuple[str, ...]] = (
        "view",
        "state",
        "t",
        "newest_event",
        "lag",
        "pending_files",
        "last_run",
        "error",
    )

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
