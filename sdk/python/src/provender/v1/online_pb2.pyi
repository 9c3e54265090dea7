from provender.v1 import vector_pb2 as _vector_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamFeaturesRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: GetFeaturesRequest
    def __init__(self, request: _Optional[_Union[GetFeaturesRequest, _Mapping]] = ...) -> None: ...

class StreamFeaturesResponse(_message.Message):
    __slots__ = ("response",)
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    response: GetFeaturesResponse
    def __init__(self, response: _Optional[_Union[GetFeaturesResponse, _Mapping]] = ...) -> None: ...

class GetFeaturesRequest(_message.Message):
    __slots__ = ("service", "features", "keys", "event_times", "read_time")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    service: str
    features: _containers.RepeatedScalarFieldContainer[str]
    keys: _containers.RepeatedCompositeFieldContainer[KeyColumn]
    event_times: bool
    read_time: int
    def __init__(self, service: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., keys: _Optional[_Iterable[_Union[KeyColumn, _Mapping]]] = ..., event_times: bool = ..., read_time: _Optional[int] = ...) -> None: ...

class KeyColumn(_message.Message):
    __slots__ = ("name", "int64s", "strings", "nulls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INT64S_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    int64s: _containers.RepeatedScalarFieldContainer[int]
    strings: _containers.RepeatedScalarFieldContainer[str]
    nulls: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, name: _Optional[str] = ..., int64s: _Optional[_Iterable[int]] = ..., strings: _Optional[_Iterable[str]] = ..., nulls: _Optional[_Iterable[bool]] = ...) -> None: ...

class GetFeaturesResponse(_message.Message):
    __slots__ = ("read_time", "fixed_read_time", "revision", "rows", "columns", "views")
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    FIXED_READ_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    read_time: int
    fixed_read_time: bool
    revision: int
    rows: int
    columns: _containers.RepeatedCompositeFieldContainer[FeatureColumn]
    views: _containers.RepeatedCompositeFieldContainer[ViewRead]
    def __init__(self, read_time: _Optional[int] = ..., fixed_read_time: bool = ..., revision: _Optional[int] = ..., rows: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[FeatureColumn, _Mapping]]] = ..., views: _Optional[_Iterable[_Union[ViewRead, _Mapping]]] = ...) -> None: ...

class FeatureColumn(_message.Message):
    __slots__ = ("name", "values", "statuses", "view")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _vector_pb2.Vector
    statuses: bytes
    view: int
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Union[_vector_pb2.Vector, _Mapping]] = ..., statuses: _Optional[bytes] = ..., view: _Optional[int] = ...) -> None: ...

class ViewRead(_message.Message):
    __slots__ = ("view", "generation", "t", "event_times")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_FIELD_NUMBER: _ClassVar[int]
    view: str
    generation: int
    t: int
    event_times: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, view: _Optional[str] = ..., generation: _Optional[int] = ..., t: _Optional[int] = ..., event_times: _Optional[_Iterable[int]] = ...) -> None: ...
