from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValueType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VALUE_TYPE_UNSPECIFIED: _ClassVar[ValueType]
    VALUE_TYPE_BOOL: _ClassVar[ValueType]
    VALUE_TYPE_INT32: _ClassVar[ValueType]
    VALUE_TYPE_INT64: _ClassVar[ValueType]
    VALUE_TYPE_FLOAT32: _ClassVar[ValueType]
    VALUE_TYPE_FLOAT64: _ClassVar[ValueType]
    VALUE_TYPE_STRING: _ClassVar[ValueType]
    VALUE_TYPE_BYTES: _ClassVar[ValueType]
    VALUE_TYPE_TIMESTAMP: _ClassVar[ValueType]

class CellStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CELL_STATUS_UNSPECIFIED: _ClassVar[CellStatus]
    CELL_STATUS_PRESENT: _ClassVar[CellStatus]
    CELL_STATUS_NULL: _ClassVar[CellStatus]
    CELL_STATUS_EXPIRED: _ClassVar[CellStatus]
    CELL_STATUS_NOT_FOUND: _ClassVar[CellStatus]
    CELL_STATUS_ERROR: _ClassVar[CellStatus]
VALUE_TYPE_UNSPECIFIED: ValueType
VALUE_TYPE_BOOL: ValueType
VALUE_TYPE_INT32: ValueType
VALUE_TYPE_INT64: ValueType
VALUE_TYPE_FLOAT32: ValueType
VALUE_TYPE_FLOAT64: ValueType
VALUE_TYPE_STRING: ValueType
VALUE_TYPE_BYTES: ValueType
VALUE_TYPE_TIMESTAMP: ValueType
CELL_STATUS_UNSPECIFIED: CellStatus
CELL_STATUS_PRESENT: CellStatus
CELL_STATUS_NULL: CellStatus
CELL_STATUS_EXPIRED: CellStatus
CELL_STATUS_NOT_FOUND: CellStatus
CELL_STATUS_ERROR: CellStatus

class Vector(_message.Message):
    __slots__ = ("type", "list", "length", "validity", "bools", "int32s", "int64s", "float32s", "float64s", "offsets", "data", "elements")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    INT32S_FIELD_NUMBER: _ClassVar[int]
    INT64S_FIELD_NUMBER: _ClassVar[int]
    FLOAT32S_FIELD_NUMBER: _ClassVar[int]
    FLOAT64S_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    type: ValueType
    list: bool
    length: int
    validity: bytes
    bools: _containers.RepeatedScalarFieldContainer[bool]
    int32s: _containers.RepeatedScalarFieldContainer[int]
    int64s: _containers.RepeatedScalarFieldContainer[int]
    float32s: _containers.RepeatedScalarFieldContainer[float]
    float64s: _containers.RepeatedScalarFieldContainer[float]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    elements: Vector
    def __init__(self, type: _Optional[_Union[ValueType, str]] = ..., list: bool = ..., length: _Optional[int] = ..., validity: _Optional[bytes] = ..., bools: _Optional[_Iterable[bool]] = ..., int32s: _Optional[_Iterable[int]] = ..., int64s: _Optional[_Iterable[int]] = ..., float32s: _Optional[_Iterable[float]] = ..., float64s: _Optional[_Iterable[float]] = ..., offsets: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ..., elements: _Optional[_Union[Vector, _Mapping]] = ...) -> None: ...
