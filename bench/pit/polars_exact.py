"""Joins a workload with Polars, by Provender's rules.

usage: polars_exact.py join FOLDER SPINE OUT THREADS

join_asof takes the last of several rows of one time, so a view is sorted by event time, then created time. Its tolerance
is the ttl, the end included; it is held against the row found: an older row is never the answer in its place.
"""

import os
import sys

TTL_DAYS = {"view0": 7, "view1": 1, "view2": 30}


def join(folder, spine, out, threads):
    os.environ["POLARS_MAX_THREADS"] = threads
    import polars as pl

    rows = pl.scan_parquet(spine, row_index_name="row")
    keys = rows.select("entity_id").unique()
    columns = [c for c in rows.collect_schema().names() if c != "row"]
    joined = rows.sort("event_timestamp")
    for view, days in TTL_DAYS.items():
        files = pl.scan_parquet(f"{folder}/data/{view}/**/*.parquet", hive_partitioning=False)
        # Rows of other entities answer nothing. Collected by the streaming engine, a view is sorted faster than as a part
        # of one plan.
        history = files.join(keys, on="entity_id", how="semi").sort("event_timestamp", "created_timestamp")
        history = history.drop("created_timestamp").collect(engine="streaming").lazy()
        columns += [c for c in history.collect_schema().names() if c not in ("entity_id", "event_timestamp")]
        joined = joined.join_asof(
            history, on="event_timestamp", by="entity_id", strategy="backward", tolerance=f"{days}d", check_sortedness=False
        )
    joined.sort("row").select(columns).sink_parquet(out, compression="zstd", compression_level=3, engine="streaming")


if sys.argv[1:] == ["version"]:
    import polars

    print("Polars", polars.__version__)
else:
    {"join": join}[sys.argv[1]](*sys.argv[2:])
