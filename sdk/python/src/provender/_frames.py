"""Arrow tables as frames of pandas and Polars, with exact types: the one place where that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._errors import ProvenderError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def to_pandas(
    table: pa.Table,
    *,
    index: Any = None,
    dtype_backend: Literal["pyarrow"] | None = None,
    metadata: bool = False,
) -> pd.DataFrame:
    """Returns a table as a pandas frame.

    Integers and bools are of pandas' nullable types, so that a null does not make them floats. Floats are NumPy's, with
    NaN for null. Strings are pandas 3's, timestamps ``datetime64[us, UTC]``, lists Arrow's own type.

    Args:
        table: The table.
        index: The frame's index; None for 0, 1, …
        dtype_backend: "pyarrow" for Arrow's types throughout, which tell NaN from null.
        metadata: Whether pandas' own notes in the table count, which tell of an index.
    """
    pandas = _pandas()
    if dtype_backend not in (None, "pyarrow"):
        raise ValueError(f'dtype_backend is {dtype_backend!r}; it is None or "pyarrow"')
    exact = pandas.ArrowDtype if dtype_backend == "pyarrow" else _nullable(pandas)
    frame: pd.DataFrame = table.to_pandas(types_mapper=exact, ignore_metadata=not metadata)
    if index is not None:
        frame.index = index
    return frame


def _nullable(pandas: Any) -> Any:
    """Returns the function from Arrow's types to pandas' that to_pandas documents."""
    plain = {
        pa.bool_(): pandas.BooleanDtype(),
        pa.int8(): pandas.Int8Dtype(),
        pa.int16(): pandas.Int16Dtype(),
        pa.int32(): pandas.Int32Dtype(),
        pa.int64(): pandas.Int64Dtype(),
        pa.uint8(): pandas.UInt8Dtype(),
        pa.uint16(): pandas.UInt16Dtype(),
        pa.uint32(): pandas.UInt32Dtype(),
        pa.uint64(): pandas.UInt64Dtype(),
    }
    string = _string(pandas)

    def exact(kind: pa.DataType) -> Any:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return string
        if pa.types.is_nested(kind):
            return pandas.ArrowDtype(kind)
        return plain.get(kind)

    return exact


def _string(pandas: Any) -> Any:
    try:
        return pandas.StringDtype("pyarrow", na_value=float("nan"))
    except TypeError:  # before pandas 2.3
        return pandas.StringDtype("pyarrow_numpy")


def share(table: pa.Table, index: Any, *, dtype_backend: Literal["pyarrow"] | None = None) -> pd.DataFrame:
    """Returns a table as a pandas frame on the table's own memory, where a column is of one piece and its type allows.

    It is not for users, but frames made of it are: pandas copies what is written to there, as long as this one lives.
    """
    pandas = _pandas()
    columns = {name: _series(table[name], index, dtype_backend) for name in table.column_names}
    frame: pd.DataFrame = pandas.DataFrame(columns, index=index, copy=False)
    return frame


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Returns a table as a Polars frame."""
    try:
        import polars
    except ImportError as e:
        raise _missing("polars") from e
    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)  # of a table it always is
    return frame


def _series(column: pa.ChunkedArray, index: Any, dtype_backend: Literal["pyarrow"] | None) -> pd.Series[Any]:
    values = _shared(column) if dtype_backend is None and column.num_chunks == 1 else None
    if values is None:
        return to_pandas(pa.table([column], names=["x"]), index=index, dtype_backend=dtype_backend)["x"]
    series: pd.Series[Any] = _pandas().Series(values, index=index, copy=False)
    return series


def _shared(column: pa.ChunkedArray) -> Any:
    """Returns a column of one piece as pandas has it, without a copy; None where its type has none."""
    pandas, kind, array = _pandas(), column.type, column.chunk(0)
    if pa.types.is_integer(kind):
        return pandas.arrays.IntegerArray(_values(array, kind.to_pandas_dtype()), _nulls(array), copy=False)
    if kind in (pa.float32(), pa.float64()):
        return _filled(array, kind.to_pandas_dtype(), np.nan)
    if pa.types.is_timestamp(kind) and kind.tz in (None, "UTC"):
        times = _filled(array, np.int64, np.iinfo(np.int64).min).view(f"M8[{kind.unit}]")
        dates = pandas.DatetimeIndex(times, copy=False)
        return dates if kind.tz is None else dates.tz_localize("UTC")
    return None


def _values(array: pa.Array, dtype: Any) -> Any:
    """Returns what an array of fixed width holds, without a copy; where it is null, anything."""
    if len(array) == 0:
        return np.empty(0, dtype)
    width = np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * width)


def _nulls(array: pa.Array) -> Any:
    return pc.is_null(array).to_numpy(zero_copy_only=False) if array.null_count else np.zeros(len(array), np.bool_)


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


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as e:
        raise _missing("pandas") from e
    return pandas


class MissingPackageError(ProvenderError, ImportError):
    """A package that is not required is missing."""

    code = "precondition"


def _missing(package: str) -> MissingPackageError:
    return MissingPackageError(f"{package} is not installed", fix=f"pip install 'provender[{package}]'")
