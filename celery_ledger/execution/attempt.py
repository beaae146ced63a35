"""One attempt at a job that is claimed: run, then settle it or give a verdict.

How it is claimed stands in `execution.claiming`, how it is settled in `execution.settling`; what
becomes of one that fails is decided in `execution.verdict`.
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
    current = traced_attempt()
    if current is None or current.body or current.claim.id != row_id(task.request.id):
        raise Ignore("not claimed: no body runs without that")
    current.body = body
    try:
        with making(current), told_of(current), _judging(current):
            reach(At.AFTER_CLAIM)
            return _run(current)
    finally:
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


def _forget_canvas(task: Task) -> None:
    """Celery would publish the follow-ups again; they went out with the settling transaction."""
    task.request.update(callbacks=None, errbacks=None, chain=None, chord=None)


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
        if isinstance(exc, Retry) and current.say_retried:
            current.say_retried()
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
