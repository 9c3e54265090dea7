"""Definitions: what is applied, the files that declare them, plans of changes."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from . import _tables
from ._errors import InvalidError, NotFoundError
from ._records import Record, Records
from .v1 import registry_pb2

# A folder, or the contents of definition files by the names that problems are reported under.
Source = str | os.PathLike[str] | Mapping[str, str | bytes]

Kind = Literal["Entity", "Source", "FeatureView", "FeatureService"]

CONFIG = "provender.yaml"
_MAX_FILE = 4 << 20  # more is refused by servers, too
_GIT_PATIENCE = 10.0

_KINDS: dict[str, registry_pb2.DefinitionKind] = {
    "Entity": registry_pb2.DEFINITION_KIND_ENTITY,
    "Source": registry_pb2.DEFINITION_KIND_SOURCE,
    "FeatureView": registry_pb2.DEFINITION_KIND_FEATURE_VIEW,
    "FeatureService": registry_pb2.DEFINITION_KIND_FEATURE_SERVICE,
}
_NAMES = {number: name for name, number in _KINDS.items()}
# As the command line has them too.
_SHORT = {
    "entity": "Entity",
    "entities": "Entity",
    "source": "Source",
    "sources": "Source",
    "view": "FeatureView",
    "views": "FeatureView",
    "service": "FeatureService",
    "services": "FeatureService",
}


def kind_number(kind: str) -> registry_pb2.DefinitionKind:
    """Returns the kind that is called "view", "views" or "FeatureView", and so on."""
    number = _KINDS.get(_SHORT.get(kind, kind))
    if number is None:
        raise InvalidError(
            f"there is no kind {kind!r} of definition", field="kind", fix='"entity", "source", "view" or "service"'
        )
    return number


@dataclass(frozen=True, repr=False)
class Revision(Record):
    """The record of one apply. Number 0: nothing was applied yet.

    Attributes:
        number: Revisions count from 1.
        digest: Of the definitions.
        applied: When.
        by: user@host, or the token's name.
        commit: The Git commit of the definitions; empty where it is not known.
        tool: The version of Provender.
        summary: What has changed.
        rollback_of: The revision that a rollback made it equal to; 0 for none.
    """

    number: int
    digest: str
    applied: datetime | None
    by: str
    commit: str
    tool: str
    summary: str
    rollback_of: int


class Revisions(Records[Revision]):
    """Revisions, newest first."""

    kind: ClassVar[type[Record]] = Revision
    shown: ClassVar[tuple[str, ...]] = ("number", "applied", "by", "commit", "summary")


@dataclass(frozen=True, repr=False)
class Definition(Record):
    """One entity, source, view or service.

    Attributes:
        kind: "Entity", "Source", "FeatureView" or "FeatureService".
        name: Its name.
        json: All of it as JSON, with the names of definition files.
        revision: The revision that it is of.
    """

    kind: str
    name: str
    json: str
    revision: int

    @property
    def spec(self) -> dict[str, Any]:
        """The definition as Python has JSON: dicts, lists, texts and numbers."""
        spec: dict[str, Any] = json.loads(self.json)
        return spec

    @property
    def description(self) -> str:
        """What the definition says of itself."""
        return str(self.spec.get("description", ""))

    def __repr__(self) -> str:
        """Returns the definition as JSON."""
        spec = json.dumps(self.spec, indent=2, ensure_ascii=False)
        return f"{self.kind} {self.name}, revision {self.revision}\n{spec}"

    def _repr_html_(self) -> str:
        rows = [(k, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for k, v in self.spec.items()]
        return _tables.html_table(["", self.kind], rows, caption=f"{self.kind} {self.name}, revision {self.revision}")


class Definitions(Records[Definition]):
    """Definitions, by kind, then name."""

    kind: ClassVar[type[Record]] = Definition
    shown: ClassVar[tuple[str, ...]] = ("kind", "name", "description")


def definition_of(message: registry_pb2.Definition, revision: int) -> Definition:
    """Returns the definition of a message."""
    return Definition(_NAMES.get(message.kind, ""), message.name, message.json, revision)


@dataclass(frozen=True, repr=False)
class Diagnostic(Record):
    """One problem of a definition file.

    Attributes:
        file: The file.
        line: From 1; 0 where it is the whole file.
        col: In characters, from 1; 0 where it is the whole line.
        code: "unknown-key": stable.
        message: What is wrong.
        hint: What to do about it.
    """

    file: str
    line: int
    col: int
    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        """Returns the problem as the command line prints it."""
        at = ":".join([self.file, *(str(n) for n in (self.line, self.col) if n)])
        return f"{at}: {self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, repr=False)
class Hazard(Record):
    """What a change means for those who use what it changes: docs/reference/plan.md.

    Attributes:
        code: "ttl-changed": stable.
        breaking: Whether callers get errors, or other values under names that they know.
        message: What it means.
        services: Whose callers it touches.
    """

    code: str
    breaking: bool
    message: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Field(Record):
    """One field that a change changes.

    Attributes:
        path: "features.mean_delay.default".
        old: What it was; empty where it is new.
        new: What it is; empty where it goes.
    """

    path: str
    old: str
    new: str


@dataclass(frozen=True, repr=False)
class Change(Record):
    """What a plan does with one definition.

    Attributes:
        action: "add", "change", "rename" or "delete".
        kind: The kind of definition.
        name: Its name.
        was: The name that it had.
        fields: Those that differ.
        hazards: What that means for others.
        services: Those that it touches.
        new_generation: Whether the view's next run fills it anew.
    """

    action: str
    kind: str
    name: str
    was: str = ""
    fields: tuple[Field, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    services: tuple[str, ...] = ()
    new_generation: bool = False


@dataclass(frozen=True, repr=False)
class Estimate(Record):
    """What the run that fills a view anew will read and store.

    Attributes:
        view: The feature view.
        files: Of its source.
        sampled: Those that were looked at; where fewer, all figures are in proportion.
        rows: Of all files.
        keys: About so many entities; 0: not known.
        read_bytes: Of the columns that are needed.
        stored_bytes: About so many online; 0: not known.
    """

    view: str
    files: int
    sampled: int
    rows: int
    keys: int
    read_bytes: int
    stored_bytes: int


_SIGNS = {"add": "+", "delete": "-"}


@dataclass(frozen=True, repr=False)
class Plan(Record):
    """What applying would change. ``Store.apply`` does exactly that, or refuses where the registry has moved since.

    Attributes:
        base_revision: The revision that it changes.
        changes: Per definition.
        services: Those that are touched.
        generations: Views that their next run fills anew; what is online serves until then.
        estimates: What those runs will read and store, where the files can be read.
        rollback_of: The revision that it goes back to; 0 for none.
        warnings: What is odd about the files.
        json: All of it, as a plan file has it.
    """

    base_revision: int
    changes: tuple[Change, ...]
    services: tuple[str, ...]
    generations: tuple[str, ...]
    estimates: tuple[Estimate, ...] = ()
    rollback_of: int = 0
    warnings: tuple[Diagnostic, ...] = ()
    json: bytes = field(default=b"")

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.changes

    @property
    def breaking(self) -> bool:
        """Whether it breaks what services use: then ``apply`` wants ``allow_breaking``."""
        return any(h.breaking for c in self.changes for h in c.hazards)

    @property
    def summary(self) -> str:
        """How many definitions are added, changed and deleted."""
        said = {"add": "to add", "change": "to change", "rename": "to rename", "delete": "to delete"}
        counts = {action: sum(c.action == action for c in self.changes) for action in said}
        return ", ".join(f"{n} {said[action]}" for action, n in counts.items() if n or action != "rename")

    def __repr__(self) -> str:
        """Returns what would change, as the command line prints it."""
        out = [f"Warning: {w}" for w in self.warnings]
        if self.empty:
            return "\n".join([*out, f"No changes: the definitions are those of revision {self.base_revision}."])
        out += [f"Changes to revision {self.base_revision}:", ""]
        for c in self.changes:
            out.append(f"  {_SIGNS.get(c.action, '~')} {c.kind} {c.name}" + (f", was {c.was}" if c.was else ""))
            out += [f"      {f.path}: {_change(f)}" for f in c.fields]
            out += [f"      {'breaking' if h.breaking else 'hazard'}: {h.code}: {h.message}" for h in c.hazards]
        out += ["", f"{self.summary}."]
        if self.services:
            out.append(f"Services touched: {', '.join(self.services)}.")
        if self.generations:
            filled = ", ".join(self.generations)
            out.append(f"Views filled anew by their next run: {filled}. What is online serves until then.")
        if self.breaking:
            out.append("Some of this breaks what is in use; see the lines marked breaking.")
        return "\n".join(out)

    def _repr_html_(self) -> str:
        rows = [
            (
                c.action,
                c.kind,
                c.name + (f", was {c.was}" if c.was else ""),
                "; ".join(f"{f.path}: {_change(f)}" for f in c.fields),
                "; ".join(f"{'breaking: ' if h.breaking else ''}{h.code}" for h in c.hazards),
            )
            for c in self.changes
        ]
        caption = f"Plan against revision {self.base_revision}: {self.summary}"
        return _tables.html_table(["action", "kind", "name", "changes", "hazards"], rows, caption=caption)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a plan file, as ``provender plan --out`` does, for ``provender apply FILE``."""
        Path(path).write_bytes(self.json)


def _change(f: Field) -> str:
    if not f.old:
        return f.new
    return f"{f.old} -> {f.new}" if f.new else f"{f.old}, removed"


def plan_of(raw: bytes, warnings: Iterable[registry_pb2.Diagnostic] = ()) -> Plan:
    """Returns the plan that plan file's bytes have."""
    try:
        file = json.loads(raw)
        changes = tuple(_change_of(c) for c in file.get("changes") or ())
        names = [f.name for f in fields(Estimate)]
        estimates = tuple(Estimate(**{n: e[n] for n in names}) for e in file.get("estimates") or ())
        base = int(file["base_revision"])
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InvalidError(f"this is no plan: {e}", field="plan", fix="plan again") from None
    return Plan(
        base,
        changes,
        tuple(file.get("services") or ()),
        tuple(file.get("generations") or ()),
        estimates,
        file.get("rollback_of", 0),
        tuple(map(diagnostic_of, warnings)),
        raw,
    )


def _change_of(c: dict[str, Any]) -> Change:
    return Change(
        c["action"],
        c["kind"],
        c["name"],
        c.get("was", ""),
        tuple(Field(f["path"], f.get("old", ""), f.get("new", "")) for f in c.get("fields") or ()),
        tuple(
            Hazard(h["code"], h.get("breaking", False), h["message"], tuple(h.get("services") or ()))
            for h in c.get("hazards") or ()
        ),
        tuple(c.get("services") or ()),
        c.get("new_generation", False),
    )


def diagnostic_of(message: registry_pb2.Diagnostic) -> Diagnostic:
    """Returns the diagnostic of a message."""
    return Diagnostic(message.file, message.line, message.col, message.code, message.message, message.hint)


def refused(problems: Sequence[registry_pb2.Diagnostic]) -> InvalidError:
    """Returns the error of definition files that have problems."""
    lines = [str(diagnostic_of(p)) for p in problems]
    return InvalidError("the definitions have problems:\n" + "\n".join(lines), diagnostics=problems)


def read_files(source: Source) -> list[registry_pb2.DefinitionFile]:
    """Returns the definition files of a source, to be sent: a server is told no path of this machine to read."""
    if isinstance(source, Mapping):
        return [
            registry_pb2.DefinitionFile(name=name, content=text.encode() if isinstance(text, str) else text)
            for name, text in source.items()
        ]
    return _read_folder(os.fspath(source) or ".")


def _read_folder(root: str) -> list[registry_pb2.DefinitionFile]:
    """Returns the definition files of a project's folder: those that the command line reads, in its order."""
    if not os.path.isfile(os.path.join(root, CONFIG)):
        raise NotFoundError(
            f"no {CONFIG} in {root}", fix="name the project's folder, or give the files' contents by name"
        )
    files: list[registry_pb2.DefinitionFile] = []
    problems: list[registry_pb2.Diagnostic] = []

    def wrong(path: str, code: str, message: str, hint: str = "") -> None:
        problems.append(registry_pb2.Diagnostic(file=path, code=code, message=message, hint=hint))

    def walk(folder: str) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name))
        except OSError as e:
            wrong(folder, "unreadable-file", e.strerror or str(e))
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                walk(os.path.join(folder, entry.name))
            elif entry.name.endswith((".yaml", ".yml")):
                one(folder, entry.name)

    def one(folder: str, name: str) -> None:
        path = os.path.normpath(os.path.join(folder, name))
        if name == CONFIG:
            if folder != root:
                wrong(path, "nested-project", f"a project within the project in {root}", "move one of them")
            return
        try:
            found = os.stat(path)
            if stat.S_ISDIR(found.st_mode):
                return  # a link to a folder is not followed
            if not stat.S_ISREG(found.st_mode):
                wrong(path, "unreadable-file", "not a regular file")
            elif found.st_size > _MAX_FILE:
                size = f"the file has {found.st_size} bytes, at most {_MAX_FILE} are read"
                wrong(path, "file-too-large", size, "split it")
            else:
                text = Path(path).read_bytes()
                sent = path.encode(errors="replace").decode()
                files.append(registry_pb2.DefinitionFile(name=sent, content=text))
        except OSError as e:
            wrong(path, "unreadable-file", e.strerror or str(e))

    walk(root)
    if problems:
        raise refused(problems)
    return files


def commit_of(source: Source) -> str:
    """Returns the Git commit of a folder's definitions, "-dirty" where they have changed since; empty for none."""
    if isinstance(source, Mapping):
        return ""

    def git(*args: str) -> str:
        command = ["git", "-C", os.fspath(source) or ".", *args]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_PATIENCE,
            check=True,
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""
    try:
        changed = git("status", "--porcelain", "--", "*.yaml", "*.yml")
    except (OSError, subprocess.SubprocessError):
        changed = "?"
    return commit + "-dirty" if changed else commit


def user() -> str:
    """Returns user@host, for records."""
    name = os.environ.get("USER") or f"uid{os.getuid()}"
    return f"{name}@{socket.gethostname()}"
