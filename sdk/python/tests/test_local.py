"""The server of a project folder: started, shared, started again, and gone with its user."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE, Project, clean_environment

import provender
from provender import _local
from provender._progress import Step

LIST = "/provender.v1.RegistryService/ListRevisions"


@pytest.fixture(autouse=True)
def program(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the package use the program under test, and nothing else that the environment says."""
    for name in list(os.environ):
        if name.startswith("PROVENDER_") and name != "PROVENDER_TEST_BINARY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PROVENDER_BINARY", str(binary))


def revisions(store: provender.Store) -> int:
    return len(store.history())


def until(what: str, met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        threading.Event().wait(0.01)


def servers(folder: Path) -> list[int]:
    """The local servers of a folder, zombies among them where they are this process's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if (b"--local" in command and str(folder).encode() in command) or (
            state[0] == "Z" and state[1] == str(os.getpid())
        ):
            found.append(int(process.name))
    return found


def python(project: Project, text: str, **more: object) -> subprocess.Popen[str]:
    """A Python of its own, that has connected to the project as ``store``."""
    head = f"import os, signal, sys, provender\nstore = provender.connect({str(project.folder)!r})\n"
    environment = clean_environment() | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PROVENDER_BINARY": str(project.binary),
    }
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(text)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **more,  # type: ignore[call-overload]
    )


def test_starts_with_the_first_call_and_ends_with_the_store(project: Project) -> None:
    with provender.connect(project.folder) as store:
        assert servers(project.folder) == []
        assert revisions(store) == 0
        assert len(servers(project.folder)) == 1
        project.run("apply", "--yes")  # commands find it
        assert revisions(store) == 1
    assert servers(project.folder) == []
    with pytest.raises(provender.InvalidError, match="the store is closed"):
        store.history()


def test_stores_of_a_folder_share_a_server(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    first, second = provender.connect(), provender.connect(str(project.folder))
    assert revisions(first) == revisions(second) == 0
    only = servers(project.folder)
    assert len(only) == 1
    first.close()
    assert servers(project.folder) == only
    monkeypatch.chdir("/")
    assert revisions(second) == 0
    del second  # as a notebook does whose cell is run again
    assert servers(project.folder) == []


def test_starts_again_where_the_server_was_killed(project: Project) -> None:
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0
        (before,) = servers(project.folder)
        os.kill(before, signal.SIGKILL)
        assert revisions(store) == 0
        (after,) = servers(project.folder)
        assert after != before
    assert servers(project.folder) == []


def test_threads_start_one_server(project: Project) -> None:
    with provender.connect(project.folder) as store:
        counts: list[int] = []
        threads = [threading.Thread(target=lambda: counts.append(revisions(store))) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE)
        assert counts == [0] * 8
        assert len(servers(project.folder)) == 1


def test_uses_the_server_that_runs(project: Project) -> None:
    server = project.serve()
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0
        assert servers(project.folder) == []
        server.stop()
        assert revisions(store) == 0
        assert len(servers(project.folder)) == 1


def test_second_python_takes_over(project: Project) -> None:
    first = python(project, "store.history(); print('ready', flush=True); sys.stdin.read(); store.history()")
    assert first.stdout is not None
    assert first.stdout.readline() == "ready\n"
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0
        (before,) = servers(project.folder)
        out, err = first.communicate(timeout=PATIENCE)
        assert (first.returncode, out, err) == (0, "", "")
        assert servers(project.folder) == []
        assert revisions(store) == 0
        (after,) = servers(project.folder)
        assert after != before


def test_training_sets_of_a_folder(project: Project) -> None:
    """A server that is killed in between, and one that is killed amid a call before it answers, are started again."""
    project.run("apply", "--yes")
    spine = project.folder / "data" / "flights.parquet"
    asked = {"service": "delay_model_v1", "time": "departs"}
    with provender.connect(project.folder) as store:
        assert len(store.training_set(spine, **asked)) == 30_000
        os.kill(servers(project.folder)[0], signal.SIGKILL)
        assert len(store.training_set(spine, **asked)) == 30_000
        killed = []

        def kill(step: Step) -> None:
            if step.stage == "spine":
                killed.append(servers(project.folder)[0])
                os.kill(killed[0], signal.SIGKILL)

        assert len(store.training_set(spine, **asked, progress=kill)) == 30_000
        assert killed != servers(project.folder)


def test_killed_python_leaves_nothing(project: Project) -> None:
    killed = python(project, "store.history(); print('ready', flush=True); sys.stdin.read()")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "ready\n"
    assert len(servers(project.folder)) == 1
    killed.kill()
    killed.communicate(timeout=PATIENCE)
    until("the server ends", lambda: servers(project.folder) == [])


def test_python_that_ends_without_a_word(project: Project) -> None:
    """A program that forgets its store, and whose streams are closed, as those of a daemon."""
    silent = python(project, "os.close(0); os.close(1); os.close(2); sys.exit(0 if len(store.history()) == 0 else 1)")
    silent.communicate(timeout=PATIENCE)
    assert silent.returncode == 0
    assert servers(project.folder) == []


def test_streams_that_are_no_files(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's stdout and stderr have no descriptors."""

    class Cell:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None: ...

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Cell())
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0


def test_interrupt_is_not_for_the_server(project: Project) -> None:
    """Ctrl-C in a terminal goes to all processes of its group."""
    interrupted = python(
        project,
        """
        store.history()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may have been started to ignore it
        try:
            print("ready", flush=True)
            sys.stdin.read()
        except KeyboardInterrupt:
            print(len(store.history()), flush=True)
        sys.stdin.read()
        """,
        process_group=0,
    )
    assert interrupted.stdout is not None
    assert interrupted.stdout.readline() == "ready\n"
    (server,) = servers(project.folder)
    assert os.getpgid(server) != interrupted.pid
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.stdout.readline() == "0\n"
    assert servers(project.folder) == [server]
    _, err = interrupted.communicate(timeout=PATIENCE)
    assert interrupted.returncode == 0, err


def _in_child(store: provender.Store, parent_ends: object, done: object) -> None:
    done.put(revisions(store))  # type: ignore[attr-defined]
    parent_ends.get(timeout=PATIENCE)  # type: ignore[attr-defined]
    done.put(revisions(store))  # type: ignore[attr-defined]
    store.close()
    done.put(None)  # type: ignore[attr-defined]


def test_fork_uses_its_parents_server_and_does_not_keep_it(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    context = multiprocessing.get_context("fork")
    ends, done = context.Queue(), context.Queue()
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0
        child = context.Process(target=_in_child, args=(store, ends, done))
        child.start()
        assert done.get(timeout=PATIENCE) == 0
        (before,) = servers(project.folder)
    # The fork lives, and has a share of nothing: the server has ended by itself.
    assert servers(project.folder) == []
    assert caplog.messages == []
    ends.put(None)
    assert done.get(timeout=PATIENCE) == 0, "the fork starts a server of its own"
    assert before not in servers(project.folder)
    assert done.get(timeout=PATIENCE) is None
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert servers(project.folder) == []


def test_exit_of_a_fork_ends_nothing(project: Project) -> None:
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0
        pid = os.fork()
        if pid == 0:
            store.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert len(servers(project.folder)) == 1
        assert revisions(store) == 0


def test_no_project(tmp_path: Path) -> None:
    with provender.connect(tmp_path) as store, pytest.raises(provender.NotFoundError) as e:
        store.history()
    assert str(e.value).startswith(f"no provender.yaml in {tmp_path}")
    assert e.value.fix.startswith("provender init makes a project")
    with provender.connect(tmp_path / "none") as store, pytest.raises(provender.NotFoundError):
        store.history()
    assert servers(tmp_path) == []


def test_bad_project(project: Project) -> None:
    (project.folder / "provender.yaml").write_text("version: 1\nprojcet: flights\n")
    with provender.connect(project.folder) as store, pytest.raises(provender.InvalidError) as e:
        store.history()
    assert 'unknown key "projcet"' in str(e.value)
    (problem,) = (d for d in e.value.diagnostics if d.code == "unknown-key")
    assert (problem.line, problem.col, problem.hint) == (2, 1, 'did you mean "project"?')
    (project.folder / "provender.yaml").write_text("version: 1\nproject: flights\n")
    with provender.connect(project.folder) as store:
        assert revisions(store) == 0


def test_environment(project: Project) -> None:
    with provender.connect(project.folder, env="nope") as store, pytest.raises(provender.InvalidError, match="nope"):
        store.history()
    with pytest.raises(provender.InvalidError, match="env is for a project folder"):
        provender.connect("localhost:1", env="prod")


def test_no_program(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # What pip makes of the entry point is no program: it would look for itself.
    script = tmp_path / "bin" / "provender"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom _provender_command import main\nmain()\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.delenv("PROVENDER_BINARY")
    monkeypatch.setattr(_local._provender_command, "PACKAGED", tmp_path / "none")
    with provender.connect(project.folder) as store, pytest.raises(provender.PreconditionError) as e:
        store.history()
    assert "no provender program is in this installation" in str(e.value)
    assert "go build ./cmd/provender" in e.value.fix
    monkeypatch.setenv("PROVENDER_BINARY", str(tmp_path / "none"))
    with (
        provender.connect(project.folder) as store,
        pytest.raises(provender.PreconditionError, match="PROVENDER_BINARY"),
    ):
        store.history()
    monkeypatch.delenv("PROVENDER_BINARY")
    # A program that is no provender, or an old one.
    script.write_text("#!/bin/sh\necho no such flag: --local >&2\nexit 1\n")
    with (
        provender.connect(project.folder) as store,
        pytest.raises(provender.UnavailableError, match="no such flag: --local"),
    ):
        store.history()


@pytest.mark.parametrize(
    ("target", "folder", "address"),
    [
        ("", "", ""),
        (".", ".", ""),
        ("features", "features", ""),
        (Path("a:1"), "a:1", ""),
        ("./a:1", "./a:1", ""),
        ("a:1", None, "a:1"),
        ("[::1]:6565", None, "[::1]:6565"),
        ("grpcs://a:1", None, "grpcs://a:1"),
        ("http://a:1", None, "http://a:1"),
        ("unix:/tmp/s", None, "unix:/tmp/s"),
        ("localhost", "localhost", ""),
    ],
)
def test_places(target: str, folder: str | None, address: str) -> None:
    assert _local.place_of(target) == _local.Place(folder, address)
