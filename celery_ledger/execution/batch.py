"""Makes several first attempts at jobs of one task in one transaction. All of them are settled by
its commit; if one does not end well, all are rolled back and each is made by itself.

Celery's tracer reports the end of a task when its body returns, and that has to be after the
commit. So the attempts are nested: each one, where it would commit, begins the next; the last one
commits; then all of them return, the last one first.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Protocol

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import Error, connection, transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import OneByOne, is_passing
from celery_ledger.execution.verdict import owe
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Claim, Job, Settled

log = logging.getLogger(__name__)


# Makes the attempt of a claim in this batch, or by itself for None; returns what Celery's tracer
# does.
Begin = Callable[[Claim, "Batch | None"], Any]

_rests: dict[str, "Rest"] = {}  # by task, of those whose newest batch was rolled back


def may_be_in_one(task: Task) -> bool:
    """Whether jobs of this task may share a transaction. Those of a task with limits may not: each
    takes its slot or place in a claim of its own.
    """
    return bool(task.atomic and task.batched and not task.is_limited)


def trusted_ids(task: Task, also: Any) -> list[str]:
    """The ids in a bell's `also`; none of them if it is not what a worker's main process writes
    there (`celery.handing`), since anybody who reaches the broker can write there too.
    """
    are_ids = isinstance(also, list) and all(isinstance(id_, str) for id_ in also)
    is_ours = are_ids and may_be_in_one(task) and len(also) < ledger_settings.BATCH_ATTEMPTS
    return also if is_ours else []


class Member(Protocol):
    """The part of an attempt that its batch writes."""

    ended: float | None  # by the monotonic clock, when its body had ended


class Rest(NamedTuple):
    """A pause of a task's batches, after one was rolled back; each job is made by itself until it
    is over.
    """

    until: float  # by the monotonic clock
    length_s: float

    @classmethod
    def after(cls, before: "Rest | None") -> "Rest":
        """A rest from now on, twice as long as the one before, BATCH_REST_S at most."""
        length_s = before.length_s * 2 if before else ledger_settings.BATCH_FIRST_REST_S
        length_s = min(length_s, ledger_settings.BATCH_REST_S)
        return cls(monotonic() + length_s, length_s)


class Batch:
    """The attempts of these claims, in one transaction."""

    def __init__(self, claims: Sequence[Claim], begin: Begin) -> None:
        self.waiting = deque(claims)
        self.begun: list[Claim] = []
        self.settled: list[Settled] = []  # to be written by the commit
        self.is_committed = False
        self.is_spoilt = False  # an attempt called replace(), which needs a transaction of its own
        self._begin = begin
        self._began = monotonic()
        self._raised: BaseException | None = None  # by a later attempt, after the commit
        self._atomic: Any = None  # the open transaction

    @property
    def is_late(self) -> bool:
        """Whether no more attempts are begun: other processes might make them sooner."""
        return monotonic() - self._began > ledger_settings.BATCH_S

    @property
    def is_too_late(self) -> bool:
        """Whether it is too late to make each attempt again: the time limits of the process count
        from its bell.
        """
        return monotonic() - self._began > ledger_settings.BATCH_REDO_S

    def run(self) -> Any:
        """Make the attempts until it is late. Returns what Celery's tracer returns for the first.

        Raises what an attempt raised to end the process.
        """
        try:
            outcome = self._begin_next()
        finally:
            self._roll_back()
        if self._raised:
            raise self._raised
        return outcome

    def give_back(self) -> list[Claim]:
        """Let the jobs that were not settled wait again; return their claims."""
        begun = [] if self.is_committed else self.begun
        _give_back(begun, were_begun=True)
        _give_back([*self.waiting], were_begun=False)
        return [*begun, *self.waiting]

    @contextmanager
    def transaction(self, member: Member) -> Iterator[None]:
        """Stand in for the transaction that settles a single attempt.

        The first member opens the transaction for all of them. Each runs its own `on_commit` hooks
        after the commit, inside its own block and so in its own context.
        """
        if self._atomic is None:
            self._open()
        yield
        member.ended, own_hooks = monotonic(), _take_own_hooks()
        if self.is_spoilt:
            raise OneByOne
        if not self.waiting or self.is_late:
            self._commit()
        else:
            self._go_on()
        if not self.is_committed:
            raise OneByOne
        connection.run_on_commit = own_hooks
        connection.run_and_clear_commit_hooks()

    def _go_on(self) -> None:
        """Begin the next attempt. What it raises after the commit is kept for `run`: the attempts
        before it have ended well.
        """
        try:
            self._begin_next()
        except BaseException as exc:
            if not self.is_committed:
                raise
            self._raised = exc

    def _open(self) -> None:
        """Open the transaction, with a `lock_timeout` of a quarter of BATCH_S.

        Single jobs lock their rows in one order; several jobs after each other do not, and may
        deadlock with others. So a batch that waits for a lock gives up before Postgres would find a
        deadlock and end another transaction for it.
        """
        self._atomic = transaction.atomic()
        self._atomic.__enter__()
        with connection.cursor() as cursor:
            patience_ms = max(1, int(ledger_settings.BATCH_S * 1000 / 4))
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience_ms}ms"])

    def _begin_next(self) -> Any:
        """Make the next attempt; return what Celery's tracer returns for it."""
        self.begun.append(self.waiting.popleft())
        return self._begin(self.begun[-1], self)

    def _commit(self) -> None:
        if self.settled and not Job.objects.settle(self.settled):
            raise OneByOne
        reach(At.BEFORE_COMMIT)
        atomic, self._atomic = self._atomic, None
        atomic.__exit__(None, None, None)
        self.is_committed = True

    def _roll_back(self) -> None:
        if self._atomic is not None:
            atomic, self._atomic = self._atomic, None
            with suppress(Error):  # the connection is gone, and the transaction with it
                atomic.__exit__(OneByOne, OneByOne(), None)


def _take_own_hooks() -> list[Any]:
    """Remove and return the connection's `on_commit` hooks, those of the attempt that ends now.

    Hooks that ring bells stay: they do the same in any attempt's context.
    """
    hooks: list[Any] = connection.run_on_commit
    own = [hook for hook in hooks if not getattr(hook[1], "are_bells", False)]
    connection.run_on_commit = [hook for hook in hooks if hook not in own]
    return own


def make(task: str, claims: Sequence[Claim], begin: Begin) -> tuple[Any, list[Claim]]:
    """Make the attempts of these claims of one task, until it is late: in a batch, or one by one if
    there is one claim, a batch was rolled back lately, or this one is.

    Returns what Celery's tracer returns for the first (None if no attempt was made), and the claims
    that were given back.
    """
    rest = _rests.get(task)
    if len(claims) == 1 or (rest and monotonic() < rest.until):
        return _one_by_one(claims, begin)
    batch = Batch(claims, begin)
    try:
        outcome = batch.run()
    except BaseException:
        batch.give_back()
        raise
    if batch.is_committed:
        _rests.pop(task, None)
        return outcome, batch.give_back()
    _rests[task] = Rest.after(rest)
    log.info("One of several %s did not end well: each is made by itself", task)
    return (None, batch.give_back()) if batch.is_too_late else _one_by_one(claims, begin)


def _one_by_one(claims: Sequence[Claim], begin: Begin) -> tuple[Any, list[Claim]]:
    ends_at = monotonic() + ledger_settings.BATCH_S
    waiting = deque(claims)
    outcome = None
    try:
        while waiting and (outcome is None or monotonic() < ends_at):
            newest = begin(waiting.popleft(), None)
            outcome = outcome or newest
    finally:
        _give_back([*waiting], were_begun=False)
    return outcome, [*waiting]


def _give_back(claims: list[Claim], *, were_begun: bool) -> None:
    """Let the jobs of these claims wait again: now, or as soon as Postgres is there again."""
    if not claims:
        return
    try:
        Job.objects.give_back(claims, were_begun=were_begun)
    except (Error, SoftTimeLimitExceeded) as exc:
        if not is_passing(exc):
            raise
        owe(partial(Job.objects.give_back, claims, were_begun=were_begun))


def forget_rests() -> None:
    """End all rests, for tests, in which no time passes."""
    _rests.clear()
