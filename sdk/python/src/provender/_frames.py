"""Arrow tables as data frames, with exact types: the one place where that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from ._errors import InvalidError, ProvenderError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

DtypeBackend = Literal["pyarrow"] | None
"""How pandas has a column: None for its own types, whose floats can't tell a null from NaN; "pyarrow" for Arrow's."""


class MissingPackageError(ProvenderError, ImportError):
    """A package that is not required is missing."""

    code = "precondition"


def to_pandas(table: pa.Table, *, dtype_backend: DtypeBackend = None) -> pd.DataFrame:
    """Returns a table for pandas, with the index that its pandas metadata tells of.

    Integers and booleans are nullable whether there are nulls or not, so that a column's type does not depend on its
    values. Strings are pandas 3's, also in pandas 2; lists are Arrow's own type, which keeps that of their elements.
    """
    frame: pd.DataFrame = table.to_pandas(types_mapper=_mapper(dtype_backend))
    return frame


def share(table: pa.Table, index: Any, *, dtype_backend: DtypeBackend = None) -> pd.DataFrame:
    """Returns a table for pandas on the table's own memory, where a column is of one piece and its type allows.

    The frame itself is not for users, but one made of it: pandas copies what is written to there while this one lives.
    """
    import pandas as pd

    columns = {name: _series(table[name], index, dtype_backend) for name in table.column_names}
    return pd.DataFrame(columns, index=index, columns=pd.Index(table.column_names, dtype=object), copy=False)


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Returns a table for Polars, on the same memory where its types allow."""
    try:
        import polars as pl
    except ImportError as e:
        raise _missing("polars") from e
    frame = pl.from_arrow(table, rechunk=False)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table became a series")  # Polars does not say which of both it returns
    return frame


def _mapper(dtype_backend: DtypeBackend) -> Any:
    try:
        import pandas as pd
    except ImportError as e:
        raise _missing("pandas") from e
    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    if dtype_backend is not None:
        raise InvalidError(
            f"unknown dtype_backend {dtype_backend!r}", field="dtype_backend", fix='use "pyarrow" or None'
        )
    plain = {
        pa.bool_(): pd.BooleanDtype(),
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.string(): _string(pd),
        pa.large_string(): _string(pd),
        pa.string_view(): _string(pd),
    }
    return lambda kind: pd.ArrowDtype(kind) if pa.types.is_nested(kind) else plain.get(kind)


def _string(pandas: Any) -> Any:
    try:
        return pandas.StringDtype("pyarrow", na_value=np.nan)
    except TypeError:  # before pandas 2.3
        return pandas.StringDtype("pyarrow_numpy")


def _missing(package: str) -> MissingPackageError:
    return MissingPackageError(f"{package} is not installed", fix=f"pip install 'provender[{package}]'")


def _series(column: pa.ChunkedArray, index: Any, dtype_backend: DtypeBackend) -> pd.Series[Any]:
    import pandas as pd

    kind = column.type
    one = column.chunk(0) if column.num_chunks == 1 else None
    if dtype_backend is None and one is not None:
        if pa.types.is_integer(kind):
            values = _values(one, kind.to_pandas_dtype())
            return pd.Series(pd.arrays.IntegerArray(values, _nulls(one), copy=False), index=index, copy=False)
        if kind in (pa.float32(), pa.float64()):
            values = _filled(one, kind.to_pandas_dtype(), np.nan)
            return pd.Series(values, index=index, copy=False)
        if pa.types.is_timestamp(kind) and kind.tz in (None, "UTC"):
            times = _filled(one, np.int64, np.iinfo(np.int64).min).view(f"M8[{kind.unit}]")
            dates = pd.DatetimeIndex(times, copy=False)
            return pd.Series(dates if kind.tz is None else dates.tz_localize("UTC"), index=index, copy=False)
    frame: pd.DataFrame = pa.table([column], names=["x"]).to_pandas(types_mapper=_mapper(dtype_backend))
    series: pd.Series[Any] = frame["x"]
    series.index = index
    return series


def _values(array: pa.Array, dtype: Any) -> Any:
    """Returns what an array of fixed width holds, without a copy; where it is null, anything."""
    if len(array) == 0:
        return np.empty(0, dtype)
    width = np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * width)


def _nulls(array: pa.Array) -> Any:
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else np.zeros(len(array), np.bool_)


def _filled(array: pa.Array, dtype: Any, null: float) -> Any:
    """Returns what an array holds, and ``null`` where it is null: without a copy where that stands there already."""
    values = _values(array, dtype)
    if array.null_count == 0:
        return values
    nulls = _nulls(array)
    there = values[nulls]
    if np.isnan(there).all() if np.isnan(null) else (there == null).all():
        return values
    values = values.copy()
    values[nulls] = null
    return values
