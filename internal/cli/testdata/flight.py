"""pyarrow's own client at a server's Arrow Flight. Arguments: addresses of one server, by TCP with TLS and by its socket;
the authority's certificate, tokens of a reader and of somebody else, the project's folder, a folder to write in, a seed.
"""

import datetime as dt, json, random, subprocess, sys, threading
from decimal import Decimal

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.ipc
import pyarrow.parquet as pq

tcp, unix, authority, reader_token, other_token, project, folder, seed = sys.argv[1:]
rnd = random.Random(int(seed))
remote = fl.connect(tcp, tls_root_certs=open(authority).read())
local = fl.connect(unix)


def options(token):
    return fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + token.encode())])


def exchange(spine, command, client=remote, token=reader_token, chunk=10_000, schema=None):
    """Returns the training set and the messages that come without rows."""
    descriptor = fl.FlightDescriptor.for_command(json.dumps(command))
    writer, reader = client.do_exchange(descriptor, options(token) if token else None)
    with writer:
        writer.begin(spine.schema)
        writer.write_table(spine, max_chunksize=chunk)
        writer.done_writing()
        batches, messages = [], []
        for c in reader:
            if c.data is not None:
                assert c.data.num_rows > 0 and c.data.nbytes < 3 << 20 or c.data.num_rows == 1, c.data
                batches.append(c.data)
            if c.app_metadata is not None:
                messages.append(json.loads(c.app_metadata.to_pybytes()))
        return pa.Table.from_batches(batches, reader.schema), messages


def export(name, command, out):
    """Exports a spine on disk to a file."""
    args = ["provender", "export", "-C", project, "--spine", name, "--out", out]
    for key, value in command.items():
        if key != "progress":
            args += ["--" + key.replace("_", "-"), value]
    subprocess.run(args, check=True, capture_output=True)


def fails(kind, words, *args, **named):
    try:
        exchange(*args, **named)
    except kind as e:
        assert words in str(e), e
        return e
    raise AssertionError(f"no {kind}: {words}")


words = ["", "a", "é", "word", "w" * 40, "0"]
airports = ["JFK", "SFO", "ORD", "LAX", "XXX", ""]
start = dt.datetime(2001, 5, 1)


def column(rows, null=0.1):
    """Returns a column of a type that comes up."""
    def some(make):
        return [None if rnd.random() < null else make() for _ in range(rows)]

    def instant():
        return start + dt.timedelta(seconds=rnd.randrange(5_000_000), microseconds=rnd.randrange(1_000_000))

    text, number = lambda: rnd.choice(words), lambda: rnd.randrange(-100, 100)
    kind, make = rnd.choice([
        (pa.int8(), number), (pa.int64(), lambda: rnd.randrange(-(2**63), 2**63)), (pa.uint64(), lambda: rnd.randrange(2**64)),
        (pa.uint8(), lambda: rnd.randrange(256)), (pa.float32(), lambda: rnd.randrange(1000) / 8), (pa.float64(), rnd.random),
        (pa.bool_(), lambda: rnd.random() < 0.5), (pa.string(), text), (pa.large_string(), text), (pa.string_view(), text),
        (pa.binary(), lambda: rnd.randbytes(5)), (pa.binary(4), lambda: rnd.randbytes(4)), (pa.date32(), lambda: instant().date()),
        (pa.timestamp("us", "Europe/Berlin"), instant), (pa.timestamp("ns"), instant), (pa.timestamp("s", "+03:00"), lambda: instant().replace(microsecond=0)),
        (pa.duration("ms"), lambda: dt.timedelta(milliseconds=number())), (pa.decimal128(20, 3), lambda: Decimal(number()) / 8),
        (pa.dictionary(pa.int8(), pa.string()), text), (pa.dictionary(pa.int32(), pa.large_string()), text),
        (pa.list_(pa.int32()), lambda: [rnd.choice([None, number()]) for _ in range(rnd.randrange(4))]),
        (pa.large_list(pa.string()), lambda: [text() for _ in range(rnd.randrange(3))]),
        (pa.list_(pa.dictionary(pa.int16(), pa.string())), lambda: [text() for _ in range(rnd.randrange(3))]),
        (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), lambda: {"a": rnd.choice([None, number()]), "b": [text()]}),
        (pa.map_(pa.string(), pa.int64()), lambda: [(text(), number()) for _ in range(rnd.randrange(3))]), (pa.null(), lambda: None),
    ])
    return pa.array(some(make), kind)


def random_spine(rows):
    """Returns a spine and the options of its time column."""
    def texts():
        values = pa.array([None if rnd.random() < 0.05 else rnd.choice(airports) for _ in range(rows)], pa.string())
        return rnd.choice([lambda: values, values.dictionary_encode, lambda: values.cast(pa.large_string())])()

    instants = [start + dt.timedelta(minutes=rnd.randrange(60 * 24 * 60)) for _ in range(rows)]
    seconds = [int(t.replace(tzinfo=dt.timezone.utc).timestamp()) for t in instants]
    times, more = rnd.choice([
        (pa.array(instants, pa.timestamp("us", "UTC")), {}), (pa.array(instants, pa.timestamp("ns")), {"timezone": "America/New_York"}),
        (pa.array(seconds, pa.int64()), {"time_unit": "s"}), (pa.array([t.isoformat() + "Z" for t in instants], pa.string()), {}),
        (pa.array([t.date() for t in instants], pa.date32()), {"time_at": "end"}),
    ])
    columns = {"origin": texts(), "destination": texts(), "departs": times}
    for i in range(rnd.randrange(6)):
        columns[f"extra{i}"] = column(rows)
    names = list(columns)
    rnd.shuffle(names)
    return pa.table({name: columns[name] for name in names}), {"service": "delay_model_v1", "time": "departs", **more}


def same_as_export():
    for i in range(8):
        spine, command = random_spine(rnd.choice([0, 1, 7, 1000, 5000]))
        got, messages = exchange(spine, command, chunk=rnd.choice([100, 1_000, 10_000]))
        assert len(messages) == 1 and messages[0]["done"]["rows"] == spine.num_rows, messages
        name = f"{folder}/{i}.arrow"
        with pa.ipc.new_file(name, spine.schema) as w:
            w.write_table(spine)
        export(name, command, name + ".out.arrow")
        want = pa.ipc.open_file(name + ".out.arrow").read_all()
        assert got.schema.equals(want.schema, check_metadata=True), f"{i}: {got.schema}\n{want.schema}"
        assert got.to_pylist() == want.to_pylist(), f"{i}: {spine.schema}"
        export(name, command, name + ".out.parquet")
        assert got.to_pylist() == pq.read_table(name + ".out.parquet").to_pylist(), f"{i}: {spine.schema}"
        assert got.select(spine.column_names).to_pylist() == spine.to_pylist(), f"{i}: {spine.schema}"


def at_once():
    flights = pq.read_table(project + "/data/flights.parquet")
    want, _ = exchange(flights, delays)
    got = [None] * 3
    def call(i):
        got[i] = exchange(flights, {**delays, "progress": True}, client=rnd.choice([remote, local]))
    threads = [threading.Thread(target=call, args=[i]) for i in range(len(got))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for table, messages in got:
        assert table.equals(want) and "done" in messages[-1] and "progress" in messages[0]


def canceled():
    flights = pq.read_table(project + "/data/flights.parquet")
    for _ in range(3):
        writer, reader = remote.do_exchange(fl.FlightDescriptor.for_command(json.dumps(delays)), options(reader_token))
        writer.begin(flights.schema)
        writer.write_table(flights, max_chunksize=1000)
        writer.done_writing()
        reader.cancel()
        try:
            reader.read_all()
        except (fl.FlightCancelledError, KeyboardInterrupt):  # which pyarrow makes of it
            continue
        raise AssertionError("not canceled")


def errors():
    spine, _ = random_spine(100)
    spine = spine.drop_columns(["departs"]).append_column("departs", pa.array([start] * 100, pa.timestamp("us")))
    e = fails(fl.FlightInternalError, 'did you mean "departs"', spine, {**delays, "time": "depart"})
    assert b"google.rpc.BadRequest" in e.extra_info and b"field" in e.extra_info
    fails(fl.FlightInternalError, 'no key column "origin"', spine.rename_columns({"origin": "from"}), delays)
    fails(fl.FlightInternalError, "unknown field", spine, {"sevice": "x"})
    fails(fl.FlightInternalError, "no feature service", spine, {**delays, "service": "x"})
    fails(fl.FlightUnauthenticatedError, "must know who calls", spine, delays, token=None)
    fails(fl.FlightUnauthenticatedError, "not valid", spine, delays, token=reader_token[:-1] + "-")
    fails(fl.FlightUnauthorizedError, "it takes the role read-offline", spine, delays, token=other_token)
    exchange(spine, delays, client=local, token=None)  # the owner's way in
    wide = pa.table({"origin": ["JFK"], "destination": ["SFO"], "departs": pa.array([start], pa.timestamp("us")), "note": ["n" * (20 << 20)]})
    fails(pa.ArrowInvalid, "received message larger than max", wide, delays)
    try:
        list(remote.list_flights(options=options(reader_token)))
    except pa.ArrowNotImplementedError as e:
        assert "DoExchange" in str(e)


delays = {"service": "delay_model_v1", "time": "departs"}
same_as_export()
at_once()
canceled()
errors()
