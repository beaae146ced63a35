"""The attempt that this process is in, as whoever is called from its body may ask or tell."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from celery import Task
from django.db import transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import LeaseLost
from celery_ledger.execution.batch import Batch
from celery_ledger.models import Claim, Job, Settled
from celery_ledger.publishing.own_id import publisher

Body = Callable[..., Any]


class Attempt:
    """An attempt at a job that this process has claimed: what `settle` needs to know."""

    def __init__(self, task: Task, claim: Claim, batch: Batch | None = None) -> None:
        self.task = task
        self.claim = claim
        self.batch = batch
        self.body: Any = None  # not reached yet
        self.in_body = False
        self.entering = False
        self.settling = False
        self.settled = False
        self.replaced = False
        self.retried_as: dict[str, Any] = {}  # columns of its row that `retry()` changes
        self.say_retried: Callable[[], Any] | None = None  # what Celery says when it has
        self.leaves_place = True  # unless it is settled, and nobody waits for that
        self.effects: list[str] = []
        self.result: Any = None
        self.events: list[tuple[str, dict[str, Any]]] = []  # Celery's, not told yet
        self.ended: float | None = None  # of one in a batch, when the next began

    def transaction(self) -> AbstractContextManager[None]:
        """The one that settles this attempt: that of its batch, or its own."""
        return self.batch.transaction(self) if self.batch else transaction.atomic()

    def settle(self, settled: Settled) -> None:
        """Write that it is done: of one in a batch with the others, unless a chord counts it."""
        if self.batch and not self.claim.envelope["chord"]:
            self.batch.settled.append(settled)
        elif self.task.concurrency and self.claim.concurrency_key:
            is_wanted = Job.objects.settle_in_place(settled)
            if is_wanted is None:
                raise LeaseLost
            self.leaves_place = is_wanted
        elif not Job.objects.settle([settled]):
            raise LeaseLost

    @property
    def is_beside_others(self) -> bool:
        """While it is, an error is no verdict: which of them would have made it alone is to be
        seen.
        """
        return self.batch is not None and not self.batch.is_committed


_claimed: ContextVar[Attempt | None] = ContextVar("ledger_claimed", default=None)
_attempt: ContextVar[Attempt | None] = publisher
_body_of: ContextVar[str | None] = ContextVar("ledger_body_of", default=None)


def running_attempt() -> Attempt | None:
    """Whose body is being run, or the hooks of it; None in a direct call and outside any job."""
    return _attempt.get()


def traced_attempt() -> Attempt | None:
    """What Celery's tracer is in: from before its body to after it."""
    return _claimed.get()


@contextmanager
def claimed(current: Attempt) -> Iterator[None]:
    """In this block Celery's tracer comes to the body. What ends the task before it is its end."""
    remembered = _claimed.set(current)
    try:
        yield
    finally:
        _claimed.reset(remembered)


@contextmanager
def making(attempt: Attempt) -> Iterator[None]:
    """In this block the body of that attempt is run, and what belongs to it."""
    remembered, outer = _attempt.set(attempt), _body_of.set(attempt.task.request.id)
    try:
        yield
    finally:
        _attempt.reset(remembered)
        _body_of.reset(outer)


@contextmanager
def outside_any_attempt() -> Iterator[None]:
    """A task called as a plain function inside another must not settle that other task's job."""
    remembered = _attempt.set(None)
    try:
        yield
    finally:
        _attempt.reset(remembered)


def current_claim() -> Claim:
    """Of the job whose attempt Celery's tracer is in, its hooks included."""
    current = _claimed.get()
    if current is None:
        raise RuntimeError("Only inside a job.")
    return current.claim


def is_settling() -> bool:
    """True inside the transaction that settles a job."""
    current = _attempt.get()
    return current is not None and current.settling and not current.settled


def in_body_of(request: Any) -> bool:
    """True inside the body of this request's job: a task that calls itself as a function starts no
    attempt.
    """
    return _body_of.get() is not None and _body_of.get() == request.id


def enters_the_body() -> bool:
    """True for the first call of the task in its attempt, which is its body; later ones are calls
    of a function.
    """
    current = _attempt.get()
    if current is None or not current.entering:
        return False
    current.entering = False
    return True


def note_effect(kind: str, id_: Any) -> None:
    """Let the current job's row name a row that it has written: `jobs why` tells. The first
    EFFECTS_MAX count.
    """
    current = _attempt.get()
    if current is not None and len(current.effects) < ledger_settings.EFFECTS_MAX:
        current.effects.append(f"{kind} {id_}")
