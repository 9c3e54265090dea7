"""The calls of a store beside lookups and training sets: definitions, runs, what is online."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ._channel import Channel, request_id
from ._definitions import (
    Definition,
    Definitions,
    Plan,
    Revision,
    Revisions,
    Source,
    commit_of,
    definition_of,
    kind_number,
    plan_of,
    read_files,
    refused,
    user,
)
from ._errors import InternalError, InvalidError, ProvenderError, UnavailableError
from ._explain import Explanation, explanation_of, key_columns
from ._instant import Instant, micros
from ._progress import Progress, Step, watching
from ._records import record_of
from ._runs import (
    Comparison,
    DefinitionsStatus,
    Difference,
    Pruned,
    Prunes,
    Run,
    RunPlan,
    RunPlans,
    Runs,
    Status,
    Token,
    Tokens,
    Verification,
    ViewStatus,
)
from .v1 import admin_pb2, offline_pb2, operations_pb2, registry_pb2

_ADMIN = "/provender.v1.AdminService/"
_OFFLINE = "/provender.v1.OfflineService/"
_OPERATIONS = "/provender.v1.OperationsService/"
_REGISTRY = "/provender.v1.RegistryService/"

# How often a stream that was cut off is asked for again, and the seconds before that: twice as long each time.
_REPEATS = 4
_REPEAT_AFTER = 0.5

_PAGE = 1000
_INT32_MAX = (1 << 31) - 1


class Operations:
    """The calls of a store beside lookups and training sets."""

    _channel: Channel
    _folder: str  # where definition files are, unless a call says otherwise

    def list(self, kind: str | None = None, *, revision: int = 0) -> Definitions:
        """Lists the definitions that are applied, by kind, then name.

        Args:
            kind: "entity", "source", "view" or "service"; None for all.
            revision: 0 for the current one.
        """
        only = registry_pb2.DEFINITION_KIND_UNSPECIFIED if kind is None else kind_number(kind)

        def page(size: int, token: str) -> registry_pb2.ListDefinitionsResponse:
            request = registry_pb2.ListDefinitionsRequest(
                kind=only, revision=revision, page_size=size, page_token=token
            )
            return self._channel.call(_REGISTRY + "ListDefinitions", request, registry_pb2.ListDefinitionsResponse)

        return Definitions(definition_of(d, p.revision.number) for p in pages(page) for d in p.definitions)

    def show(self, kind: str, name: str, *, revision: int = 0) -> Definition:
        """Returns one definition.

        Args:
            kind: "entity", "source", "view" or "service".
            name: Its name.
            revision: 0 for the current one.

        Example:
            >>> store.show("service", "delay_model_v1").spec["features"]
        """
        request = registry_pb2.GetDefinitionRequest(kind=kind_number(kind), name=name, revision=revision)
        answer = self._channel.call(_REGISTRY + "GetDefinition", request, registry_pb2.GetDefinitionResponse)
        return definition_of(answer.definition, answer.revision.number)

    def history(self, limit: int = 0) -> Revisions:
        """Lists revisions, newest first.

        Args:
            limit: At most so many; 0 for all.
        """
        most = number(limit, "limit")

        def page(size: int, token: str) -> registry_pb2.ListRevisionsResponse:
            request = registry_pb2.ListRevisionsRequest(limit=most, page_size=size, page_token=token)
            return self._channel.call(_REGISTRY + "ListRevisions", request, registry_pb2.ListRevisionsResponse)

        return Revisions(record_of(Revision, r) for p in pages(page) for r in p.revisions)

    def revision(self, number: int = 0) -> tuple[Revision, Plan | None]:
        """Returns one revision and the plan that made it; None where another version of Provender did.

        Args:
            number: 0 for the current one.
        """
        request = registry_pb2.GetRevisionRequest(number=number)
        answer = self._channel.call(_REGISTRY + "GetRevision", request, registry_pb2.GetRevisionResponse)
        return record_of(Revision, answer.revision), plan_of(answer.plan) if answer.plan else None

    def plan(self, source: Source | None = None, *, against: int = 0, timeout: float | None = None) -> Plan:
        """Tells what applying definition files would change. Nothing is written.

        Args:
            source: A project's folder on this machine, or the contents of files by name; None for the store's folder,
                or, of a server, the current one. The files themselves are sent.
            against: The revision to compare with; 0 for the current one. Only then can the plan be applied.
            timeout: Seconds that the call takes at most; None for the connection's.

        Raises:
            InvalidError: The files have problems: its ``diagnostics``.
        """
        files = read_files(self._folder if source is None else source)
        request = registry_pb2.PlanDefinitionsRequest(files=files, against=against)
        answer = self._channel.call(
            _REGISTRY + "PlanDefinitions", request, registry_pb2.PlanDefinitionsResponse, timeout=timeout
        )
        if answer.problems:
            raise refused(answer.problems)
        return plan_of(answer.plan, answer.warnings)

    def apply(self, plan: Plan | Source | None = None, *, allow_breaking: bool = False) -> Revision:
        """Does exactly what a plan says, in one transaction, and returns the revision that it has become.

        Args:
            plan: A plan, or what ``plan`` makes one of.
            allow_breaking: Does it although it breaks what services use.

        Raises:
            ConflictError: The registry has moved since the plan was made.
            PreconditionError: It breaks what services use.

        Example:
            >>> plan = store.plan()
            >>> plan                    # look at it
            >>> store.apply(plan)
        """
        source = self._folder if plan is None else plan
        made = source if isinstance(source, Plan) else self.plan(source)
        commit = "" if made.rollback_of else commit_of(self._folder if isinstance(source, Plan) else source)
        request = registry_pb2.ApplyPlanRequest(plan=made.json, allow_breaking=allow_breaking, commit=commit, by=user())
        answer = self._channel.call(_REGISTRY + "ApplyPlan", request, registry_pb2.ApplyPlanResponse)
        return record_of(Revision, answer.revision)

    def plan_rollback(self, revision: int) -> Plan:
        """Tells what making the next revision equal to an earlier one would change. Nothing is written."""
        request = registry_pb2.PlanRollbackRequest(revision=revision)
        return plan_of(self._channel.call(_REGISTRY + "PlanRollback", request, registry_pb2.PlanRollbackResponse).plan)

    def rollback(self, revision: int, *, allow_breaking: bool = False) -> Revision:
        """Makes the next revision equal to an earlier one.

        The definition files are as they were: the next apply of them undoes it. Revert the change there as well.

        Args:
            revision: The earlier one.
            allow_breaking: Does it although it breaks what services use.
        """
        return self.apply(self.plan_rollback(revision), allow_breaking=allow_breaking)

    def materialize(
        self,
        views: str | Sequence[str] | None = None,
        *,
        to: Instant | None = None,
        full: bool = False,
        allow_future: bool = False,
        progress: Progress = None,
        timeout: float | None = None,
    ) -> Runs:
        """Brings history into the online store: runs views one after another, and returns the record of each.

        Where the connection is lost, the records of the same runs are asked for again: what has begun is not run twice.

        Args:
            views: One or several; None for every view that is online.
            to: The instant to cover rows up to; None for now, less the allowed clock skew.
            full: Fills a new generation from all files.
            allow_future: Accepts an instant in the future.
            progress: True for a bar, False for none, None for one where somebody watches; or who is told.
            timeout: Seconds that the call takes at most; None for as long as it takes.

        Raises:
            ProvenderError: A view has failed. The others have run; ``runs`` has all.
        """
        request = operations_pb2.MaterializeRequest(
            views=names(views), to=timestamp(to, "to"), full=full, allow_future=allow_future
        )
        with _shown(progress) as show:
            method = _OPERATIONS + "Materialize"
            return runs_of(self._channel, method, request, operations_pb2.MaterializeResponse, show, timeout)

    def plan_materialize(
        self,
        views: str | Sequence[str] | None = None,
        *,
        to: Instant | None = None,
        full: bool = False,
        allow_future: bool = False,
    ) -> RunPlans:
        """Tells what ``materialize`` would read with the same arguments, and why. Nothing is written."""
        request = operations_pb2.PlanMaterializeRequest(
            views=names(views), to=timestamp(to, "to"), full=full, allow_future=allow_future
        )
        answer = self._channel.call(_OPERATIONS + "PlanMaterialize", request, operations_pb2.PlanMaterializeResponse)
        return RunPlans(record_of(RunPlan, p) for p in answer.plans)

    def runs(self, views: str | Sequence[str] | None = None, *, limit: int = 0) -> Runs:
        """Lists runs, newest first.

        Args:
            views: One or several; None for all.
            limit: At most so many; 0 for all.
        """
        asked, most = names(views), number(limit, "limit")

        def page(size: int, token: str) -> operations_pb2.ListRunsResponse:
            request = operations_pb2.ListRunsRequest(views=asked, limit=most, page_size=size, page_token=token)
            return self._channel.call(_OPERATIONS + "ListRuns", request, operations_pb2.ListRunsResponse)

        return Runs(record_of(Run, r) for p in pages(page) for r in p.runs)

    def run(self, id: int) -> Run:  # noqa: A002
        """Returns one run."""
        request = operations_pb2.GetRunRequest(id=id)
        return record_of(Run, self._channel.call(_OPERATIONS + "GetRun", request, operations_pb2.GetRunResponse).run)

    def cancel_run(self, id: int) -> Run:  # noqa: A002
        """Asks for the end of a run, and returns it as it is then: one that is running ends within seconds."""
        request = operations_pb2.CancelRunRequest(id=id)
        answer = self._channel.call(_OPERATIONS + "CancelRun", request, operations_pb2.CancelRunResponse)
        return record_of(Run, answer.run)

    def retry_run(self, id: int, *, progress: Progress = None, timeout: float | None = None) -> Runs:  # noqa: A002
        """Runs again what a run that failed or was cancelled was asked for. The rest is as of ``materialize``."""
        with _shown(progress) as show:
            method, request = _OPERATIONS + "RetryRun", operations_pb2.RetryRunRequest(id=id)
            return runs_of(self._channel, method, request, operations_pb2.RetryRunResponse, show, timeout)

    def pause(self, views: str | Sequence[str] | None = None) -> tuple[str, ...]:
        """Lets the schedules of views (None: all that have one) rest, and returns those that rest now."""
        request = operations_pb2.PauseSchedulesRequest(views=names(views))
        method = _OPERATIONS + "PauseSchedules"
        return tuple(self._channel.call(method, request, operations_pb2.PauseSchedulesResponse).views)

    def resume(self, views: str | Sequence[str] | None = None) -> tuple[str, ...]:
        """Ends the rest of the schedules of views (None: all that rest), and returns those that go on."""
        request = operations_pb2.ResumeSchedulesRequest(views=names(views))
        method = _OPERATIONS + "ResumeSchedules"
        return tuple(self._channel.call(method, request, operations_pb2.ResumeSchedulesResponse).views)

    def status(self, views: str | Sequence[str] | None = None) -> Status:
        """Tells the state of views: up to when they are online, how far behind, and what is wrong.

        Args:
            views: One or several; None for all.
        """
        request = operations_pb2.GetStatusRequest(views=names(views))
        answer = self._channel.call(_OPERATIONS + "GetStatus", request, operations_pb2.GetStatusResponse)
        status = Status(record_of(ViewStatus, v) for v in answer.views)
        if answer.HasField("definitions"):
            status.definitions = record_of(DefinitionsStatus, answer.definitions)
        return status

    def verify(
        self,
        views: str | Sequence[str] | None = None,
        *,
        sample: int = 0,
        full: bool = False,
        now: Instant | None = None,
        repair: bool = False,
        progress: Progress = None,
        timeout: float | None = None,
    ) -> Verification:
        """Compares what is served with what history says, cell by cell.

        Args:
            views: One or several; None for every view that is online.
            sample: Entities per view; 0 for 1,000.
            full: Compares every entity and every stored row.
            now: The read time; None for the server's clock.
            repair: Rewrites what is wrong or missing, removes what is extra, and compares again.
            progress: True for a bar, False for none, None for one where somebody watches; or who is told.
            timeout: Seconds that the call takes at most; None for as long as it takes.

        Example:
            >>> assert store.verify(full=True).equal
        """
        request = operations_pb2.VerifyRequest(
            views=names(views), sample=number(sample, "sample"), full=full, now=timestamp(now, "now"), repair=repair
        )
        found: list[Comparison] = []

        def take(m: operations_pb2.VerifyResponse) -> None:
            found.append(
                record_of(
                    Comparison,
                    m.report,
                    differences=tuple(record_of(Difference, d, kind=getattr(d, "class")) for d in m.report.differences),
                )
            )

        with _shown(progress) as show:
            method = _OPERATIONS + "Verify"
            watched(self._channel.stream(method, request, operations_pb2.VerifyResponse, timeout=timeout), show, take)
        return Verification(found)

    def prune(self, *, dry_run: bool = False, progress: Progress = None, timeout: float | None = None) -> Prunes:
        """Removes from the online store what no definition needs, and returns it.

        Args:
            dry_run: Only tells what.
            progress: True for a bar, False for none, None for one where somebody watches; or who is told.
            timeout: Seconds that the call takes at most; None for as long as it takes.
        """
        gone: list[Pruned] = []
        request = operations_pb2.PruneRequest(dry_run=dry_run)
        with _shown(progress) as show:
            answers = self._channel.stream(
                _OPERATIONS + "Prune", request, operations_pb2.PruneResponse, timeout=timeout
            )
            watched(answers, show, lambda m: gone.append(record_of(Pruned, m.pruned)))
        return Prunes(gone)

    def explain(
        self,
        feature: str,
        *,
        entities: Mapping[str, Any] | None = None,
        at: Instant | None = None,
        candidates: int = 3,
        timeout: float | None = None,
    ) -> Explanation:
        """Tells why a feature has the value that it has for one entity at an instant, by the files of history.

        Args:
            feature: "view:feature".
            entities: The entity: ``{"airport": "JFK"}``; nothing where the view is global.
            at: The instant; None for now.
            candidates: Other rows to list, up to the instant and after it.
            timeout: Seconds that the call takes at most; None for the connection's.

        Example:
            >>> store.explain("airport_hourly:mean_delay_1h", entities={"airport": "JFK"}, at="2001-06-30T18:00:00Z")
        """
        view, colon, name = feature.partition(":")
        if not (view and colon and name):
            raise InvalidError(f"{feature!r} is no feature", field="feature", fix='write "view:feature"')
        keys = entities or {}
        request = offline_pb2.ExplainRequest(
            view=view,
            feature=name,
            keys=key_columns(keys),
            at=timestamp(at, "at"),
            candidates=number(candidates, "candidates"),
        )
        answer = self._channel.call(_OFFLINE + "Explain", request, offline_pb2.ExplainResponse, timeout=timeout)
        return explanation_of(answer, feature, keys)

    def create_token(self, name: str, roles: Sequence[str], *, expires: Instant | None = None) -> tuple[str, Token]:
        """Makes a token, and returns its secret, which is told once, and what is known of it.

        Args:
            name: Its name.
            roles: "read-online", "read-offline", "write", "apply", "admin".
            expires: When it ends; None for never.
        """
        request = admin_pb2.CreateTokenRequest(name=name, roles=names(roles), expires=timestamp(expires, "expires"))
        answer = self._channel.call(_ADMIN + "CreateToken", request, admin_pb2.CreateTokenResponse, repeat=False)
        return answer.secret, record_of(Token, answer.token)

    def tokens(self, *, revoked: bool = False) -> Tokens:
        """Lists tokens by name.

        Args:
            revoked: Those that were revoked, too.
        """
        request = admin_pb2.ListTokensRequest(revoked=revoked)
        answer = self._channel.call(_ADMIN + "ListTokens", request, admin_pb2.ListTokensResponse)
        return Tokens(record_of(Token, t) for t in answer.tokens)

    def revoke_token(self, name: str) -> Token:
        """Ends the token of a name, within seconds."""
        request = admin_pb2.RevokeTokenRequest(name=name)
        return record_of(
            Token, self._channel.call(_ADMIN + "RevokeToken", request, admin_pb2.RevokeTokenResponse).token
        )


@contextmanager
def _shown(progress: Progress) -> Iterator[Callable[[operations_pb2.Progress], None] | None]:
    """Gives what is to be told of a server's progress; None where nobody watches."""
    with watching(progress) as show:
        if show is None:
            yield None
        else:
            yield lambda p: show(
                Step(
                    f"{p.view}: {p.stage}" if p.view and p.stage else p.view + p.stage,
                    p.done,
                    p.size,
                    min(p.done / p.size, 1.0) if p.size else 0.0,
                )
            )


def timestamp(value: Instant | None, name: str) -> Timestamp | None:
    """Returns the message of an instant, None for none."""
    if value is None:
        return None
    seconds, rest = divmod(micros(value, name), 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def names(views: str | Sequence[str] | None) -> list[str]:
    """Returns names of views, of one or several; none for all."""
    if views is None:
        return []
    return [views] if isinstance(views, str) else list(views)


def number(value: int, name: str) -> int:
    """Returns a number that a request has room for; larger ones ask for all."""
    try:
        n = operator.index(value)
    except TypeError:
        raise InvalidError(f"{name} is {value!r}, no whole number", field=name) from None
    if n < 0:
        raise InvalidError(f"{name} is {n}: want 0 or more", field=name)
    return min(n, _INT32_MAX)


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


P = TypeVar("P", bound=_Page)


def pages(page: Callable[[int, str], P]) -> Iterator[P]:
    """Yields the pages of a list: ``page`` is called with a page's size, and the token for it of the one before."""
    token = ""
    while True:
        answer = page(_PAGE, token)
        yield answer
        if not answer.next_page_token:
            return
        if answer.next_page_token == token:
            raise InternalError("the server's answer is malformed: a page that leads to itself")
        token = answer.next_page_token


M = TypeVar("M", bound=Message)


def watched(
    answers: Iterator[M], show: Callable[[operations_pb2.Progress], None] | None, take: Callable[[M], None]
) -> None:
    """Takes the messages of a stream until it ends, and shows those that are progress."""
    for answer in answers:
        if not answer.HasField("progress"):
            take(answer)
        elif show is not None:
            show(answer.progress)  # type: ignore[attr-defined]


RunMessage = operations_pb2.MaterializeResponse | operations_pb2.RetryRunResponse


def runs_of(
    channel: Channel,
    method: str,
    request: operations_pb2.MaterializeRequest | operations_pb2.RetryRunRequest,
    response: type[Message],
    show: Callable[[operations_pb2.Progress], None] | None,
    timeout: float | None,
) -> Runs:
    """Makes a call that runs views, and makes it again where the connection is lost: what has begun is not run twice.

    Raises:
        ProvenderError: The call's, with the records of the runs that there were as a note.
    """
    request.request_id = request_id()
    pause, left, runs = _REPEAT_AFTER, _REPEATS, Runs()
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        got: list[Run] = []
        try:
            rest = None if end is None else max(end - time.monotonic(), 0)
            watched(
                channel.stream(method, request, response, timeout=rest),
                show,
                lambda m: got.append(record_of(Run, m.run)),  # type: ignore[attr-defined]  # noqa: B023
            )
            return Runs(got)
        except ProvenderError as e:
            runs = Runs(got) if got else runs
            if left == 0 or not _cut_off(e):
                if runs:
                    e.add_note(repr(runs))
                raise
        left -= 1
        time.sleep(pause)
        pause *= 2


def _cut_off(error: ProvenderError) -> bool:
    """Reports that a call ended without the server's own answer, which says when to try again."""
    return isinstance(error, UnavailableError) and error.retry_after is None
