"""Arrow tables as frames of pandas and Polars, with exact types: the one place where that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from ._errors import ProvenderError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def to_pandas(table: pa.Table, *, index: Any = None, dtype_backend: Literal["pyarrow"] | None = None) -> pd.DataFrame:
    """Returns a table as a pandas frame.

    Integers and bools are of pandas' nullable types, so that a null does not make them floats. Floats are NumPy's, with
    NaN for null. Strings are pandas 3's, timestamps ``datetime64[us, UTC]``, lists Arrow's own type.

    Args:
        table: The table.
        index: The frame's index; None for 0, 1, …
        dtype_backend: "pyarrow" for Arrow's types throughout, which tell NaN from null.
    """
    pandas = _pandas()
    if dtype_backend not in (None, "pyarrow"):
        raise ValueError(f'dtype_backend is {dtype_backend!r}; it is None or "pyarrow"')
    exact = pandas.ArrowDtype if dtype_backend == "pyarrow" else _nullable(pandas)
    frame: pd.DataFrame = table.to_pandas(types_mapper=exact, ignore_metadata=True)
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


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Returns a table as a Polars frame."""
    try:
        import polars
    except ImportError as e:
        raise _missing("polars") from e
    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)  # of a table it always is
    return frame


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
