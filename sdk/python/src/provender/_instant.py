"""Instants: what callers write, and microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np

from ._errors import InvalidError

Instant: TypeAlias = datetime | np.datetime64 | str

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TEXT = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?")


def micros(value: Instant, field: str) -> int:
    """Returns the microseconds since 1970 of an instant; one without a zone is UTC, and one finer is rounded down.

    Args:
        value: A datetime, also pandas', a ``numpy.datetime64``, or text like "2001-06-30T18:00:00Z".
        field: The argument that it is of.
    """
    if isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise InvalidError(f"{field} {value!r} is no time", field=field, fix='write "2001-06-30T18:00:00Z"')
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError as e:
            raise InvalidError(f"{field} {value!r} is no time: {e}", field=field) from None
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise InvalidError(f"{field} is no time: NaT", field=field)
        return _floor(value)
    if not isinstance(value, datetime) or value != value:  # pandas' NaT is a datetime that equals nothing
        raise InvalidError(
            f"{field} {value!r} is no time", field=field, fix='give a datetime, or text like "2001-06-30T18:00:00Z"'
        )
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - EPOCH) // _MICROSECOND


def _floor(value: np.datetime64) -> int:
    unit, _ = np.datetime_data(value)
    if unit in ("ns", "ps", "fs", "as"):
        return int(value.astype("datetime64[ns]").astype(np.int64) // 1000)
    return int(value.astype("datetime64[us]").astype(np.int64))


def instant(micros: int) -> datetime:
    """Returns the datetime, in UTC, of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)
