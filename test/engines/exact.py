"""Compares a training set of the flights example with what DuckDB computes by the same rules.

usage: exact.py PROJECT SPINE TRAINING_SET
Prints one line per output column: its name and how many cells differ, then the rows compared.
"""

import sys

import duckdb

project, spine, training = sys.argv[1:]

# One number orders a view's rows: event time, then created time. ASOF takes the greatest at or before the read time.
SQL = f"""
CREATE TABLE s AS SELECT *, file_row_number AS i, epoch_us(departs) AS t,
    epoch_us(departs)::HUGEINT * 18446744073709551616 + 9223372036854775807 AS k
    FROM read_parquet('{spine}', file_row_number = true);
CREATE TABLE out AS SELECT *, file_row_number AS i FROM read_parquet('{training}', file_row_number = true);
CREATE TABLE h AS SELECT iata, departures_1h, avg_delay, share_late_1h, epoch_us(hour) AS e,
    epoch_us(hour)::HUGEINT * 18446744073709551616 + epoch_us(loaded_at) AS k
    FROM read_parquet('{project}/data/airport_hourly/**/*.parquet');
CREATE TABLE r AS SELECT *, epoch_us((day + INTERVAL 1 DAY)::TIMESTAMP) AS e,
    epoch_us((day + INTERVAL 1 DAY)::TIMESTAMP)::HUGEINT * 18446744073709551616 + epoch_us(loaded_at) AS k
    FROM read_parquet('{project}/data/route_daily/**/*.parquet');
CREATE TABLE want AS SELECT s.i, s.origin, s.destination, s.departs, s.distance_miles, s.delay,
    CASE WHEN s.t - o.e <= $hour6 THEN o.departures_1h ELSE 0 END AS origin_departures_1h,
    CASE WHEN s.t - o.e <= $hour6 THEN o.avg_delay END AS origin_mean_delay_1h,
    CASE WHEN s.t - o.e <= $hour6 THEN o.share_late_1h END AS origin_share_late_1h,
    CASE WHEN s.t - d.e <= $hour6 THEN d.departures_1h ELSE 0 END AS destination_departures,
    CASE WHEN s.t - d.e <= $hour6 THEN d.avg_delay END AS destination_delay,
    CASE WHEN s.t - r.e <= $day3 THEN r.flights_1d ELSE 0 END AS flights_1d,
    CASE WHEN s.t - r.e <= $day3 THEN r.distance END AS distance,
    CASE WHEN s.t - r.e <= $day3 THEN r.mean_delay_1d END AS mean_delay_1d,
    CASE WHEN s.t - r.e <= $day3 THEN r.delays_1d END AS delays_1d,
    CASE WHEN s.t - r.e <= $day3 THEN r.busiest_part END AS busiest_part
    FROM s
    ASOF LEFT JOIN h AS o ON s.origin = o.iata AND s.k >= o.k
    ASOF LEFT JOIN h AS d ON s.destination = d.iata AND s.k >= d.k
    ASOF LEFT JOIN r ON s.origin = r.origin AND s.destination = r.destination AND s.k >= r.k;
""".replace("$hour6", str(6 * 3600 * 10**6)).replace("$day3", str(3 * 86400 * 10**6))

con = duckdb.connect()
con.execute(SQL)
names = [c[0] for c in con.execute("DESCRIBE want").fetchall() if c[0] != "i"]
have = [c[0] for c in con.execute("DESCRIBE out").fetchall() if c[0] not in ("i", "file_row_number")]
if names != have:
    sys.exit(f"columns {have}, want {names}")
for name in names:
    (n,) = con.execute(
        f'SELECT count(*) FROM want FULL JOIN out USING (i) WHERE want."{name}" IS DISTINCT FROM out."{name}"'
    ).fetchone()
    print(name, n)
print("rows", con.execute("SELECT count(*) FROM want JOIN out USING (i)").fetchone()[0])
