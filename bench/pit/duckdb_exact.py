"""Joins a workload with exact.sql, or compares two training sets.

usage: duckdb_exact.py join FOLDER SPINE OUT THREADS
       duckdb_exact.py compare A B     prints the cells that differ, then the rows
"""

import pathlib
import sys

import duckdb


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def join(folder, spine, out, threads):
    con = duckdb.connect()
    con.execute(f"SET threads = {int(threads)}")
    for name, value in {"data": folder, "spine": spine, "out": out}.items():
        con.execute(f"SET VARIABLE {name} = {quote(value)}")
    con.execute(pathlib.Path(__file__).with_name("exact.sql").read_text())


def compare(a, b):
    con = duckdb.connect()
    columns = []
    for path in (a, b):
        columns.append(con.execute(f"DESCRIBE SELECT * FROM read_parquet({quote(path)})").fetchall())
    names = [c[0] for c in columns[0]]
    if [c[:2] for c in columns[0]] != [c[:2] for c in columns[1]]:
        sys.exit(f"the columns of {a} and {b} are not the same:\n{columns[0]}\n{columns[1]}")
    differing = " + ".join(f'count(*) FILTER (a."{n}" IS DISTINCT FROM b."{n}")' for n in names)
    rows = [f"read_parquet({quote(p)}, file_row_number = true)" for p in (a, b)]
    cells, n = con.execute(
        f"SELECT {differing}, count(*) FROM {rows[0]} AS a FULL JOIN {rows[1]} AS b USING (file_row_number)"
    ).fetchone()
    print(cells, n)


if sys.argv[1:] == ["version"]:
    print("DuckDB", duckdb.__version__)
else:
    {"join": join, "compare": compare}[sys.argv[1]](*sys.argv[2:])
