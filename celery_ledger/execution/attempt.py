"""One attempt at a job that is claimed: run, then settle it or give a verdict.

Effects and "done" are one transaction. What becomes of an attempt that fails is decided in
`execution.verdict`; how it is claimed, in `execution.claiming`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from billiard.common import terminate_handler_fired
from celery import Task, states
from celery.app.task import get_actual_ignore_result
from celery.canvas import Signature
from celery.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Retry,
    WorkerShutdown,
    WorkerTerminate,
)
from django.db import OperationalError, connection, transaction
from kombu.exceptions import EncodeError
from kombu.utils import json as celery_json

from celery_ledger.conf import ledger_settings
from celery_ledger.execution.batch import Batch
from celery_ledger.execution.errors import ConnectionClosed, LeaseLost, NotAnException, OneByOne
from celery_ledger.execution.follow_ups import promise_follow_ups
from celery_ledger.execution.log_entry import AttemptLine
from celery_ledger.execution.verdict import give_verdict
from celery_ledger.failpoints import At, reach
from celery_ledger.ids import row_id
from celery_ledger.models import Claim, Job, Settled
from celery_ledger.telemetry import tracing

log = logging.getLogger(__name__)

COLLISIONS = {"40P01", "40001"}  # deadlock_detected, serialization_failure


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
        self.effects: list[str] = []
        self.ended: float | None = None  # of one in a batch, when the next began

    def transaction(self) -> AbstractContextManager[None]:
        """What settles it."""
        return self.batch.transaction(self) if self.batch else transaction.atomic()

    def settle(self, settled: Settled) -> None:
        """Write that it is done: of one in a batch with the others, unless a chord counts it."""
        if self.batch and not self.claim.envelope["chord"]:
            self.batch.settled.append(settled)
        elif not Job.objects.settle([settled]):
            raise LeaseLost

    @property
    def is_beside_others(self) -> bool:
        """While it is, an error is no verdict: which of them would have made it alone is to be
        seen.
        """
        return self.batch is not None and not self.batch.is_committed


@dataclass
class Settlement:
    """What the job will have come to; its result may be set until the block ends."""

    result: Any = None


_claimed: ContextVar[Attempt | None] = ContextVar("ledger_claimed", default=None)
_attempt: ContextVar[Attempt | None] = ContextVar("ledger_attempt", default=None)
_body_of: ContextVar[str | None] = ContextVar("ledger_body_of", default=None)


@contextmanager
def claimed(current: Attempt) -> Iterator[None]:
    """In this block Celery's tracer comes to the body. What ends the task before it is its end."""
    remembered = _claimed.set(current)
    try:
        yield
    finally:
        _claimed.reset(remembered)


@contextmanager
def told_of(current: Attempt) -> Iterator[None]:
    """The log and the collector of spans hear how this attempt ended."""
    with tracing.span(current.task.name, "CONSUMER") as span, AttemptLine(current, span):
        yield


def attempt(task: Task, body: Body) -> Any:
    """Make the attempt that was claimed for the current request and return the job's result.

    `body` is the task's own `__call__`, which a class may have overridden.

    Raises Ignore when there is nothing for us to do, Retry when the job waits again, and the task's
    own exception when it is dead. Celery logs and signals each of these; the row already says so.
    """
    current = _claimed.get()
    if current is None or current.body or current.claim.id != row_id(task.request.id):
        raise Ignore("not claimed: no body runs without that")
    current.body = body
    remembered, outer = _attempt.set(current), _body_of.set(task.request.id)
    try:
        with told_of(current), _judging(current):
            reach(At.AFTER_CLAIM)
            return _run(current)
    finally:
        _attempt.reset(remembered)
        _body_of.reset(outer)
        _forget_canvas(task)


def end_before_the_body(current: Attempt, exc: BaseException) -> None:
    """Something of the task's own that comes before its body has failed, e.g. `before_start`."""
    with suppress(type(exc), Ignore), told_of(current), _judging(current):
        raise exc


@contextmanager
def _judging(current: Attempt) -> Iterator[None]:
    """What is raised in this block is the attempt's end; Celery hears what the row says of it."""
    try:
        yield
    except BaseException as exc:
        if current.is_beside_others and not _ends_the_process(exc):
            raise OneByOne from exc
        heard = _judged(current, _within_max_retries(current, exc))
        if heard is exc:
            raise
        raise heard from exc


@contextmanager
def settle(result: Any = None) -> Iterator[Settlement]:
    """Commit the effects of an `atomic=False` task together with "done".

    Everything in the block, the follow-up jobs and the job's end are one transaction; it rolls back
    when the job was rescued meanwhile. Once per attempt. Outside a job (a direct call) it is a
    plain transaction.
    """
    current, settlement = _attempt.get(), Settlement(result)
    if current is None:
        with transaction.atomic():
            yield settlement
        return
    if current.settling:
        raise RuntimeError(
            "An attempt settles once: "
            "put all effects of an atomic=False task into one settle() block."
        )
    current.settling = True
    try:
        reach(At.AFTER_EXTERNAL)
        left_by: Ignore | None = None
        with current.transaction():
            try:
                with _on_one_connection():
                    yield settlement
            except Ignore as exc:
                if not current.replaced:
                    raise
                left_by = exc  # raised by replace(), whose replacement this transaction commits
            if not current.replaced:
                _settle(current, settlement.result)
        if left_by:
            raise left_by
        if not current.replaced:
            reach(At.AFTER_COMMIT)
            current.settled = True
    finally:
        current.settling = current.settled


def note_effect(kind: str, id_: Any) -> None:
    """Let the current job's row name a row that it has written: `jobs why` tells. The first
    EFFECTS_MAX count.
    """
    current = _attempt.get()
    if current is not None and len(current.effects) < ledger_settings.EFFECTS_MAX:
        current.effects.append(f"{kind} {id_}")


def replace_with(signature: Signature) -> None:
    """`Task.replace()`: the job ends here and gives its id to the replacement, in one transaction
    with the effects.
    """
    current = _attempt.get()
    if current is None:
        raise RuntimeError("replace() works inside a job only.")
    if current.batch:
        current.batch.is_spoilt = True  # also if the body should go on
        raise OneByOne
    with transaction.atomic():
        if not Job.objects.delete_for_replacement(current.claim):
            raise LeaseLost
        current.replaced = True
        signature.delay()


def retry_as(**changes: Any) -> None:
    """`Task.retry()` with options: the columns of this job's row that they change, written with the
    verdict.
    """
    current = _attempt.get()
    if current is not None:
        current.retried_as = changes


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


def being_replaced() -> Claim | None:
    """The job whose replacement is published right now: then an id that exists is no retry."""
    current = _attempt.get()
    return current.claim if current is not None and current.replaced else None


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


@contextmanager
def outside_any_attempt() -> Iterator[None]:
    """A task called as a plain function inside another must not settle that other task's job."""
    remembered = _attempt.set(None)
    try:
        yield
    finally:
        _attempt.reset(remembered)


def _forget_canvas(task: Task) -> None:
    """Celery would publish the follow-ups again; they went out with the settling transaction."""
    task.request.update(callbacks=None, errbacks=None, chain=None, chord=None)


def _run(current: Attempt) -> Any:
    if current.task.atomic:
        return _run_atomic(current)
    result = _call_body(current)
    if not current.settled:
        with settle(result):
            pass
    return result


def _call_body(current: Attempt) -> Any:
    current.entering = current.in_body = True
    try:
        return current.body(*current.claim.args, **current.claim.kwargs)
    finally:
        current.in_body = False


@contextmanager
def _on_one_connection() -> Iterator[None]:
    """Raises ConnectionClosed when the block has closed the connection of its transaction."""
    try:
        yield
    except Exception as exc:
        if connection.closed_in_transaction:
            raise ConnectionClosed from exc
        raise
    if connection.closed_in_transaction:
        raise ConnectionClosed


def _run_atomic(current: Attempt) -> Any:
    """The body inside its settling transaction; a collision with another transaction runs it again
    at once.
    """
    collisions = 0
    while True:
        current.replaced = False
        current.effects.clear()
        try:
            with settle() as settlement:
                settlement.result = _call_body(current)
            return settlement.result
        except OperationalError as exc:
            collisions += 1
            if (
                current.batch
                or getattr(exc.__cause__, "sqlstate", None) not in COLLISIONS
                or collisions > ledger_settings.MAX_COLLISIONS
            ):
                raise
            log.info("Collided with another transaction, running again: %s", exc)


def _settle(current: Attempt, result: Any) -> None:
    """The job's end and what follows it, in the transaction of its effects."""
    promise_follow_ups(current.task, result)
    task, envelope = current.task, current.claim.envelope
    is_wanted = envelope["chord"] or not get_actual_ignore_result(task, task.request)
    stored = _storable(task.backend.prepare_value(result)) if is_wanted else None
    current.settle(Settled(current.claim, stored, current.effects))
    if envelope["chord"]:
        task.app.backend.on_chord_part_return(task.request, states.SUCCESS, stored)
    _let_every_hook_run()
    reach(At.BEFORE_COMMIT)


def _let_every_hook_run() -> None:
    """What the body asked for with `on_commit` runs when the job is done: one hook that fails is
    logged by Django, and takes neither the others with it nor the job.
    """
    hooks: list[Any] = connection.run_on_commit
    hooks[:] = [(savepoints, hook, True) for savepoints, hook, _ in hooks]


def _storable(result: Any) -> Any:
    try:
        text = celery_json.dumps(result, allow_nan=False)
        celery_json.loads(text)  # raises for what would not come back
    except (TypeError, ValueError) as exc:
        raise EncodeError(exc) from exc
    size = len(text.encode())
    if size > ledger_settings.RESULT_MAX_BYTES:
        raise ValueError(
            f"The result is {size} bytes; {ledger_settings.RESULT_MAX_BYTES} are allowed. "
            "Store it, return its id."
        )
    return result


def _judged(current: Attempt, exc: BaseException) -> BaseException:
    """What Celery is to hear of an error: itself, if the row says so now, or that there is nothing
    to hear.
    """
    if _ends_the_process(exc):
        return exc
    is_ours = _is_to_blame(current, exc)
    if not is_ours or not give_verdict(current.task.app, current.claim, exc, current.retried_as):
        heard: BaseException = Ignore()
    elif isinstance(exc, MemoryError):  # of which Celery would end the whole worker
        heard = Ignore()
    elif isinstance(exc, Exception):
        heard = exc
    else:
        heard = NotAnException(f"{type(exc).__name__}: {exc}")
    return heard


def _within_max_retries(current: Attempt, exc: BaseException) -> BaseException:
    """A `Retry` that the body raises itself counts like those of `self.retry()`, which looks."""
    task, claim = current.task, current.claim
    is_its_own = isinstance(exc, Retry) and not current.retried_as
    if is_its_own and task.max_retries is not None and claim.retries >= task.max_retries:
        exceeded: BaseException = MaxRetriesExceededError(
            f"{task.name} raised Retry after {claim.retries} retries: {exc}"
        )
        return exceeded.with_traceback(exc.__traceback__)
    return exc


def _ends_the_process(exc: BaseException) -> bool:
    """Whether somebody outside ends this process: its parent, or a person at the keyboard."""
    if isinstance(exc, SystemExit):
        return isinstance(exc, (WorkerShutdown, WorkerTerminate)) or terminate_handler_fired()
    return isinstance(exc, KeyboardInterrupt)


def _is_to_blame(current: Attempt, exc: BaseException) -> bool:
    """False when the job is not ours to judge any more, whatever went wrong here."""
    if current.replaced and isinstance(exc, Ignore):
        return False
    if isinstance(exc, LeaseLost):
        log.warning("Lease lost: the job was rescued while it ran here")
    elif current.settled:
        log.exception("The task failed after its job was settled; the job stays done")
    return not isinstance(exc, LeaseLost) and not current.settled
