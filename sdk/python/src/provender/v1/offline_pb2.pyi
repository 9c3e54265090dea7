from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from provender.v1 import online_pb2 as _online_pb2
from provender.v1 import vector_pb2 as _vector_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExportCommand(_message.Message):
    __slots__ = ("service", "features", "time", "time_unit", "timezone", "time_at", "progress")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIT_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    TIME_AT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    service: str
    features: _containers.RepeatedScalarFieldContainer[str]
    time: str
    time_unit: str
    timezone: str
    time_at: str
    progress: bool
    def __init__(self, service: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., time: _Optional[str] = ..., time_unit: _Optional[str] = ..., timezone: _Optional[str] = ..., time_at: _Optional[str] = ..., progress: bool = ...) -> None: ...

class ExportMessage(_message.Message):
    __slots__ = ("progress", "done")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    progress: ExportProgress
    done: ExportDone
    def __init__(self, progress: _Optional[_Union[ExportProgress, _Mapping]] = ..., done: _Optional[_Union[ExportDone, _Mapping]] = ...) -> None: ...

class ExportProgress(_message.Message):
    __slots__ = ("stage", "done", "size", "part")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    size: int
    part: float
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., size: _Optional[int] = ..., part: _Optional[float] = ...) -> None: ...

class ExportDone(_message.Message):
    __slots__ = ("revision", "rows", "columns", "reads", "warnings", "manifest")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    revision: int
    rows: int
    columns: _containers.RepeatedCompositeFieldContainer[ExportedColumn]
    reads: _containers.RepeatedCompositeFieldContainer[ExportedRead]
    warnings: _containers.RepeatedCompositeFieldContainer[ExportWarning]
    manifest: str
    def __init__(self, revision: _Optional[int] = ..., rows: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[ExportedColumn, _Mapping]]] = ..., reads: _Optional[_Iterable[_Union[ExportedRead, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[ExportWarning, _Mapping]]] = ..., manifest: _Optional[str] = ...) -> None: ...

class ExportedColumn(_message.Message):
    __slots__ = ("name", "present", "null", "expired", "not_found")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    NULL_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    NOT_FOUND_FIELD_NUMBER: _ClassVar[int]
    name: str
    present: int
    null: int
    expired: int
    not_found: int
    def __init__(self, name: _Optional[str] = ..., present: _Optional[int] = ..., null: _Optional[int] = ..., expired: _Optional[int] = ..., not_found: _Optional[int] = ...) -> None: ...

class ExportedRead(_message.Message):
    __slots__ = ("name", "present", "expired", "not_found", "ties", "newest_age", "oldest_age")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    NOT_FOUND_FIELD_NUMBER: _ClassVar[int]
    TIES_FIELD_NUMBER: _ClassVar[int]
    NEWEST_AGE_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    present: int
    expired: int
    not_found: int
    ties: int
    newest_age: int
    oldest_age: int
    def __init__(self, name: _Optional[str] = ..., present: _Optional[int] = ..., expired: _Optional[int] = ..., not_found: _Optional[int] = ..., ties: _Optional[int] = ..., newest_age: _Optional[int] = ..., oldest_age: _Optional[int] = ...) -> None: ...

class ExportWarning(_message.Message):
    __slots__ = ("code", "read", "text", "fix")
    CODE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    code: str
    read: str
    text: str
    fix: str
    def __init__(self, code: _Optional[str] = ..., read: _Optional[str] = ..., text: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...

class GetHistoricalFeaturesRequest(_message.Message):
    __slots__ = ("service", "features", "keys", "at")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    service: str
    features: _containers.RepeatedScalarFieldContainer[str]
    keys: _containers.RepeatedCompositeFieldContainer[_online_pb2.KeyColumn]
    at: _timestamp_pb2.Timestamp
    def __init__(self, service: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., keys: _Optional[_Iterable[_Union[_online_pb2.KeyColumn, _Mapping]]] = ..., at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetHistoricalFeaturesResponse(_message.Message):
    __slots__ = ("response",)
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    response: _online_pb2.GetFeaturesResponse
    def __init__(self, response: _Optional[_Union[_online_pb2.GetFeaturesResponse, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("view", "feature", "keys", "at", "candidates")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    view: str
    feature: str
    keys: _containers.RepeatedCompositeFieldContainer[_online_pb2.KeyColumn]
    at: _timestamp_pb2.Timestamp
    candidates: int
    def __init__(self, view: _Optional[str] = ..., feature: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[_online_pb2.KeyColumn, _Mapping]]] = ..., at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., candidates: _Optional[int] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("revision", "at", "value", "status", "is_default", "ttl", "has_created_times", "null_key", "before", "after", "rows_before", "rows_after", "null_event_times", "files", "rows_read", "rows_skipped", "null_keys", "first_event", "last_event", "matching", "near_misses", "online")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    HAS_CREATED_TIMES_FIELD_NUMBER: _ClassVar[int]
    NULL_KEY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    ROWS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ROWS_AFTER_FIELD_NUMBER: _ClassVar[int]
    NULL_EVENT_TIMES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_FIELD_NUMBER: _ClassVar[int]
    ROWS_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    NULL_KEYS_FIELD_NUMBER: _ClassVar[int]
    FIRST_EVENT_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_FIELD_NUMBER: _ClassVar[int]
    MATCHING_FIELD_NUMBER: _ClassVar[int]
    NEAR_MISSES_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    revision: int
    at: int
    value: _vector_pb2.Vector
    status: _vector_pb2.CellStatus
    is_default: bool
    ttl: _duration_pb2.Duration
    has_created_times: bool
    null_key: bool
    before: _containers.RepeatedCompositeFieldContainer[ExplainedRow]
    after: _containers.RepeatedCompositeFieldContainer[ExplainedRow]
    rows_before: int
    rows_after: int
    null_event_times: int
    files: int
    rows_read: int
    rows_skipped: int
    null_keys: int
    first_event: int
    last_event: int
    matching: _containers.RepeatedScalarFieldContainer[int]
    near_misses: _containers.RepeatedCompositeFieldContainer[NearMiss]
    online: Consumed
    def __init__(self, revision: _Optional[int] = ..., at: _Optional[int] = ..., value: _Optional[_Union[_vector_pb2.Vector, _Mapping]] = ..., status: _Optional[_Union[_vector_pb2.CellStatus, str]] = ..., is_default: bool = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., has_created_times: bool = ..., null_key: bool = ..., before: _Optional[_Iterable[_Union[ExplainedRow, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[ExplainedRow, _Mapping]]] = ..., rows_before: _Optional[int] = ..., rows_after: _Optional[int] = ..., null_event_times: _Optional[int] = ..., files: _Optional[int] = ..., rows_read: _Optional[int] = ..., rows_skipped: _Optional[int] = ..., null_keys: _Optional[int] = ..., first_event: _Optional[int] = ..., last_event: _Optional[int] = ..., matching: _Optional[_Iterable[int]] = ..., near_misses: _Optional[_Iterable[_Union[NearMiss, _Mapping]]] = ..., online: _Optional[_Union[Consumed, _Mapping]] = ...) -> None: ...

class ExplainedRow(_message.Message):
    __slots__ = ("value", "event_time", "created_time", "place", "copies", "copies_at", "why", "decided_by")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    COPIES_AT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    value: _vector_pb2.Vector
    event_time: int
    created_time: int
    place: RowPlace
    copies: int
    copies_at: _containers.RepeatedCompositeFieldContainer[RowPlace]
    why: str
    decided_by: str
    def __init__(self, value: _Optional[_Union[_vector_pb2.Vector, _Mapping]] = ..., event_time: _Optional[int] = ..., created_time: _Optional[int] = ..., place: _Optional[_Union[RowPlace, _Mapping]] = ..., copies: _Optional[int] = ..., copies_at: _Optional[_Iterable[_Union[RowPlace, _Mapping]]] = ..., why: _Optional[str] = ..., decided_by: _Optional[str] = ...) -> None: ...

class RowPlace(_message.Message):
    __slots__ = ("file", "row_group", "row")
    FILE_FIELD_NUMBER: _ClassVar[int]
    ROW_GROUP_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    file: str
    row_group: int
    row: int
    def __init__(self, file: _Optional[str] = ..., row_group: _Optional[int] = ..., row: _Optional[int] = ...) -> None: ...

class NearMiss(_message.Message):
    __slots__ = ("keys", "rows")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[_online_pb2.KeyColumn]
    rows: int
    def __init__(self, keys: _Optional[_Iterable[_Union[_online_pb2.KeyColumn, _Mapping]]] = ..., rows: _Optional[int] = ...) -> None: ...

class Consumed(_message.Message):
    __slots__ = ("state", "generation", "t", "run")
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    state: str
    generation: int
    t: _timestamp_pb2.Timestamp
    run: int
    def __init__(self, state: _Optional[str] = ..., generation: _Optional[int] = ..., t: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., run: _Optional[int] = ...) -> None: ...
