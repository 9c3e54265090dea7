"""The calls beside lookups and training sets, against a server of the flights example."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import Project, T

import provender
from provender import _definitions, _operations, _records
from provender._progress import Step

AT = datetime(2001, 6, 30, 18, tzinfo=UTC)


@pytest.fixture
def shop(project: Project) -> Iterator[provender.Store]:
    """A store of the flights example, nothing applied, to be changed."""
    server = project.serve("--now", T)  # schedules rest
    with provender.connect(server.address) as store:
        store._folder = str(project.folder)  # as that of the folder's own connection is
        yield store
    server.stop()


def told(project: Project, *args: str) -> Any:
    return json.loads(project.run(*args, "-o", "json"))


def test_list_and_show_say_what_the_command_says(flights: Project, store: provender.Store) -> None:
    everything = store.list()
    assert {d.kind for d in everything} == {"Entity", "Source", "FeatureView", "FeatureService"}
    for kind in ("entities", "sources", "views", "services"):
        want = told(flights, "list", kind)
        got = store.list(kind)
        assert [d.name for d in got] == [d["name"] for d in want["definitions"]]
        assert [d.revision for d in got] == [want["revision"]] * len(got)
        for d in got:
            shown = told(flights, "show", kind.removesuffix("s").replace("entitie", "entity"), d.name)
            assert store.show(kind, d.name).spec == shown["definition"]
            assert store.show(d.kind, d.name) == d
    assert "delay_model_v1" in repr(store.list("services"))
    assert "<table>" in everything._repr_html_()
    frame = everything.to_pandas()
    assert list(frame.columns) == ["kind", "name", "json", "revision"]
    assert len(frame) == len(everything)


def test_what_is_not_there(store: provender.Store) -> None:
    with pytest.raises(provender.NotFoundError) as e:
        store.show("view", "airport_hurly")
    assert "airport_hourly" in e.value.fix
    with pytest.raises(provender.InvalidError, match="no kind 'table'"):
        store.list("table")
    with pytest.raises(provender.NotFoundError):
        store.list(revision=99)
    with pytest.raises(provender.NotFoundError):
        store.status("nope")
    with pytest.raises(provender.NotFoundError):
        store.run(99)
    for bad in (-1, 1.5, "2"):
        with pytest.raises(provender.InvalidError, match="limit"):
            store.runs(limit=bad)  # type: ignore[arg-type]


def test_plan_apply_history_rollback(project: Project, shop: provender.Store) -> None:
    assert list(shop.history()) == []
    plan = shop.plan()
    assert (plan.base_revision, plan.empty, plan.breaking) == (0, False, False)
    assert {c.action for c in plan.changes} == {"add"}
    assert "  + FeatureView airport_hourly" in repr(plan)
    assert plan.summary in repr(plan)
    assert plan.summary == told(project, "plan")["summary"]
    first = shop.apply(plan)
    assert (first.number, first.rollback_of) == (1, 0)
    assert shop.apply(plan) == first, "the same plan again is the revision that it has become"
    again = shop.plan()
    assert again.empty
    assert repr(again).endswith("No changes: the definitions are those of revision 1.")

    file = next(f for f in project.folder.rglob("*.yaml") if "ttl: 6h" in f.read_text())
    before = file.read_text()
    file.write_text(before.replace("ttl: 6h", "ttl: 3h", 1))
    changed = shop.plan()
    assert "ttl: 6h -> 3h" in repr(changed)
    assert "ttl-changed" in {h.code for c in changed.changes for h in c.hazards}
    assert "ttl-changed" in changed._repr_html_()
    assert shop.apply().number == 2
    assert shop.plan(against=1).changes[0].fields == changed.changes[0].fields
    # A plan against what is no longer current.
    with pytest.raises(provender.ConflictError):
        shop.apply(changed if shop.rollback(1).number == 3 else plan)
    revisions = shop.history()
    assert [(r.number, r.rollback_of) for r in revisions] == [(3, 1), (2, 0), (1, 0)]
    assert [r.number for r in shop.history(limit=2)] == [3, 2]
    assert revisions[2].applied is not None
    assert revisions[2].applied.tzinfo is UTC
    revision, its = shop.revision(2)
    assert revision == revisions[1]
    assert its is not None
    assert its.changes == changed.changes


def test_breaking_changes_want_to_be_allowed(project: Project, shop: provender.Store) -> None:
    shop.apply()
    files = {f.name: f.content.decode() for f in _definitions.read_files(project.folder)}
    without = {
        name: "\n---\n".join(d for d in text.split("\n---\n") if "kind: FeatureService" not in d)
        for name, text in files.items()
    }
    plan = shop.plan(without)
    assert plan.breaking
    assert "service-removed" in repr(plan)
    with pytest.raises(provender.PreconditionError):
        shop.apply(plan)
    assert shop.apply(plan, allow_breaking=True).number == 2
    assert list(shop.list("services")) == []


def test_saved_plans_are_the_commands(project: Project, shop: provender.Store, tmp_path: Path) -> None:
    shop.plan().save(tmp_path / "first.plan")
    project.run("apply", str(tmp_path / "first.plan"), "--yes")
    assert shop.history()[0].number == 1


def test_files_are_those_that_the_command_reads(binary: Path, project: Project, shop: provender.Store) -> None:
    """Hidden ones, links to folders and other kinds of file are not, in either."""
    folder = project.folder
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.yaml").write_text("kind: Nonsense")
    (folder / ".x.yaml").write_text("kind: Nonsense")
    (folder / "notes.yaml.txt").write_text("kind: Nonsense")
    (folder / "link").symlink_to(folder / ".hidden", target_is_directory=True)
    (folder / "folder.yaml").mkdir()
    (folder / "folder.yaml" / "more.yml").write_text(
        "kind: Entity\nname: carrier\njoin_keys: [{name: carrier, type: string}]\n"
    )
    (folder / "linked.yaml").symlink_to(folder / "folder.yaml" / "more.yml")
    with pytest.raises(provender.InvalidError) as e:
        shop.plan()
    assert {d.code for d in e.value.diagnostics} == {"duplicate-name"}
    refused = subprocess.run([binary, "-C", folder, "plan"], capture_output=True, text=True, check=False)
    assert refused.returncode == 3
    assert str(e.value.diagnostics[0].message) in refused.stderr
    (folder / "linked.yaml").unlink()
    assert shop.plan().summary == told(project, "plan")["summary"]

    (folder / "folder.yaml" / "provender.yaml").write_text("version: 1\nproject: inner\n")
    (folder / "large.yaml").write_bytes(b"#" * (4 << 20) + b"\n")
    (folder / "gone.yaml").symlink_to(folder / "nowhere")
    with pytest.raises(provender.InvalidError) as e:
        shop.plan()
    assert sorted(d.code for d in e.value.diagnostics) == ["file-too-large", "nested-project", "unreadable-file"]
    refused = subprocess.run([binary, "-C", folder, "validate"], capture_output=True, text=True, check=False)
    for d in e.value.diagnostics:
        assert f"{d.file}: {d.code}: " in refused.stdout


def test_bad_definitions_tell_where(shop: provender.Store, tmp_path: Path) -> None:
    with pytest.raises(provender.InvalidError) as e:
        shop.plan({"views.yaml": "kind: FeatureView\nname: x\nentitys: [airport]\n"})
    problem = next(d for d in e.value.diagnostics if d.code == "unknown-key")
    assert (problem.file, problem.line, problem.col) == ("views.yaml", 3, 1)
    assert 'views.yaml:3:1: unknown-key: unknown key "entitys"' in str(e.value)
    with pytest.raises(provender.NotFoundError, match=r"no provender\.yaml"):
        shop.plan(tmp_path)
    with pytest.raises(provender.InvalidError, match="no plan"):
        _definitions.plan_of(b"[]")
    with pytest.raises(provender.InvalidError):
        shop.apply(dataclasses.replace(shop.plan(), json=b"{}"))


def test_commits_are_recorded(project: Project, shop: provender.Store) -> None:
    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", project.folder, "-c", "user.name=x", "-c", "user.email=x@y", *args],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    assert shop.apply().commit == git("rev-parse", "HEAD")
    file = next(f for f in project.folder.rglob("*.yaml") if "ttl: 6h" in f.read_text())
    file.write_text(file.read_text().replace("ttl: 6h", "ttl: 5h"))
    assert shop.apply().commit == git("rev-parse", "HEAD") + "-dirty"


def test_materialize_status_verify_runs(project: Project, shop: provender.Store) -> None:
    shop.apply()
    assert {v.state for v in shop.status()} == {"never"}
    planned = shop.plan_materialize(to=T)
    assert all(p.full or p.files for p in planned)
    assert planned[0].t == AT
    assert "new" in {f.why for p in planned for f in p.files}
    steps: list[Step] = []
    runs = shop.materialize(to=AT, progress=steps.append)
    assert steps
    assert all(0 <= s.part <= 1 and ": " in s.stage for s in steps)
    assert [r.state for r in runs] == ["succeeded"] * len(runs)
    assert {r.view for r in runs} == {p.view for p in planned}
    assert all(r.t == AT and r.written > 0 and r.took is not None and r.took > timedelta() for r in runs)
    assert len(shop.materialize("airport_hourly", to=T, progress=False)) == 1

    listed = shop.runs()
    assert [r.id for r in listed] == sorted((r.id for r in listed), reverse=True)
    assert len(listed) == len(runs) + 1
    assert shop.runs("airport_hourly", limit=1)[0] == listed[0]
    assert shop.run(runs[0].id) == runs[0]
    want = told(project, "runs")["runs"]
    for run, said in zip(listed, want, strict=True):
        assert (run.id, run.view, run.state, run.rows_read, run.written) == (
            said["id"],
            said["view"],
            said["state"],
            said["rows_read"],
            said["written"],
        )
    frame = listed.to_pandas()
    assert str(frame.dtypes["rows_read"]) == "Int64"
    assert str(frame.dtypes["t"]) == "datetime64[us, UTC]"
    assert list(frame["id"]) == [r.id for r in listed]
    assert listed.to_arrow().schema.field("phases").type == pa.list_(
        pa.struct([("name", pa.string()), ("took", pa.duration("us"))])
    )
    assert listed.to_polars().height == len(listed)

    status = shop.status()
    assert status.definitions is None
    for view in status:
        assert view.t == AT
        assert view.last_run is not None
        assert view.last_run.state == "succeeded"
    assert [v.view for v in shop.status(["airport_hourly"])] == ["airport_hourly"]
    assert "airport_hourly" in repr(status)
    assert status.to_arrow().num_rows == len(status)

    found = shop.verify(full=True, now=AT)
    assert found.equal
    assert repr(found).startswith("Online equals offline\n")
    assert sum(c.cells for c in found) == sum(c.equal + c.behind for c in found) > 0
    with pytest.raises(provender.ConflictError), _in_future():
        shop.materialize(to="2999-01-01T00:00:00Z")
    assert list(shop.prune(dry_run=True)) == []


class _in_future:  # noqa: N801
    """A T in the future is refused, of whichever class that is."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        assert isinstance(error, provender.ProvenderError)
        assert "allow" in str(error) or "future" in str(error)
        raise provender.ConflictError(str(error))


def test_a_view_that_fails_is_told_with_the_others(project: Project, shop: provender.Store) -> None:
    shop.apply()
    broken = next(iter(sorted((project.folder / "data").rglob("*.parquet"))))
    broken.write_bytes(b"PAR1 no")
    with pytest.raises(provender.ProvenderError) as e:
        shop.materialize(to=T)
    runs = shop.runs()
    assert {r.state for r in runs} >= {"failed"}
    failed = next(r for r in runs if r.state == "failed")
    assert failed.error
    assert any(str(failed.id) in note and "failed" in note for note in e.value.__notes__)
    with pytest.raises(provender.ProvenderError):
        shop.retry_run(failed.id)
    assert shop.runs(limit=1)[0].retry_of == failed.id
    with pytest.raises(provender.ProvenderError):
        shop.cancel_run(failed.id)


def test_pause_and_resume(shop: provender.Store) -> None:
    shop.apply()
    scheduled = [v.view for v in shop.status() if "schedule" in shop.show("view", v.view).spec]
    assert sorted(shop.pause()) == sorted(scheduled)
    assert all((v.paused is not None) == (v.view in scheduled) for v in shop.status())
    assert sorted(shop.resume()) == sorted(scheduled)


def test_explain_says_what_the_command_says(flights: Project, store: provender.Store) -> None:
    feature, entity = "airport_hourly:mean_delay_1h", {"airport": "JFK"}
    why = store.explain(feature, entities=entity, at=T)
    want = told(flights, "explain", feature, "--entity", "airport=JFK", "--at", T)
    assert (why.value, why.status, why.revision) == (want["value"], want["status"], want["revision"])
    assert why.at == AT
    assert why.row is not None
    assert why.row.place.file == want["row"]["file"]
    assert why.row.place.row == want["row"]["file_row"]
    assert why.age is not None
    assert why.age.total_seconds() == want["age_seconds"]
    assert (why.rows_before, why.rows_after) == (want["rows_before"], want["rows_after"])
    assert why.online is not None
    assert why.online.state == want["online"]["state"]
    assert "JFK" in repr(why)
    assert "answers" in repr(why)
    assert "<table>" in why._repr_html_()
    assert store.explain(feature, entities={"airport": ["JFK"]}, at=AT) == why

    none = store.explain(feature, entities={"airport": "jfk"}, at=T)
    assert (none.status, none.row, none.age) == ("NOT_FOUND", None, None)
    assert "JFK" in {n.keys["airport"] for n in none.near_misses}
    null = store.explain(feature, entities={"airport": None}, at=T)
    assert null.null_key
    assert null.status == "NOT_FOUND"
    for bad in (True, 1.5, ["JFK", "SFO"], 1 << 70):
        with pytest.raises(provender.InvalidError):
            store.explain(feature, entities={"airport": bad}, at=T)
    with pytest.raises(provender.InvalidError, match="view:feature"):
        store.explain("airport_hourly", entities=entity)
    with pytest.raises(provender.NotFoundError):
        store.explain("airport_hurly:x", entities=entity)


def test_tokens_of_an_open_server(store: provender.Store) -> None:
    with pytest.raises(provender.ProvenderError):
        store.tokens()


def test_lists_come_in_pages(store: provender.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = store.list()
    monkeypatch.setattr(_operations, "_PAGE", 2)
    assert store.list() == everything
    monkeypatch.setattr(_operations, "_PAGE", 1)
    assert [r.id for r in store.runs()] == [2, 1]
    assert [r.id for r in store.runs(limit=1)] == [2]


class Wire:
    """A way to a server that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [here, there]
                threading.Thread(target=self._pump, args=(here, there), daemon=True).start()
                threading.Thread(target=self._pump, args=(there, here), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Ends all connections; the next ones are made again."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_runs_are_asked_for_again_where_the_connection_is_lost(shop: provender.Store) -> None:
    """What has begun is not run twice: the second request has the same id, and gets the same records."""
    shop.apply()
    wire = Wire(int(shop._channel.target().address.rpartition(":")[2]))
    cut: list[Step] = []

    def once(step: Step) -> None:
        if not cut:
            cut.append(step)
            wire.cut()

    told = ""
    with provender.connect(wire.address) as store:
        try:
            told = repr(store.materialize(to=T, progress=once))
        except provender.CanceledError as e:  # a run ends with its call, unless it was done by then
            (told,) = e.__notes__
    assert cut
    runs = shop.runs()
    assert len({r.view for r in runs}) == len(runs) == 2
    assert len({r.request_id for r in runs}) == 1
    assert all(f"{r.id}  {r.view} " in told for r in runs)
    wire.close()


def test_runs_that_ended_with_their_server(project: Project) -> None:
    server = project.serve("--now", T, env={"PROVENDER_FAILPOINTS": "run-before-write=stop"})
    with provender.connect(server.address) as store:
        store.apply(project.folder)
        killed: list[Step] = []

        def kill(step: Step) -> None:
            nonlocal server
            if not killed:
                killed.append(step)
                server.await_freeze()
                server.kill()
                server = project.serve("--now", T, port=server.port)

        with pytest.raises(provender.PreconditionError, match="the process that ran it has gone") as e:
            store.materialize(to=T, progress=kill)
        assert "interrupted" in e.value.__notes__[0]
        for run in store.runs():
            assert [r.state for r in store.retry_run(run.id)] == ["succeeded"]
        assert store.verify(full=True, now=AT).equal
    server.stop()


def test_records_show_what_they_say(store: provender.Store) -> None:
    run = store.runs(limit=1)[0]
    assert repr(run).startswith(f"Run(id={run.id}, view='{run.view}', state='succeeded', t=2001-06-30T18:00:00Z")
    assert "cancel_by" not in repr(run)
    assert run.to_dict()["phases"][0]["name"] in ("list", "read", "write", "commit")
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.id = 2  # type: ignore[misc]


def test_every_field_of_a_message_is_told() -> None:
    """A field that the API gets is not lost here."""
    from provender import _explain, _runs
    from provender.v1 import admin_pb2, offline_pb2, operations_pb2, registry_pb2

    other = {
        "Difference": {"class": "kind"},
        "ExplainResponse": {},
    }
    for kind, message in [
        (_runs.Run, operations_pb2.Run),
        (_runs.Reject, operations_pb2.Reject),
        (_runs.Phase, operations_pb2.Phase),
        (_runs.RunPlan, operations_pb2.RunPlan),
        (_runs.PlannedFile, operations_pb2.PlannedFile),
        (_runs.ViewStatus, operations_pb2.ViewStatus),
        (_runs.DefinitionsStatus, operations_pb2.Definitions),
        (_runs.Comparison, operations_pb2.VerifyReport),
        (_runs.Difference, operations_pb2.Difference),
        (_runs.Pruned, operations_pb2.Pruned),
        (_runs.Token, admin_pb2.Token),
        (_explain.Explanation, offline_pb2.ExplainResponse),
        (_explain.Candidate, offline_pb2.ExplainedRow),
        (_explain.Place, offline_pb2.RowPlace),
        (_explain.Consumed, offline_pb2.Consumed),
        (_definitions.Revision, registry_pb2.Revision),
        (_definitions.Diagnostic, registry_pb2.Diagnostic),
    ]:
        names = other.get(message.DESCRIPTOR.name, {})
        wanted = {names.get(f.name, f.name) for f in message.DESCRIPTOR.fields}
        had = {f.name for f in dataclasses.fields(kind)}
        assert wanted <= had, f"{kind.__name__} lacks {wanted - had}"
    methods = {
        m.name
        for file in (admin_pb2, operations_pb2, registry_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for m in service.methods
    }
    text = Path(_operations.__file__).read_text()
    assert [m for m in sorted(methods) if f'"{m}"' not in text] == []


def test_records_of_messages() -> None:
    from provender import _runs
    from provender.v1 import operations_pb2

    empty = _records.record_of(_runs.Run, operations_pb2.Run())
    assert empty.t is None
    assert empty.took is None
    assert empty.phases == ()
    assert repr(_runs.Runs()) == "ID  VIEW  STATE  T  REASON  ROWS READ  WRITTEN  TOOK  ERROR"


def test_a_server_that_speaks_nonsense() -> None:
    class Page:
        next_page_token = "again"

    with pytest.raises(provender.InternalError, match="leads to itself"):
        list(_operations.pages(lambda _size, _token: Page()))


def test_local_store_reads_its_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVENDER_BINARY", str(project.binary))
    with provender.connect(project.folder) as store:
        assert store.apply().number == 1
