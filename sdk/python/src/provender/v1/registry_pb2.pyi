from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DefinitionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEFINITION_KIND_UNSPECIFIED: _ClassVar[DefinitionKind]
    DEFINITION_KIND_ENTITY: _ClassVar[DefinitionKind]
    DEFINITION_KIND_SOURCE: _ClassVar[DefinitionKind]
    DEFINITION_KIND_FEATURE_VIEW: _ClassVar[DefinitionKind]
    DEFINITION_KIND_FEATURE_SERVICE: _ClassVar[DefinitionKind]
DEFINITION_KIND_UNSPECIFIED: DefinitionKind
DEFINITION_KIND_ENTITY: DefinitionKind
DEFINITION_KIND_SOURCE: DefinitionKind
DEFINITION_KIND_FEATURE_VIEW: DefinitionKind
DEFINITION_KIND_FEATURE_SERVICE: DefinitionKind

class Definition(_message.Message):
    __slots__ = ("kind", "name", "json")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    kind: DefinitionKind
    name: str
    json: str
    def __init__(self, kind: _Optional[_Union[DefinitionKind, str]] = ..., name: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("number", "digest", "applied", "by", "commit", "tool", "summary", "rollback_of")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_OF_FIELD_NUMBER: _ClassVar[int]
    number: int
    digest: str
    applied: _timestamp_pb2.Timestamp
    by: str
    commit: str
    tool: str
    summary: str
    rollback_of: int
    def __init__(self, number: _Optional[int] = ..., digest: _Optional[str] = ..., applied: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., by: _Optional[str] = ..., commit: _Optional[str] = ..., tool: _Optional[str] = ..., summary: _Optional[str] = ..., rollback_of: _Optional[int] = ...) -> None: ...

class ListDefinitionsRequest(_message.Message):
    __slots__ = ("kind", "revision", "page_size", "page_token")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    kind: DefinitionKind
    revision: int
    page_size: int
    page_token: str
    def __init__(self, kind: _Optional[_Union[DefinitionKind, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDefinitionsResponse(_message.Message):
    __slots__ = ("revision", "definitions", "next_page_token")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    definitions: _containers.RepeatedCompositeFieldContainer[Definition]
    next_page_token: str
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., definitions: _Optional[_Iterable[_Union[Definition, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDefinitionRequest(_message.Message):
    __slots__ = ("kind", "name", "revision")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    kind: DefinitionKind
    name: str
    revision: int
    def __init__(self, kind: _Optional[_Union[DefinitionKind, str]] = ..., name: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class GetDefinitionResponse(_message.Message):
    __slots__ = ("revision", "definition")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    definition: Definition
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., definition: _Optional[_Union[Definition, _Mapping]] = ...) -> None: ...

class ListRevisionsRequest(_message.Message):
    __slots__ = ("limit", "page_size", "page_token")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    limit: int
    page_size: int
    page_token: str
    def __init__(self, limit: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRevisionsResponse(_message.Message):
    __slots__ = ("revisions", "next_page_token")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[Revision]
    next_page_token: str
    def __init__(self, revisions: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRevisionRequest(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class GetRevisionResponse(_message.Message):
    __slots__ = ("revision", "plan")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    plan: bytes
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., plan: _Optional[bytes] = ...) -> None: ...

class DefinitionFile(_message.Message):
    __slots__ = ("name", "content")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    content: bytes
    def __init__(self, name: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class Diagnostic(_message.Message):
    __slots__ = ("file", "line", "col", "code", "message", "hint")
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COL_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    file: str
    line: int
    col: int
    code: str
    message: str
    hint: str
    def __init__(self, file: _Optional[str] = ..., line: _Optional[int] = ..., col: _Optional[int] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...

class PlanDefinitionsRequest(_message.Message):
    __slots__ = ("files", "against")
    FILES_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[DefinitionFile]
    against: int
    def __init__(self, files: _Optional[_Iterable[_Union[DefinitionFile, _Mapping]]] = ..., against: _Optional[int] = ...) -> None: ...

class PlanDefinitionsResponse(_message.Message):
    __slots__ = ("plan", "problems", "warnings")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    problems: _containers.RepeatedCompositeFieldContainer[Diagnostic]
    warnings: _containers.RepeatedCompositeFieldContainer[Diagnostic]
    def __init__(self, plan: _Optional[bytes] = ..., problems: _Optional[_Iterable[_Union[Diagnostic, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[Diagnostic, _Mapping]]] = ...) -> None: ...

class PlanRollbackRequest(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class PlanRollbackResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    def __init__(self, plan: _Optional[bytes] = ...) -> None: ...

class ApplyPlanRequest(_message.Message):
    __slots__ = ("plan", "allow_breaking", "commit", "by")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_BREAKING_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    allow_breaking: bool
    commit: str
    by: str
    def __init__(self, plan: _Optional[bytes] = ..., allow_breaking: bool = ..., commit: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class ApplyPlanResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ...) -> None: ...
