"""Takes the newest row of every entity of a view, or compares two files of such rows.

usage: duckdb_latest.py version
       duckdb_latest.py forms                                          prints the names of the forms below
       duckdb_latest.py run FORM FILES SINCE TO THREADS [OUT.parquet]  times in microseconds
       duckdb_latest.py compare A.parquet B.parquet                    prints the cells that differ, then the rows

Every form is exact: of several rows with one event time the one created last. Which is fastest depends on data and
version, so the benchmark tries them all.
"""

import sys

import duckdb

# Both times as one number: it compares faster than two.
KEY = "epoch_us(event_timestamp)::HUGEINT * 18446744073709551616 + epoch_us(created_timestamp)"

FORMS = {
    # The greatest key per entity, and the rows that have it.
    "join": f"""
        SELECT rows.* FROM rows JOIN (SELECT entity_id, max({KEY}) AS k FROM rows GROUP BY entity_id) AS newest
        ON rows.entity_id = newest.entity_id AND {KEY} = newest.k""",
    # Where the newest rows are, and those rows.
    "position": f"""
        WITH newest AS MATERIALIZED (
            SELECT unnest(max_by(struct_pack(file_index, file_row_number), {KEY})) FROM rows GROUP BY entity_id
        )
        SELECT rows.* FROM rows SEMI JOIN newest
        ON rows.file_index = newest.file_index AND rows.file_row_number = newest.file_row_number""",
    "struct": f"SELECT unnest(max_by(rows, {KEY})) FROM rows GROUP BY entity_id",
    "columns": f"""
        SELECT entity_id, arg_max_null(COLUMNS(* EXCLUDE (entity_id)), {KEY}) AS "\\0" FROM rows GROUP BY entity_id""",
    "window": """
        SELECT * FROM rows
        QUALIFY row_number() OVER (PARTITION BY entity_id ORDER BY event_timestamp DESC, created_timestamp DESC) = 1""",
}


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def run(form, files, since, to, threads, out=None):
    con = duckdb.connect()
    con.execute(f"SET threads = {int(threads)}")
    con.execute("SET preserve_insertion_order = false")
    position = ", file_index, file_row_number" if form == "position" else ""
    con.execute(
        f"CREATE TEMP VIEW rows AS SELECT *{position} FROM read_parquet({quote(files)}, hive_partitioning = false"
        f"{', file_row_number = true' if position else ''})"
        f" WHERE event_timestamp BETWEEN make_timestamptz({int(since)}) AND make_timestamptz({int(to)})"
    )
    con.execute(f"CREATE TEMP TABLE latest AS {FORMS[form]}")
    if out:
        columns = "* EXCLUDE (file_index, file_row_number)" if position else "*"
        con.execute(f"COPY (SELECT {columns} FROM latest) TO {quote(out)} (FORMAT parquet)")


def compare(a, b):
    con = duckdb.connect()
    tables = [f"read_parquet({quote(path)})" for path in (a, b)]
    names, other = ([c[0] for c in con.execute(f"DESCRIBE SELECT * FROM {t}").fetchall()] for t in tables)
    if sorted(names) != sorted(other):
        sys.exit(f"the columns of {a} and {b} are not the same:\n{names}\n{other}")
    differing = " + ".join(f'count(*) FILTER (a."{n}" IS DISTINCT FROM b."{n}")' for n in names)
    print(*con.execute(
        f"SELECT {differing}, count(*) FROM {tables[0]} AS a FULL JOIN {tables[1]} AS b ON a.entity_id = b.entity_id"
    ).fetchone())


match sys.argv[1]:
    case "version":
        print("DuckDB", duckdb.__version__)
    case "forms":
        print(*FORMS)
    case "run":
        run(*sys.argv[2:])
    case "compare":
        compare(*sys.argv[2:])
