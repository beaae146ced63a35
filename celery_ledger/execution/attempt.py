"""Makes one attempt at a claimed job: runs the body, then settles the job or gives a verdict.

`execution.claiming` claims jobs, `execution.settling` settles them, and `execution.verdict` decides
what becomes of an attempt that fails.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from billiard.common import terminate_handler_fired
from celery import Task
from celery.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Retry,
    WorkerShutdown,
    WorkerTerminate,
)
from django.db import OperationalError

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import LeaseLost, NotAnException, OneByOne
from celery_ledger.execution.current import Attempt, Body, making, traced_attempt
from celery_ledger.execution.log_entry import AttemptLine
from celery_ledger.execution.settling import settle
from celery_ledger.execution.verdict import give_verdict
from celery_ledger.failpoints import At, reach
from celery_ledger.models.ids import row_id
from celery_ledger.telemetry import tracing

log = logging.getLogger(__name__)

COLLISIONS = {"40P01", "40001"}  # deadlock_detected, serialization_failure


@contextmanager
def reported(current: Attempt) -> Iterator[None]:
    """Report how the attempt of this block ended: a line in the log, a span, Celery's events."""
    with tracing.span(current.task.name, "CONSUMER") as span, AttemptLine(current, span):
        yield


def attempt(task: Task, body: Body) -> Any:
    """Make the attempt that was claimed for the current request and return the job's result.

    `body` is the task's own `__call__`, which a class may have overridden.

    Raises Retry when the job waits again, the body's own exception when the job is dead, and Ignore
    when Celery has nothing to report. When one is raised, the row has been written.
    """
    current = traced_attempt()
    if current is None or current.body or current.claim.id != row_id(task.request.id):
        raise Ignore("not claimed: no body runs without that")
    current.body = body
    try:
        with making(current), reported(current), _judging(current):
            reach(At.AFTER_CLAIM)
            return _run(current)
    finally:
        _forget_canvas(task)


def end_before_the_body(current: Attempt, exc: BaseException) -> None:
    """End an attempt whose body was not reached, since a hook of its task, e.g. `before_start`,
    raised this exception.
    """
    with suppress(type(exc), Ignore), reported(current), _judging(current):
        raise exc


@contextmanager
def _judging(current: Attempt) -> Iterator[None]:
    """Write an exception of the block into the row as the attempt's end, and raise to Celery what
    the row says then.
    """
    try:
        yield
    except BaseException as exc:
        if current.is_beside_others and not _ends_the_process(exc):
            raise OneByOne from exc
        for_celery = _judged(current, _within_max_retries(current, exc))
        if for_celery is exc:
            raise
        raise for_celery from exc


def _run(current: Attempt) -> Any:
    """Run the body and settle the job; return the job's result."""
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


def _run_atomic(current: Attempt) -> Any:
    """Run the body inside its settling transaction. After a collision with another transaction it
    is run again at once, MAX_COLLISIONS times at most.
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


def _forget_canvas(task: Task) -> None:
    """Take the follow-ups out of the request: Celery would publish them again, and the settling
    transaction has promised them.
    """
    task.request.update(callbacks=None, errbacks=None, chain=None, chord=None)


def _judged(current: Attempt, exc: BaseException) -> BaseException:
    """Give the verdict on this exception, and return the exception to raise to Celery: this one if
    the verdict is written, NotAnException in place of one that would end the process, or Ignore.
    """
    if _ends_the_process(exc):
        return exc
    nothing_to_report: BaseException = Ignore()
    is_ours = _is_to_blame(current, exc)
    if not is_ours or not give_verdict(current.task.app, current.claim, exc, current.retried_as):
        return nothing_to_report
    if isinstance(exc, MemoryError):  # Celery would end the whole worker
        return nothing_to_report
    if not isinstance(exc, Exception):
        return NotAnException(f"{type(exc).__name__}: {exc}")
    if isinstance(exc, Retry) and current.say_retried:
        current.say_retried()
    return exc


def _within_max_retries(current: Attempt, exc: BaseException) -> BaseException:
    """The exception; but MaxRetriesExceededError for a `Retry` too many that the body raised
    without `self.retry()`, which would have looked at `max_retries` itself.
    """
    task, claim = current.task, current.claim
    is_by_hand = isinstance(exc, Retry) and not current.retried_as
    if is_by_hand and task.max_retries is not None and claim.retries >= task.max_retries:
        exceeded: BaseException = MaxRetriesExceededError(
            f"{task.name} raised Retry after {claim.retries} retries: {exc}"
        )
        return exceeded.with_traceback(exc.__traceback__)
    return exc


def _ends_the_process(exc: BaseException) -> bool:
    """Whether this exception comes from outside the body, to end the process: from the worker's
    main process, or from a person at the keyboard.
    """
    if isinstance(exc, SystemExit):
        return isinstance(exc, (WorkerShutdown, WorkerTerminate)) or terminate_handler_fired()
    return isinstance(exc, KeyboardInterrupt)


def _is_to_blame(current: Attempt, exc: BaseException) -> bool:
    """Whether the exception decides about the job: not if the job was replaced, rescued or settled
    before.
    """
    if current.replaced and isinstance(exc, Ignore):
        return False
    if isinstance(exc, LeaseLost):
        log.warning("Lease lost: the job was rescued while it ran here")
    elif current.settled:
        log.exception("The task failed after its job was settled; the job stays done")
    return not isinstance(exc, LeaseLost) and not current.settled
