"""Writes the Parquet files beside it with Spark, and what Spark reads back from them as expected.json.

    python make.py        (needs pyspark 4 and Java 17 or later)

expected.json is as in the folder above: file -> column -> {"type", "at", "round", "values"}; "error" instead
of values is what the reader says of a column that it refuses.
"""

import glob
import json
import os
import shutil
import struct
import tempfile

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = {}

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.driver.memory", "1g")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

SQL = """
SELECT id AS k, CAST(id - 20 AS TINYINT) AS i8, CAST(id * 300 AS SMALLINT) AS i16, CAST(id * 99991 AS INT) AS i32,
  IF(id % 3 = 0, NULL, id * 1234567890123) AS i64, CAST(id / 7 AS FLOAT) AS f32,
  CASE id % 6 WHEN 0 THEN double('NaN') WHEN 1 THEN double('Infinity') WHEN 2 THEN -0.0D WHEN 3 THEN NULL ELSE id / 3.0D END AS f64,
  id % 2 = 0 AS flag, IF(id % 4 = 0, NULL, concat('wörd-', id % 5)) AS word, CAST(concat('b', id) AS BINARY) AS raw,
  CAST(id - 7 AS DECIMAL(9, 0)) AS d9, CAST(id - 7 AS DECIMAL(18, 0)) AS d18, CAST(id - 7 AS DECIMAL(38, 0)) AS d38,
  CAST(id AS DECIMAL(10, 2)) AS money, date_add(DATE'2001-02-27', CAST(id AS INT)) AS day,
  TIMESTAMP'1969-12-31 23:59:00' + make_dt_interval(0, 0, 0, id + 0.123456) AS t,
  TIMESTAMP_NTZ'2001-02-28 23:59:00' + make_dt_interval(0, 0, 0, id + 0.5) AS naive,
  CASE id % 4 WHEN 0 THEN NULL WHEN 1 THEN array() WHEN 2 THEN array(id, NULL) ELSE array(id, id + 1) END AS ints,
  array(concat('x', id)) AS words,
  IF(id % 5 = 0, NULL, named_struct('a', IF(id % 2 = 0, NULL, id), 'deep', named_struct('b', CAST(id AS STRING), 'l', array(CAST(id AS INT), NULL)))) AS s,
  IF(id % 3 = 0, NULL, array(named_struct('x', CAST(id AS INT), 'y', 'z'), NULL)) AS structs, map('a', id) AS m,
  array(array(id)) AS nested
FROM range(25)
"""


def text(v, kind, rounding="exact"):
    if v is None:
        return None
    if isinstance(v, list):
        return [text(x, kind) for x in v]
    if kind == "bool":
        return "true" if v else "false"
    if kind in ("float32", "float64"):
        return struct.pack(">f" if kind == "float32" else ">d", v).hex()
    if kind == "bytes":
        return bytes(v).hex()
    return str(v)


# column -> type, what Spark computes of it, and how the reader is to be asked
COLUMNS = {
    "k": ("int64", "k"), "i8": ("int32", "i8"), "i16": ("int32", "i16"), "i32": ("int64", "i32"), "i64": ("int64", "i64"),
    "f32": ("float64", "CAST(f32 AS DOUBLE)"), "f64": ("float64", "f64"), "flag": ("bool", "flag"), "word": ("string", "word"),
    "raw": ("bytes", "raw"), "d9": ("int32", "CAST(d9 AS INT)"), "d18": ("int64", "CAST(d18 AS LONG)"), "d38": ("int64", "CAST(d38 AS LONG)"),
    "day": ("timestamp", "unix_date(day) * 86400000000L"), "t": ("timestamp", "unix_micros(t)"),
    "naive": ("timestamp", "unix_micros(CAST(naive AS TIMESTAMP))"), "ints": ("list<int64>", "ints"), "words": ("list<string>", "words"),
    "s.a": ("int64", "s.a"), "s.deep.b": ("string", "s.deep.b"), "s.deep.l": ("list<int32>", "s.deep.l"),
    "structs.x": ("list<int32>", "structs.x"), "structs.y": ("list<string>", "structs.y"),
}
REFUSED = {
    "money": "decimals with a fraction are not read", "m": "maps are not read", "nested": "lists of lists are not read",
}


def write(name, confs, query=SQL, columns=COLUMNS, refused=REFUSED):
    for key, value in confs.items():
        spark.conf.set(key, value)
    folder = tempfile.mkdtemp()
    frame = spark.sql(query).coalesce(1)
    options = {"compression": confs.get("spark.sql.parquet.compression.codec", "snappy"), **{k: v for k, v in confs.items() if k.startswith("parquet.")}}
    frame.write.mode("overwrite").options(**options).parquet(folder)
    (part,) = glob.glob(os.path.join(folder, "part-*"))
    path = os.path.join(HERE, name)
    shutil.copy(part, path)
    shutil.rmtree(folder)
    read = spark.read.parquet(path)
    file = EXPECTED.setdefault(name, {})
    for column, (kind, expression) in columns.items():
        values = [row[0] for row in read.select(F.expr(expression).alias("v")).collect()]
        item = kind[5:-1] if kind.startswith("list<") else kind
        file[column] = {"type": kind, **({"at": "start"} if column == "day" else {}), "values": [text(v, item) for v in values]}
    for column, why in refused.items():
        file[column] = {"type": "int64", "error": why}
    for key in confs:
        spark.conf.unset(key)


LEGACY, TIME, CODEC = "spark.sql.parquet.writeLegacyFormat", "spark.sql.parquet.outputTimestampType", "spark.sql.parquet.compression.codec"
write("modern-micros-zstd.parquet", {LEGACY: "false", TIME: "TIMESTAMP_MICROS", CODEC: "zstd"})
write("legacy-int96-snappy.parquet", {LEGACY: "true", TIME: "INT96", CODEC: "snappy"})
write("modern-millis-gzip.parquet", {LEGACY: "false", TIME: "TIMESTAMP_MILLIS", CODEC: "gzip"})
write("legacy-micros-lz4_raw.parquet", {LEGACY: "true", TIME: "TIMESTAMP_MICROS", CODEC: "lz4_raw"})
write("modern-v2-none.parquet", {LEGACY: "false", TIME: "TIMESTAMP_MICROS", CODEC: "none", "parquet.writer.version": "v2", "parquet.enable.dictionary": "false"})
write("modern-v2-small-pages.parquet", {
    LEGACY: "false", TIME: "INT96", CODEC: "zstd", "parquet.writer.version": "v2", "parquet.page.size": "64",
    "parquet.page.row.count.limit": "7", "parquet.bloom.filter.enabled#word": "true",
    "parquet.bloom.filter.expected.ndv#word": "5", "parquet.page.write-checksum.enabled": "false"})
write("legacy-dates.parquet", {LEGACY: "true", TIME: "INT96", CODEC: "snappy", "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
                               "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED"},
      "SELECT id AS k, TIMESTAMP'0001-01-01 00:00:00' + make_dt_interval(CAST(id * 33333 AS INT), 0, 0, 0.000001) AS t, "
      "DATE'0001-01-01' + CAST(id * 33333 AS INT) AS day FROM range(100)",
      {c: COLUMNS[c] for c in ["k", "t", "day"]}, {})
write("modern-micros-lz4.parquet", {LEGACY: "false", TIME: "TIMESTAMP_MICROS", CODEC: "lz4"})
# A page beyond the 256 KiB that Hadoop compresses at once; the test knows its values.
write("lz4-large.parquet", {CODEC: "lz4", "parquet.enable.dictionary": "false", "parquet.page.row.count.limit": "100000"},
      "SELECT id DIV 5000 AS few FROM range(60000)", {}, {})
with open(os.path.join(HERE, "expected.json"), "w") as f:
    f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in EXPECTED.items()) + "\n}\n")
