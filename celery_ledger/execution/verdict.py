"""Decides what becomes of a job whose attempt was not settled: it waits again, is dead or is
cancelled. It is the only place that decides this.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import Celery
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded, TaskRevokedError
from django.db import Error, connection, transaction
from django.utils import timezone

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.errors import ConnectionClosed, in_trouble, is_passing
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Claim, Job, JobQuerySet, State
from celery_ledger.models.backoff import delay_s
from celery_ledger.models.error import describe

log = logging.getLogger(__name__)


def give_verdict(
    app: Celery, claim: Claim, exc: BaseException, retried_as: dict[str, Any] | None = None
) -> bool:
    """Write into the row how this attempt ended, by the exception that ended it. Its effects have
    been rolled back. `retried_as` are the columns that a retry changes.

    Returns True if the job waits for its retry, is dead or is cancelled by this exception. Returns
    False if it waits again because of trouble, the claim was lost, or Postgres takes no verdict
    now; then a thread writes one later.
    """
    reach(At.BEFORE_VERDICT)
    try:
        if isinstance(exc, ConnectionClosed) or connection.connection is None:
            connection.ensure_connection()
        if connection.is_usable():
            return _verdict_or_worse(app, claim, exc, retried_as or {})
        return _ask_the_row(app, claim, exc)
    except Exception as away:
        if not in_trouble(away):
            raise
        log.warning("Postgres takes no verdict now; the job is given back when it does: %s", away)
        owe(partial(_ask_and_bring, app, claim, exc))
        return False


def _verdict_or_worse(
    app: Celery, claim: Claim, exc: BaseException, retried_as: dict[str, Any]
) -> bool:
    """Write the verdict on `exc`; if that fails, the verdict on the error by which it failed."""
    try:
        verdict = _verdict(app, claim, exc, retried_as)
        reach(At.AFTER_VERDICT)
        return verdict
    except Exception as worse:
        if is_passing(worse):  # the verdict was rolled back with its follow-up: try again later
            return _wait_out(claim, worse)
        # e.g. retry() with arguments that no row can hold
        log.exception("The verdict could not be written")
        return _kill(app, claim, worse)


def _may_pass(exc: BaseException) -> bool:
    """Whether it is trouble with Postgres, or a body's `Reject(requeue=True)`."""
    return in_trouble(exc) or (isinstance(exc, Reject) and exc.requeue)


def _verdict(app: Celery, claim: Claim, exc: BaseException, retried_as: dict[str, Any]) -> bool:
    troubles = claim.attempts - claim.retries  # losses and troubles, this attempt included
    match exc:
        case Retry():
            return _retry(claim, exc, retried_as)
        case Ignore():
            return call_off(app, claim, exc)
        case _ if _may_pass(exc) and troubles <= ledger_settings.MAX_TROUBLES:
            return _wait_out(claim, exc)
        # as often as a hard time limit, which costs the process
        case SoftTimeLimitExceeded() if troubles < ledger_settings.MAX_LOSSES:
            return _wait_out(claim, exc)
        case Reject() if isinstance(exc.reason, Exception):
            return _kill(app, claim, exc.reason)
        case _:
            return _kill(app, claim, exc)


def _retry(claim: Claim, exc: Retry, changes: dict[str, Any]) -> bool:
    """Let the job wait until the time of Celery's `retry()`, with the columns that it changes."""
    cause = exc.exc or exc
    if cause.__traceback__ is None:  # the body has made it without raising it
        cause = cause.with_traceback(exc.__traceback__)
    return Job.objects.put_back(
        claim, due_at=moment(exc.when), error=describe(cause), retried=True, **changes
    )


def _wait_out(claim: Claim, exc: BaseException) -> bool:
    """Let the job wait for a while after trouble that passes; no retry of the task is counted."""
    pause_s = delay_s(claim.attempts, base_s=1, cap_s=ledger_settings.RING_CAP_S)
    log.warning(
        "Interrupted by trouble, trying again in %.0f s: %s: %s", pause_s, type(exc).__name__, exc
    )
    Job.objects.put_back(claim, due_at=moment(pause_s), error=describe(exc), retried=False)
    return False


def _kill(app: Celery, claim: Claim, exc: BaseException) -> bool:
    """Let the job be dead, with its follow-up. False when the claim was lost meanwhile."""
    with transaction.atomic():
        killed = Job.objects.kill(claim, error=describe(exc))
        if killed:
            app.backend.fail(request_of(claim), exc)
    return killed


def call_off(app: Celery, claim: Claim, exc: Exception) -> bool:
    """Let a claimed job be cancelled, by its own body or since it has expired; the rest of its
    chain and its chord are dead. False when the claim was lost meanwhile.
    """
    with transaction.atomic():
        cancelled = Job.objects.call_off(claim, error=describe(exc))
        if cancelled:
            app.backend.call_off(request_of(claim), exc)
    return cancelled


def cancel(
    app: Celery, jobs: JobQuerySet, *, error: dict[str, Any], call_errbacks: bool = False
) -> list[Job]:
    """Cancel those of these jobs that wait; the rest of their chains and their chords are dead.
    Their errbacks are promised only if `call_errbacks`. Returns the cancelled ones as they were.
    """
    with transaction.atomic():
        cancelled = jobs.cancel(error=error)
        for job in cancelled:
            with context.replaced(job.context):
                failure = TaskRevokedError(error["message"])
                app.backend.call_off(request_of(job), failure, call_errbacks=call_errbacks)
        keys = [job.concurrency_key for job in cancelled if job.in_line_since]
        if keys:  # a place may have been offered to one of them
            transaction.on_commit(partial(app.amqp.bring, keys), robust=True)
    return cancelled


def request_of(job: Claim | Job) -> Context:
    """A request with the job's canvas, as Celery would have made it from the message."""
    headers = job.envelope["headers"]
    return Context(
        id=str(job.id),
        root_id=str(job.root_id or job.id),
        group=headers["group"],
        group_index=headers["group_index"],
        errbacks=job.envelope["errbacks"],
        chain=job.envelope["chain"],
        chord=job.envelope["chord"],
        args=[],
        kwargs={},
    )


def _ask_the_row(app: Celery, claim: Claim, exc: BaseException) -> bool:
    """After a broken connection, find in the row whether the commit went through; if it did not,
    the job waits again, or is dead after MAX_TROUBLES.

    Returns True if the job is dead by this exception. Raises when Postgres cannot be asked either.
    """
    connection.close()
    job = Job.objects.filter(pk=claim.id, token=claim.token).first()
    if job is None:
        log.warning("The database connection broke, and the job is somebody else's by now: %s", exc)
    elif (
        job.state == State.RUNNING and claim.attempts - claim.retries > ledger_settings.MAX_TROUBLES
    ):
        return _kill(app, claim, exc)
    elif job.state == State.RUNNING:
        log.warning("The database connection broke before the commit, the job waits again: %s", exc)
        Job.objects.put_back(claim, due_at=moment(1), error=describe(exc), retried=False)
    elif job.state == State.DONE:
        log.warning("The database connection broke after the commit, the job is done: %s", exc)
    return False


def _ask_and_bring(app: Celery, claim: Claim, exc: BaseException) -> None:
    """As `_ask_the_row`; then offer the job's place to the next in line."""
    _ask_the_row(app, claim, exc)
    if claim.concurrency_key is not None:
        app.amqp.bring([claim.concurrency_key])


def moment(when: datetime | float | None) -> datetime:
    """The moment that Celery's `Retry.when` means: a time (a naive one is local), a number of
    seconds from now, or None for now.
    """
    if isinstance(when, datetime):
        return timezone.make_aware(when) if timezone.is_naive(when) else when
    return timezone.now() + timedelta(seconds=when or 0)


def owe(write: Callable[[], object]) -> None:
    """Call `write` from a thread of its own every OWED_PAUSE_S, until Postgres has taken it.

    So the job is given back long before its lease runs out. `write` has to check its claim's token,
    since the job may be rescued meanwhile.
    """
    context_now = contextvars.copy_context()  # the log of the thread is about the same job
    threading.Thread(target=context_now.run, args=(_insist, write), daemon=True).start()


def _insist(write: Callable[[], object]) -> None:
    while True:
        time.sleep(ledger_settings.OWED_PAUSE_S)
        try:
            write()
            return
        except Error as exc:
            if not in_trouble(exc):
                raise
        finally:
            connection.close()
