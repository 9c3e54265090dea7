"""The errors of calls: one class per kind of failure, made of what the server tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from .v1 import registry_pb2

_DETAILS = "grpc-status-details-bin"
_REFERENCE = re.compile(r"under reference (\w+)")


class ProvenderError(Exception):
    """A call that failed, or arguments that can't be used. Every error of this package is one.

    Attributes:
        code: The kind of failure, as all of Provender names it: "not_found".
        message: What is wrong, for people.
        field: The part of the request at fault, "keys.origin"; empty for none.
        fix: What to do about it, 'did you mean "delay_model"?'; empty where the server has no advice.
        retry_after: Seconds to wait before the call is made again; None for no advice.
        reference: Where the server's log has what is not shown; empty for none.
        diagnostics: The problems of definition files, where those were refused.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        fix: str = "",
        retry_after: float | None = None,
        reference: str = "",
        diagnostics: Sequence[registry_pb2.Diagnostic] = (),
    ) -> None:
        """Makes an error of a message and what else is known."""
        super().__init__(message)
        self.message = message
        self.field = field
        self.fix = fix
        self.retry_after = retry_after
        self.reference = reference
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        """Returns the message and the fix."""
        return f"{self.message} ({self.fix})" if self.fix and self.fix not in self.message else self.message

    def __reduce__(self) -> tuple[Callable[..., ProvenderError], tuple[object, ...]]:
        """Lets errors travel between processes."""
        known = (self.message, self.field, self.fix, self.retry_after, self.reference, self.diagnostics)
        return _remake, (type(self), *known)


def _remake(
    kind: type[ProvenderError],
    message: str,
    field: str,
    fix: str,
    retry_after: float | None,
    reference: str,
    diagnostics: Sequence[registry_pb2.Diagnostic],
) -> ProvenderError:
    return kind(message, field=field, fix=fix, retry_after=retry_after, reference=reference, diagnostics=diagnostics)


class InvalidError(ProvenderError, ValueError):
    """The request is wrong and stays so; ``field`` names the part."""

    code = "invalid"


class NotFoundError(ProvenderError, LookupError):
    """The named thing does not exist."""

    code = "not_found"


class ConflictError(ProvenderError):
    """The state moved since it was read: read again and retry."""

    code = "conflict"


class PreconditionError(ProvenderError):
    """The request is right, the state is not: materialize or apply first."""

    code = "precondition"


class UnavailableError(ProvenderError, ConnectionError):
    """The server or its store does not answer; retry after ``retry_after``."""

    code = "unavailable"


class ExhaustedError(ProvenderError):
    """A limit was reached; the message names it."""

    code = "exhausted"


class UnauthenticatedError(ProvenderError):
    """Who calls is not proven: no token, or one that is not valid."""

    code = "unauthenticated"


class DeniedError(ProvenderError, PermissionError):
    """Who calls may not do this."""

    code = "permission_denied"


class CanceledError(ProvenderError):
    """The call was cancelled."""

    code = "canceled"


class DeadlineError(ProvenderError, TimeoutError):
    """The call's deadline has passed."""

    code = "deadline_exceeded"


class UnimplementedError(ProvenderError, NotImplementedError):
    """The server does not offer the call: it is of another version."""

    code = "unimplemented"


class InternalError(ProvenderError):
    """A defect; ``reference`` says where the server's log has it."""

    code = "internal"


_CLASSES: dict[int, type[ProvenderError]] = {
    1: CanceledError,
    3: InvalidError,
    4: DeadlineError,
    5: NotFoundError,
    7: DeniedError,
    8: ExhaustedError,
    9: PreconditionError,
    10: ConflictError,
    11: InvalidError,
    12: UnimplementedError,
    14: UnavailableError,
    16: UnauthenticatedError,
}


def status_of(failure: grpc.RpcError) -> status_pb2.Status:
    """Returns the status of a failed call, with the server's details where it sent any."""
    trailing: Iterable[tuple[str, str | bytes]] = failure.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in trailing:
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status(code=failure.code().value[0], message=failure.details() or "")


def retry_after(status: status_pb2.Status) -> float | None:
    """Returns the seconds that the server asks to wait before a call is made again; None where it says nothing."""
    info = _detail(status, error_details_pb2.RetryInfo)
    return info.retry_delay.ToTimedelta().total_seconds() if info is not None else None


def from_status(status: status_pb2.Status) -> ProvenderError:
    """Returns the error that a status stands for."""
    info = _detail(status, error_details_pb2.ErrorInfo)
    request = _detail(status, error_details_pb2.BadRequest)
    fix = info.metadata.get("suggestion", "") if info is not None else ""
    message = status.message.removesuffix(f" ({fix})")
    if status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0] and "larger than max" in message and not fix:
        fix = "send several requests, or raise the server's limits.request_message"  # refused before the server sees it
    reference = _REFERENCE.search(message)
    return _CLASSES.get(status.code, InternalError)(
        message or f"the call failed with status {status.code}",
        field=request.field_violations[0].field if request is not None and request.field_violations else "",
        fix=fix,
        retry_after=retry_after(status),
        reference=reference[1] if reference else "",
    )


_Detail = TypeVar("_Detail", error_details_pb2.RetryInfo, error_details_pb2.ErrorInfo, error_details_pb2.BadRequest)


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            message = kind()
            try:
                packed.Unpack(message)
            except DecodeError:
                return None
            return message
    return None
