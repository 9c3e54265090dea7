"""Spines in files, by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, dataset, ipc

from ._errors import InvalidError, NotFoundError

_KEY_TYPES = {"int64": pa.int64(), "string": pa.string()}


def is_dataset(spine: Any) -> bool:
    """Reports whether a spine is a dataset of pyarrow's, or a scanner of one."""
    return isinstance(spine, dataset.Dataset | dataset.Scanner)


def read(path: str, keys: dict[str, str]) -> pa.Table:
    """Reads a file, or a folder of Parquet files. CSV has the types of the keys in their columns."""
    try:
        suffix = Path(path.removesuffix(".gz")).suffix.lower()
        if suffix in (".csv", ".tsv"):
            return _csv(path, "\t" if suffix == ".tsv" else ",", keys)
        if suffix in (".arrow", ".feather", ".ipc"):
            return _arrow(path)
        hive = "hive" if Path(path).is_dir() else None
        return dataset.dataset(path, format="parquet", partitioning=hive).to_table()
    except FileNotFoundError as e:
        raise NotFoundError(
            f"there is no spine {path}", field="spine", fix="name it by a path from the folder you are in"
        ) from e
    except (pa.ArrowException, OSError, ValueError) as e:
        raise InvalidError(f"spine {path}: {e}", field="spine") from e


def _csv(path: str, delimiter: str, keys: dict[str, str]) -> pa.Table:
    """Reads text as ``provender export`` does: an empty field is null, one in quotes is not, keys have their types."""
    return csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(
            column_types={name: _KEY_TYPES[kind] for name, kind in keys.items()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _arrow(path: str) -> pa.Table:
    with pa.OSFile(path) as source:
        if source.read(6) == b"ARROW1":
            return ipc.open_file(source).read_all()
        source.seek(0)
        return ipc.open_stream(source).read_all()
