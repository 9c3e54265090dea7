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
    time = pl.col("event_timestamp")
    bounds = rows.group_by("entity_id").agg(first=time.min(), last=time.max())
    columns = [c for c in rows.collect_schema().names() if c != "row"]
    joined = rows.sort("event_timestamp")
    for view, days in TTL_DAYS.items():
        # Rows that cannot answer any spine row of their entity are dropped first: that changes no answer and is faster.
        # So is collecting a view with the streaming engine, instead of one plan for all.
        history = (
            pl.scan_parquet(f"{folder}/data/{view}/**/*.parquet", hive_partitioning=False)
            .join(bounds, on="entity_id")
            .filter(time.is_between(pl.col("first") - pl.duration(days=days), pl.col("last")))
            .sort("event_timestamp", "created_timestamp")
            .drop("created_timestamp", "first", "last")
            .collect(engine="streaming")
            .lazy()
        )
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
