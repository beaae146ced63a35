"""Several first attempts at jobs of one task, made in one transaction: all of them end with its
commit, or none does, and then each is made by itself.

Celery's tracer tells of a task's end when its body returns, and that has to be after the commit. So
the attempts stand in each other: where one would commit it begins the next, the last of them
commits, and then all their tracers go on.
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


# Makes the attempt of a claim, by way of Celery's tracer, in a batch or by itself.
Begin = Callable[[Claim, "Batch | None"], Any]

_rests: dict[str, "Rest"] = {}  # of tasks whose newest batch came to nothing


def may_be_in_one(task: Task) -> bool:
    """Whether its jobs may share a transaction. A limited one takes its slot or place by itself."""
    return bool(task.atomic and task.batched and not task.is_limited)


def heard_together(task: Task, also: Any) -> list[str]:
    """The ids that came with a bell, if a worker's main process can have put them there: whoever
    writes to the broker writes what he likes.
    """
    are_ids = isinstance(also, list) and all(isinstance(id_, str) for id_ in also)
    is_ours = are_ids and may_be_in_one(task) and len(also) < ledger_settings.BATCH_ATTEMPTS
    return also if is_ours else []


class Member(Protocol):
    """An attempt, as far as its batch knows it."""

    ended: float | None


class Rest(NamedTuple):
    """A while in which each job of a task is made by itself; twice as long after each batch in a
    row that comes to nothing.
    """

    until: float
    length_s: float

    @classmethod
    def after(cls, before: "Rest | None") -> "Rest":
        length_s = before.length_s * 2 if before else ledger_settings.BATCH_FIRST_REST_S
        length_s = min(length_s, ledger_settings.BATCH_REST_S)
        return cls(monotonic() + length_s, length_s)


class Batch:
    def __init__(self, claims: Sequence[Claim], begin: Begin) -> None:
        self.waiting = deque(claims)
        self.begun: list[Claim] = []
        self.settled: list[Settled] = []  # what the commit makes of them
        self.is_committed = False
        self.is_spoilt = False  # one of them wants what it cannot have here
        self._begin = begin
        self._began = monotonic()
        self._raised: BaseException | None = None  # after the commit
        self._atomic: Any = None

    @property
    def is_late(self) -> bool:
        """Other processes might have begun what waits here."""
        return monotonic() - self._began > ledger_settings.BATCH_S

    @property
    def is_too_late(self) -> bool:
        """The time limits of the process count from its bell: too much of them is used up for
        another try of each.
        """
        return monotonic() - self._began > ledger_settings.BATCH_REDO_S

    def run(self) -> Any:
        """Make all attempts of the batch. Returns what Celery's tracer says of the first; raises
        what would have ended the process.
        """
        try:
            outcome = self._begin_next()
        finally:
            self._roll_back()
        if self._raised:
            raise self._raised
        return outcome

    def give_back(self) -> list[Claim]:
        """What has not ended waits again."""
        begun = [] if self.is_committed else self.begun
        _give_back(begun, were_begun=True)
        _give_back([*self.waiting], were_begun=False)
        return [*begun, *self.waiting]

    @contextmanager
    def transaction(self, member: Member) -> Iterator[None]:
        """In the place of the transaction that settles one. The first opens it, for all; what each
        asked for with `on_commit` is done where it stands, in its own name.
        """
        if self._atomic is None:
            self._open()
        yield
        member.ended, own_hooks = monotonic(), _taken_off()
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
        """What Celery raises of the next after the commit is none of those before it."""
        try:
            self._begin_next()
        except BaseException as exc:
            if not self.is_committed:
                raise
            self._raised = exc

    def _open(self) -> None:
        """One job locks its rows in an order that others share, several after each other do not. So
        a batch that waits for a lock gives way, before Postgres would call it a deadlock and end
        whoever stands in it.
        """
        self._atomic = transaction.atomic()
        self._atomic.__enter__()
        with connection.cursor() as cursor:
            patience_ms = max(1, int(ledger_settings.BATCH_S * 1000 / 4))
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience_ms}ms"])

    def _begin_next(self) -> Any:
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
            with suppress(Error):  # of a connection that has gone, and the transaction with it
                atomic.__exit__(OneByOne, OneByOne(), None)


def _taken_off() -> list[Any]:
    """The hooks of the attempt that ends here. Bells are the same in anybody's name, and stay."""
    hooks: list[Any] = connection.run_on_commit
    own = [hook for hook in hooks if not getattr(hook[1], "are_bells", False)]
    connection.run_on_commit = [hook for hook in hooks if hook not in own]
    return own


def make(task: str, claims: Sequence[Claim], begin: Begin) -> tuple[Any, list[Claim]]:
    """Make the attempts of these claims, until it is late. Returns what Celery's tracer says of the
    first, None when none was made, and the claims that were given back.
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
            made = begin(waiting.popleft(), None)
            outcome = outcome or made
    finally:
        _give_back([*waiting], were_begun=False)
    return outcome, [*waiting]


def _give_back(claims: list[Claim], *, were_begun: bool) -> None:
    """Now, or as soon as Postgres is there again."""
    if not claims:
        return
    try:
        Job.objects.give_back(claims, were_begun=were_begun)
    except (Error, SoftTimeLimitExceeded) as exc:
        if not is_passing(exc):
            raise
        owe(partial(Job.objects.give_back, claims, were_begun=were_begun))


def forget_rests() -> None:
    """For tests, whose time does not pass."""
    _rests.clear()
