from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MaterializeRequest(_message.Message):
    __slots__ = ("views", "to", "full", "allow_future", "request_id")
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FUTURE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    to: _timestamp_pb2.Timestamp
    full: bool
    allow_future: bool
    request_id: str
    def __init__(self, views: _Optional[_Iterable[str]] = ..., to: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., full: bool = ..., allow_future: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class MaterializeResponse(_message.Message):
    __slots__ = ("progress", "run")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    run: Run
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("view", "stage", "done", "size")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    view: str
    stage: str
    done: int
    size: int
    def __init__(self, view: _Optional[str] = ..., stage: _Optional[str] = ..., done: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("id", "view", "revision", "generation", "trigger", "by", "state", "full", "reason", "t", "started", "finished", "files", "rows_read", "written", "older", "held", "null_keys", "ties", "error", "asked_to", "asked_full", "attempt", "retry_of", "queued", "bytes_read", "bytes_written", "rejects", "phases", "cancel_asked", "cancel_by", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    OLDER_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    NULL_KEYS_FIELD_NUMBER: _ClassVar[int]
    TIES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ASKED_TO_FIELD_NUMBER: _ClassVar[int]
    ASKED_FULL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    BYTES_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    REJECTS_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ASKED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_BY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    view: str
    revision: int
    generation: int
    trigger: str
    by: str
    state: str
    full: bool
    reason: str
    t: _timestamp_pb2.Timestamp
    started: _timestamp_pb2.Timestamp
    finished: _timestamp_pb2.Timestamp
    files: int
    rows_read: int
    written: int
    older: int
    held: int
    null_keys: int
    ties: int
    error: str
    asked_to: _timestamp_pb2.Timestamp
    asked_full: bool
    attempt: int
    retry_of: int
    queued: _timestamp_pb2.Timestamp
    bytes_read: int
    bytes_written: int
    rejects: _containers.RepeatedCompositeFieldContainer[Reject]
    phases: _containers.RepeatedCompositeFieldContainer[Phase]
    cancel_asked: _timestamp_pb2.Timestamp
    cancel_by: str
    request_id: str
    def __init__(self, id: _Optional[int] = ..., view: _Optional[str] = ..., revision: _Optional[int] = ..., generation: _Optional[int] = ..., trigger: _Optional[str] = ..., by: _Optional[str] = ..., state: _Optional[str] = ..., full: bool = ..., reason: _Optional[str] = ..., t: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., files: _Optional[int] = ..., rows_read: _Optional[int] = ..., written: _Optional[int] = ..., older: _Optional[int] = ..., held: _Optional[int] = ..., null_keys: _Optional[int] = ..., ties: _Optional[int] = ..., error: _Optional[str] = ..., asked_to: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., asked_full: bool = ..., attempt: _Optional[int] = ..., retry_of: _Optional[int] = ..., queued: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., bytes_read: _Optional[int] = ..., bytes_written: _Optional[int] = ..., rejects: _Optional[_Iterable[_Union[Reject, _Mapping]]] = ..., phases: _Optional[_Iterable[_Union[Phase, _Mapping]]] = ..., cancel_asked: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cancel_by: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class Reject(_message.Message):
    __slots__ = ("reason", "rows", "samples")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    reason: str
    rows: int
    samples: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reason: _Optional[str] = ..., rows: _Optional[int] = ..., samples: _Optional[_Iterable[str]] = ...) -> None: ...

class Phase(_message.Message):
    __slots__ = ("name", "took")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOOK_FIELD_NUMBER: _ClassVar[int]
    name: str
    took: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., took: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PlanMaterializeRequest(_message.Message):
    __slots__ = ("views", "to", "full", "allow_future")
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FUTURE_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    to: _timestamp_pb2.Timestamp
    full: bool
    allow_future: bool
    def __init__(self, views: _Optional[_Iterable[str]] = ..., to: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., full: bool = ..., allow_future: bool = ...) -> None: ...

class PlanMaterializeResponse(_message.Message):
    __slots__ = ("plans",)
    PLANS_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[RunPlan]
    def __init__(self, plans: _Optional[_Iterable[_Union[RunPlan, _Mapping]]] = ...) -> None: ...

class RunPlan(_message.Message):
    __slots__ = ("view", "t", "full", "reason", "files", "error")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    view: str
    t: _timestamp_pb2.Timestamp
    full: bool
    reason: str
    files: _containers.RepeatedCompositeFieldContainer[PlannedFile]
    error: str
    def __init__(self, view: _Optional[str] = ..., t: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., full: bool = ..., reason: _Optional[str] = ..., files: _Optional[_Iterable[_Union[PlannedFile, _Mapping]]] = ..., error: _Optional[str] = ...) -> None: ...

class PlannedFile(_message.Message):
    __slots__ = ("path", "size", "why")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    why: str
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class CancelRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class RetryRunRequest(_message.Message):
    __slots__ = ("id", "request_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    request_id: str
    def __init__(self, id: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryRunResponse(_message.Message):
    __slots__ = ("progress", "run")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    run: Run
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class PauseSchedulesRequest(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, views: _Optional[_Iterable[str]] = ...) -> None: ...

class PauseSchedulesResponse(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, views: _Optional[_Iterable[str]] = ...) -> None: ...

class ResumeSchedulesRequest(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, views: _Optional[_Iterable[str]] = ...) -> None: ...

class ResumeSchedulesResponse(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, views: _Optional[_Iterable[str]] = ...) -> None: ...

class PruneRequest(_message.Message):
    __slots__ = ("dry_run",)
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    def __init__(self, dry_run: bool = ...) -> None: ...

class PruneResponse(_message.Message):
    __slots__ = ("progress", "pruned")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    pruned: Pruned
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., pruned: _Optional[_Union[Pruned, _Mapping]] = ...) -> None: ...

class Pruned(_message.Message):
    __slots__ = ("generation", "view", "why")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    generation: int
    view: str
    why: str
    def __init__(self, generation: _Optional[int] = ..., view: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("views", "limit", "page_size", "page_token")
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    page_size: int
    page_token: str
    def __init__(self, views: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, views: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("views", "definitions")
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedCompositeFieldContainer[ViewStatus]
    definitions: Definitions
    def __init__(self, views: _Optional[_Iterable[_Union[ViewStatus, _Mapping]]] = ..., definitions: _Optional[_Union[Definitions, _Mapping]] = ...) -> None: ...

class Definitions(_message.Message):
    __slots__ = ("source", "state", "message", "details", "seen", "seen_at", "checked", "applied", "applied_at", "revision", "failures")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_AT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    source: str
    state: str
    message: str
    details: _containers.RepeatedScalarFieldContainer[str]
    seen: str
    seen_at: _timestamp_pb2.Timestamp
    checked: _timestamp_pb2.Timestamp
    applied: str
    applied_at: _timestamp_pb2.Timestamp
    revision: int
    failures: int
    def __init__(self, source: _Optional[str] = ..., state: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[str]] = ..., seen: _Optional[str] = ..., seen_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., checked: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., applied: _Optional[str] = ..., applied_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., failures: _Optional[int] = ...) -> None: ...

class ViewStatus(_message.Message):
    __slots__ = ("view", "state", "generation", "written", "t", "newest_event", "lag", "last_run", "next_run", "held", "pending_files", "error", "paused", "paused_by", "newest_in_source", "diverged", "failures")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_FIELD_NUMBER: _ClassVar[int]
    NEXT_RUN_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PENDING_FILES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_BY_FIELD_NUMBER: _ClassVar[int]
    NEWEST_IN_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DIVERGED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    view: str
    state: str
    generation: int
    written: int
    t: _timestamp_pb2.Timestamp
    newest_event: _timestamp_pb2.Timestamp
    lag: _duration_pb2.Duration
    last_run: Run
    next_run: _timestamp_pb2.Timestamp
    held: int
    pending_files: int
    error: str
    paused: _timestamp_pb2.Timestamp
    paused_by: str
    newest_in_source: _timestamp_pb2.Timestamp
    diverged: _timestamp_pb2.Timestamp
    failures: int
    def __init__(self, view: _Optional[str] = ..., state: _Optional[str] = ..., generation: _Optional[int] = ..., written: _Optional[int] = ..., t: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., newest_event: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., lag: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., last_run: _Optional[_Union[Run, _Mapping]] = ..., next_run: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., held: _Optional[int] = ..., pending_files: _Optional[int] = ..., error: _Optional[str] = ..., paused: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., paused_by: _Optional[str] = ..., newest_in_source: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., diverged: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., failures: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("views", "sample", "full", "now", "repair")
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedScalarFieldContainer[str]
    sample: int
    full: bool
    now: _timestamp_pb2.Timestamp
    repair: bool
    def __init__(self, views: _Optional[_Iterable[str]] = ..., sample: _Optional[int] = ..., full: bool = ..., now: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., repair: bool = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("progress", "report")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    report: VerifyReport
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., report: _Optional[_Union[VerifyReport, _Mapping]] = ...) -> None: ...

class VerifyReport(_message.Message):
    __slots__ = ("view", "t", "read_time", "entities", "cells", "equal", "wrong", "missing", "extra", "differences", "note", "behind", "repaired")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    EQUAL_FIELD_NUMBER: _ClassVar[int]
    WRONG_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    view: str
    t: _timestamp_pb2.Timestamp
    read_time: _timestamp_pb2.Timestamp
    entities: int
    cells: int
    equal: int
    wrong: int
    missing: int
    extra: int
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    note: str
    behind: int
    repaired: int
    def __init__(self, view: _Optional[str] = ..., t: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., read_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., entities: _Optional[int] = ..., cells: _Optional[int] = ..., equal: _Optional[int] = ..., wrong: _Optional[int] = ..., missing: _Optional[int] = ..., extra: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., note: _Optional[str] = ..., behind: _Optional[int] = ..., repaired: _Optional[int] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("entity", "feature", "online", "offline")
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    entity: str
    feature: str
    online: str
    offline: str
    def __init__(self, entity: _Optional[str] = ..., feature: _Optional[str] = ..., online: _Optional[str] = ..., offline: _Optional[str] = ..., **kwargs) -> None: ...
