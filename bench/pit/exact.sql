-- The training set of a workload's project, by Provender's rules, in DuckDB: to check Provender with, and to race.
--
--   duckdb -cmd "SET VARIABLE data = 'FOLDER'; SET VARIABLE spine = 'FOLDER/spine.parquet'; SET VARIABLE out = 'o.parquet'" -f exact.sql
--
-- ASOF joins on one inequality, and plain ASOF on the event time takes any row of several with the same one. So a view's
-- rows are ordered by one number, event time × 2^64 + created time, and a spine row stands after all rows of its
-- microsecond. The ttl is applied to the row found: an older row is never the answer in its place.
--
-- Rows that cannot answer any spine row of their entity are dropped first: that changes no answer and is faster.

SET preserve_insertion_order = false; -- the order of the output is asked for below

CREATE TEMP TABLE s AS
SELECT *, epoch_us(event_timestamp) AS t,
    epoch_us(event_timestamp)::HUGEINT * 18446744073709551616 + 9223372036854775807 AS k
FROM read_parquet(getvariable('spine'), file_row_number = true);

CREATE TEMP MACRO history(view, ttl) AS TABLE
SELECT * EXCLUDE (event_timestamp, created_timestamp, first, last), epoch_us(event_timestamp) AS e,
    epoch_us(event_timestamp)::HUGEINT * 18446744073709551616 + epoch_us(created_timestamp) AS k
FROM read_parquet(getvariable('data') || '/data/' || view || '/**/*.parquet', hive_partitioning = false)
JOIN (SELECT entity_id, min(t) AS first, max(t) AS last FROM s GROUP BY entity_id) USING (entity_id)
WHERE e BETWEEN first - ttl AND last;

COPY (
    SELECT s.entity_id, s.event_timestamp, s.label,
        CASE WHEN s.t - h0.e <= 7 * 86400000000 THEN COLUMNS('v0_f.*') END AS "\0",
        CASE WHEN s.t - h1.e <= 1 * 86400000000 THEN COLUMNS('v1_f.*') END AS "\0",
        CASE WHEN s.t - h2.e <= 30 * 86400000000 THEN COLUMNS('v2_f.*') END AS "\0"
    FROM s
    ASOF LEFT JOIN history('view0', 7*86400000000) AS h0 ON s.entity_id = h0.entity_id AND s.k >= h0.k
    ASOF LEFT JOIN history('view1', 1*86400000000) AS h1 ON s.entity_id = h1.entity_id AND s.k >= h1.k
    ASOF LEFT JOIN history('view2', 30*86400000000) AS h2 ON s.entity_id = h2.entity_id AND s.k >= h2.k
    ORDER BY s.file_row_number
) TO (getvariable('out')) (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3);
