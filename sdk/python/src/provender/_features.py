"""The result of a lookup."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from . import _frames, _tables
from ._columns import NO_EVENT, STATUSES, TIMESTAMP, Answer, Column, python_values
from ._errors import InvalidError
from ._instant import instant
from ._request import Keys

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import polars as pl

_EXACT_IN_FLOAT = 1 << 53
_SHOWN = 3  # entities, where a result is printed


@dataclass(frozen=True)
class ViewRead:
    """Which data answered for one view under one binding of its keys.

    Attributes:
        name: The feature view.
        generation: The generation of it that answered; 0 for history.
        t: The generation holds the newest rows up to this instant; None for history.
    """

    name: str
    generation: int
    t: datetime | None


class Features:
    """The features of some entities: one row per entity, in the request's order.

    Example:
        >>> entities = {"origin": ["JFK"], "destination": ["SFO"]}
        >>> features = store.get_features(service="delay_model_v1", entities=entities)
        >>> features["distance"].to_pylist()
        [2586]
        >>> features.statuses["distance"].to_pylist()
        ['PRESENT']
    """

    def __init__(self, answer: Answer, keys: Keys) -> None:
        """Makes a result of a decoded answer and the keys that were asked for."""
        self._answer = answer
        self._keys = keys

    @property
    def names(self) -> list[str]:
        """The features' names, in the service's order."""
        return [layout.name for layout, _ in self._answer.columns]

    @property
    def read_time(self) -> datetime:
        """The instant that ttl was judged at."""
        return instant(self._answer.read_time)

    @property
    def fixed_read_time(self) -> bool:
        """Whether the read time was fixed, by the server's ``--now`` or by the request."""
        return self._answer.fixed_read_time

    @property
    def revision(self) -> int:
        """The revision of the definitions that answered."""
        return self._answer.revision

    @property
    def views(self) -> list[ViewRead]:
        """Which data answered, per view and binding of its keys."""
        return [
            ViewRead(view.name, view.generation, instant(view.t) if view.generation else None)
            for view in self._answer.views
        ]

    @functools.cached_property
    def statuses(self) -> pa.Table:
        """Why each value is what it is: PRESENT, NULL, EXPIRED, NOT_FOUND or ERROR, in a table of the same shape."""
        return self._table(lambda column: column.statuses())

    @functools.cached_property
    def event_times(self) -> pa.Table:
        """The event time of the row that each value is from, null for none, in a table of the same shape."""
        views = [self._events(i) for i in range(len(self._answer.views))]
        return self._table(lambda column: views[column.layout.view])

    def _events(self, i: int) -> pa.Array:
        events = self._answer.views[i].events
        if events is None and self._answer.rows > 0:
            raise InvalidError(
                "event times were not asked for", field="event_times", fix="get_features(…, event_times=True)"
            )
        events = np.empty(0, np.int64) if events is None else events
        return pa.array(events, TIMESTAMP, mask=events == NO_EVENT)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return self._answer.rows

    def __iter__(self) -> Iterator[str]:
        """Iterates over the features' names."""
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        """Reports whether there is a feature of a name."""
        return name in self.names

    def __getitem__(self, name: str) -> pa.Array:
        """Returns the values of one feature as an Arrow array."""
        for i, (layout, _) in enumerate(self._answer.columns):
            if layout.name == name:
                return self._answer.column(i).arrow()
        raise KeyError(name)

    def to_dict(self, *, keys: bool = False) -> dict[str, list[Any]]:
        """Returns the values as Python has them, by name, None for null.

        Args:
            keys: Begins with the entities' keys.
        """
        out: dict[str, list[Any]] = {}
        if keys:
            table = self._key_table()
            out = {name: table.column(name).to_pylist() for name in table.column_names}
        for column in self._columns():
            out[column.layout.name] = column.python()
        return out

    def to_arrow(self, *, keys: bool = False) -> pa.Table:
        """Returns the values as an Arrow table.

        Args:
            keys: Begins with the entities' keys.
        """
        table = self._table(lambda column: column.arrow())
        if not keys:
            return table
        before = self._key_table()
        return pa.table([*before.columns, *table.columns], schema=pa.schema([*before.schema, *table.schema]))

    def to_pandas(self, *, keys: bool = False, dtype_backend: _frames.DtypeBackend = None) -> pd.DataFrame:
        """Returns the values as a pandas frame, with the index of the frame that the entities were given as.

        Integers and bools are nullable (Int64, boolean), strings are pandas' own, timestamps are
        ``datetime64[us, UTC]``, and null floats are NaN.

        Args:
            keys: Begins with the entities' keys.
            dtype_backend: "pyarrow" for Arrow's types, which tell NaN from null.
        """
        frame = _frames.to_pandas(self.to_arrow(keys=keys), dtype_backend=dtype_backend)
        if self._keys.index is not None:
            frame.index = self._keys.index
        return frame

    def to_polars(self, *, keys: bool = False) -> pl.DataFrame:
        """Returns the values as a Polars frame.

        Args:
            keys: Begins with the entities' keys.
        """
        return _frames.to_polars(self.to_arrow(keys=keys))

    def to_numpy(self, dtype: npt.DTypeLike | None = None) -> np.ndarray[Any, Any]:
        """Returns numbers as a matrix: one row per entity, one column per feature, as models take them.

        Args:
            dtype: The matrix's type. None for the features' own where they have one and no nulls, else float64, with
                NaN for null.

        Raises:
            InvalidError: Where a feature is neither a number nor a bool, or has values that the matrix can't hold: as
                integers beyond 2^53 beside floats, unless ``dtype`` asks for floats.
        """
        matrix = self._matrix()
        if dtype is not None:
            chosen = np.dtype(dtype)
        else:
            kinds = {numbers.dtype for _, numbers, _ in matrix}
            nulls = any(rows for _, numbers, rows in matrix if numbers.dtype.kind != "f")
            chosen = kinds.pop() if len(kinds) == 1 and not nulls else np.dtype(np.float64)
        out = np.empty((self._answer.rows, len(matrix)), chosen)
        for i, (name, numbers, rows) in enumerate(matrix):
            if rows and chosen.kind != "f":
                raise InvalidError(
                    f"feature {name} has nulls, which {chosen} can't hold", field="dtype", fix="take floats"
                )
            if not _holds(chosen, numbers, asked=dtype is not None):
                raise InvalidError(
                    f"feature {name} is {numbers.dtype}, and has values that {chosen} can't hold",
                    field="dtype",
                    fix="to_numpy(dtype=float) rounds integers, to_arrow() keeps all as they are",
                )
            out[:, i] = numbers
            if rows:
                out[rows, i] = np.nan
        return out

    def _matrix(self) -> list[tuple[str, np.ndarray[Any, Any], list[int]]]:
        out = []
        for column in self._columns():
            numbers = column.numbers()
            if numbers is None:
                raise InvalidError(
                    f"feature {column.layout.name} is {column.layout.vector.named}, not a number",
                    field=column.layout.name,
                    fix="ask for features that are numbers, or take to_pandas()",
                )
            out.append((column.layout.name, numbers, column.nulls()))
        return out

    def _columns(self) -> Iterator[Column]:
        for i in range(len(self._answer.columns)):
            yield self._answer.column(i)

    def _table(self, of: Any) -> pa.Table:
        return pa.table([of(column) for column in self._columns()], names=self.names)

    def _key_table(self) -> pa.Table:
        table = self._keys.table()
        for name in table.column_names:
            if name in self:
                raise InvalidError(f"a key and a feature are both named {name}", field="keys", fix="leave keys out")
        return table

    def __repr__(self) -> str:
        """Returns a table of features, with the values of the first entities."""
        return f"{self._title()}\n{_tables.text_table(*self._shown())}"

    def _repr_html_(self) -> str:
        return _tables.html_table(*self._shown(), caption=self._title())

    def _title(self) -> str:
        rows = self._answer.rows
        entities = "1 entity" if rows == 1 else f"{rows:,} entities"
        return f"Features of {entities} at {_tables.instant(self.read_time)}, revision {self.revision}"

    def _shown(self) -> tuple[list[str], list[list[Any]]]:
        first = min(self._answer.rows, _SHOWN)
        labels = [", ".join(map(_tables.cell, row.values())) for row in self._keys.table().slice(0, first).to_pylist()]
        rows: list[list[Any]] = []
        for column in self._columns():
            values = python_values(column.arrow().slice(0, first), column.layout.name)
            codes = column.status_codes()
            counts = ((codes.count(code), status) for code, status in enumerate(STATUSES))
            statuses = ", ".join(f"{count:,} {status}" for count, status in counts if count)
            rows.append([column.layout.name, column.layout.vector.named, *values, statuses])
        return ["feature", "type", *(labels or ["value"] * first), "statuses"], rows


def _holds(dtype: np.dtype[Any], numbers: np.ndarray[Any, Any], *, asked: bool) -> bool:
    """Reports that a matrix can hold numbers: exactly, or as a float where that was asked for."""
    if dtype.kind == "f":
        if asked or numbers.dtype.kind in "fb" or numbers.dtype.itemsize < 8:
            return True
        return not bool(((numbers > _EXACT_IN_FLOAT) | (numbers < -_EXACT_IN_FLOAT)).any())
    if dtype.kind not in "iub" or numbers.dtype.kind == "f":
        return False
    return bool((numbers.astype(dtype) == numbers).all())
