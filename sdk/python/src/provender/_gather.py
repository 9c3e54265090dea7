"""Columns of a known length that come in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ._errors import InternalError


class Gather:
    """Takes record batches and makes one table of them.

    Values of fixed width are copied to where they stay, so that no more than a batch is there twice, and pandas can
    show the same memory.
    """

    def __init__(self, schema: pa.Schema, rows: int) -> None:
        """Makes room for all rows of the columns of a schema."""
        self.rows = 0
        self._all = rows
        self._schema = schema
        self._columns: list[_Column] = [_column(field.type, rows) for field in schema]

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes the next rows. The batch need not stay."""
        if self.rows + batch.num_rows > self._all:
            raise self._count(self.rows + batch.num_rows)
        for column, field in zip(self._columns, self._schema, strict=True):
            column.add(self.rows, batch.column(field.name))
        self.rows += batch.num_rows

    def finish(self) -> pa.Table:
        """Returns the table: where a value of fixed width is null, its place holds NaN, NaT or 0."""
        if self.rows != self._all:
            raise self._count(self.rows)
        return pa.table([column.finish() for column in self._columns], schema=self._schema)

    def _count(self, rows: int) -> InternalError:
        return InternalError(f"the server answers {rows} rows to a spine of {self._all}")


def _column(kind: pa.DataType, rows: int) -> _Column:
    if pa.types.is_floating(kind) and kind != pa.float16():
        return _Fixed(kind, rows, kind.to_pandas_dtype(), np.nan)
    if pa.types.is_integer(kind):
        return _Fixed(kind, rows, kind.to_pandas_dtype(), 0)
    if pa.types.is_timestamp(kind):
        return _Fixed(kind, rows, np.int64, np.iinfo(np.int64).min)
    return _Pieces(kind)


class _Column:
    def add(self, at: int, piece: pa.Array) -> None:
        raise NotImplementedError

    def finish(self) -> pa.ChunkedArray:
        raise NotImplementedError


class _Fixed(_Column):
    def __init__(self, kind: pa.DataType, rows: int, dtype: Any, null: float) -> None:
        self._kind = kind
        self._values = np.empty(rows, dtype)
        self._nulls: npt.NDArray[np.bool_] | None = None  # while there are none
        self._null = null

    def add(self, at: int, piece: pa.Array) -> None:
        rows = len(piece)
        if rows == 0:
            return
        part = self._values[at : at + rows]
        if piece.null_count < rows:
            part[:] = np.frombuffer(piece.buffers()[1], part.dtype, rows, piece.offset * part.itemsize)
        if piece.null_count:
            if self._nulls is None:
                self._nulls = np.zeros(len(self._values), np.bool_)
            nulls = piece.is_null().to_numpy(zero_copy_only=False)
            self._nulls[at : at + rows] = nulls
            part[nulls] = self._null

    def finish(self) -> pa.ChunkedArray:
        valid, count = None, 0
        if self._nulls is not None:
            count = int(self._nulls.sum())
            valid = pa.py_buffer(np.packbits(~self._nulls, bitorder="little"))
        buffers = [valid, pa.py_buffer(self._values)]
        return pa.chunked_array([pa.Array.from_buffers(self._kind, len(self._values), buffers, count)])


class _Pieces(_Column):
    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._pieces: list[pa.Array] = []

    def add(self, at: int, piece: pa.Array) -> None:  # noqa: ARG002
        # A copy: a batch's columns share memory, all of which would stay.
        self._pieces.append(pa.concat_arrays([piece]))

    def finish(self) -> pa.ChunkedArray:
        return pa.chunked_array(self._pieces, self._kind)
