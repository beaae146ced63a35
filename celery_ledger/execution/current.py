"""The attempt that this process is making: what code called from its body can ask of it and note
in it.
"""

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
    """An attempt at a job that this process has claimed, and how far it has come."""

    def __init__(self, task: Task, claim: Claim, batch: Batch | None = None) -> None:
        self.task = task
        self.claim = claim
        self.batch = batch
        self.body: Any = None  # the task's own `__call__`; None until it is reached
        self.in_body = False
        self.entering = False  # the next call of the task is the body
        self.settling = False  # `settle` has begun; it stays True when it has succeeded
        self.settled = False
        self.replaced = False  # `replace()` has ended the job
        self.retried_as: dict[str, Any] = {}  # columns of the row that `retry()` changes
        self.say_retried: Callable[[], Any] | None = None  # sends Celery's signal of the retry
        self.leaves_place = True  # somebody may wait for its place
        self.effects: list[str] = []  # as `note_effect` has noted them
        self.result: Any = None
        self.events: list[tuple[str, dict[str, Any]]] = []  # Celery's, not sent yet
        self.ended: float | None = None  # when its body had ended, if it is in a batch

    def transaction(self) -> AbstractContextManager[None]:
        """The transaction that settles this attempt: its batch's, or one of its own."""
        return self.batch.transaction(self) if self.batch else transaction.atomic()

    def settle(self, settled: Settled) -> None:
        """Write that the job is done: at once, or, in a batch, with the others of it. A part of a
        chord is written at once, since the chord counts it now.

        Raises LeaseLost when the claim is lost. Sets `leaves_place`.
        """
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
        """Whether the attempt shares an open transaction with others. An error is no verdict then:
        each attempt will be made by itself.
        """
        return self.batch is not None and not self.batch.is_committed


_claimed: ContextVar[Attempt | None] = ContextVar("ledger_claimed", default=None)
_attempt: ContextVar[Attempt | None] = publisher
_body_of: ContextVar[str | None] = ContextVar("ledger_body_of", default=None)


def running_attempt() -> Attempt | None:
    """The attempt whose body runs now; None in a direct call of a task, and outside any job."""
    return _attempt.get()


def traced_attempt() -> Attempt | None:
    """The attempt that Celery's tracer is in, also before and after its body; None outside any."""
    return _claimed.get()


@contextmanager
def claimed(current: Attempt) -> Iterator[None]:
    """Make this attempt the traced one for the block, in which Celery's tracer runs."""
    remembered = _claimed.set(current)
    try:
        yield
    finally:
        _claimed.reset(remembered)


@contextmanager
def making(attempt: Attempt) -> Iterator[None]:
    """Make this attempt the running one for the block, in which its body is run and settled."""
    remembered, outer = _attempt.set(attempt), _body_of.set(attempt.task.request.id)
    try:
        yield
    finally:
        _attempt.reset(remembered)
        _body_of.reset(outer)


@contextmanager
def outside_any_attempt() -> Iterator[None]:
    """Let no attempt be the running one for the block: a task that is called there as a plain
    function cannot settle the job around it.
    """
    remembered = _attempt.set(None)
    try:
        yield
    finally:
        _attempt.reset(remembered)


def current_claim() -> Claim:
    """The claim of the attempt that Celery's tracer is in. Raises RuntimeError outside any."""
    current = _claimed.get()
    if current is None:
        raise RuntimeError("Only inside a job.")
    return current.claim


def is_settling() -> bool:
    """Whether the transaction that settles the running attempt's job is open."""
    current = _attempt.get()
    return current is not None and current.settling and not current.settled


def in_body_of(request: Any) -> bool:
    """Whether the body of this request's job runs now: a call of its task is one of a function."""
    return _body_of.get() is not None and _body_of.get() == request.id


def enters_the_body() -> bool:
    """Whether this call of the task is the first one in its attempt, and so its body. It is asked
    once: later calls are calls of a function.
    """
    current = _attempt.get()
    if current is None or not current.entering:
        return False
    current.entering = False
    return True


def note_effect(kind: str, id_: Any) -> None:
    """Note in the running job's row that it has written a row of this kind and id; `jobs why` shows
    it. The first EFFECTS_MAX are kept; outside a job nothing is.
    """
    current = _attempt.get()
    if current is not None and len(current.effects) < ledger_settings.EFFECTS_MAX:
        current.effects.append(f"{kind} {id_}")
