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
from time import monotonic
from typing import Any, Protocol

from django.db import Error, transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.execution.errors import OneByOne
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Claim, Job, Settled

log = logging.getLogger(__name__)

# Makes the attempt of a claim, by way of Celery's tracer, in a batch or by itself.
Begin = Callable[[Claim, "Batch | None"], Any]

_rests_until: dict[str, float] = {}  # tasks that had a batch which came to nothing


class Member(Protocol):
    """An attempt, as far as its batch knows it."""

    ended: float | None


class Batch:
    def __init__(self, claims: Sequence[Claim], begin: Begin) -> None:
        self.waiting = deque(claims)
        self.begun: list[Claim] = []
        self.settled: list[Settled] = []  # what the commit makes of them
        self.is_committed = False
        self._begin = begin
        self._ends_at = monotonic() + ledger_settings.BATCH_S
        self._atomic: Any = None

    @property
    def is_late(self) -> bool:
        """Other processes might have begun what waits here."""
        return monotonic() > self._ends_at

    def run(self) -> Any:
        """Returns what Celery's tracer says of the first."""
        try:
            return self._begin_next()
        finally:
            self._roll_back()

    @contextmanager
    def transaction(self, member: Member) -> Iterator[None]:
        """In the place of the transaction that settles one. The first opens it, for all."""
        if self._atomic is None:
            self._atomic = transaction.atomic()
            self._atomic.__enter__()
        yield
        member.ended = monotonic()
        if not self.waiting or self.is_late:
            self._commit()
            return
        self._begin_next()
        if not self.is_committed:
            raise OneByOne

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


def make(task: str, claims: Sequence[Claim], begin: Begin) -> tuple[Any, list[Claim]]:
    """Make the attempts of these claims, until it is late. Returns what Celery's tracer says of the
    first, None when none was made, and the claims that were given back.
    """
    if len(claims) == 1 or monotonic() < _rests_until.get(task, 0):
        return _one_by_one(claims, begin)
    batch = Batch(claims, begin)
    outcome = batch.run()
    if batch.is_committed:
        return outcome, _given_back(batch.waiting)
    _rests_until[task] = monotonic() + ledger_settings.BATCH_REST_S
    log.info("One of several %s did not end well: each is made by itself", task)
    if batch.is_late:  # some of the time that each may take is gone
        Job.objects.give_back(batch.begun, were_begun=True)
        return None, [*batch.begun, *_given_back(batch.waiting)]
    return _one_by_one(claims, begin)


def _one_by_one(claims: Sequence[Claim], begin: Begin) -> tuple[Any, list[Claim]]:
    ends_at = monotonic() + ledger_settings.BATCH_S
    outcome = begin(claims[0], None)
    waiting = deque(claims[1:])
    while waiting and monotonic() < ends_at:
        begin(waiting.popleft(), None)
    return outcome, _given_back(waiting)


def _given_back(claims: Sequence[Claim]) -> list[Claim]:
    if claims:
        Job.objects.give_back(claims, were_begun=False)
    return [*claims]


def forget_rests() -> None:
    """For tests, whose time does not pass."""
    _rests_until.clear()
