"""How an attempt ended that was not settled: waiting again, dead, or nobody's to say.

This is the one place that decides between them.
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
    """Write down how an attempt ended whose effects are rolled back. `retried_as` are the columns
    that a retry changes.

    Returns True if the row now says that this exception ended the attempt; False if the claim was
    lost meanwhile, or nothing could be written yet.
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
    try:
        verdict = _verdict(app, claim, exc, retried_as)
        reach(At.AFTER_VERDICT)
        return verdict
    except Exception as worse:
        if is_passing(worse):  # what hangs on the job is told with the verdict, or neither is
            return _wait_out(claim, worse)
        # e.g. retry() with arguments that no row can hold
        log.exception("The verdict could not be written")
        return _kill(app, claim, worse)


def _may_pass(exc: BaseException) -> bool:
    """Postgres in trouble, or a body that wants its job delivered again."""
    return in_trouble(exc) or (isinstance(exc, Reject) and exc.requeue)


def _verdict(app: Celery, claim: Claim, exc: BaseException, retried_as: dict[str, Any]) -> bool:
    troubles = claim.attempts - claim.retries  # losses and earlier troubles, this one included
    match exc:
        case Retry():
            return _retry(claim, exc, retried_as)
        case Ignore():
            return call_off(app, claim, exc)
        case _ if _may_pass(exc) and troubles <= ledger_settings.MAX_TROUBLES:
            return _wait_out(claim, exc)
        # as often as the hard limit may strike
        case SoftTimeLimitExceeded() if troubles < ledger_settings.MAX_LOSSES:
            return _wait_out(claim, exc)
        case Reject() if isinstance(exc.reason, Exception):
            return _kill(app, claim, exc.reason)
        case _:
            return _kill(app, claim, exc)


def _retry(claim: Claim, exc: Retry, changes: dict[str, Any]) -> bool:
    """Celery's `retry()`: the same job waits until its time, perhaps with other arguments and
    options.
    """
    cause = exc.exc or exc
    if cause.__traceback__ is None:  # which the body has made and did not raise
        cause = cause.with_traceback(exc.__traceback__)
    return Job.objects.put_back(
        claim, due_at=moment(exc.when), error=describe(cause), retried=True, **changes
    )


def _wait_out(claim: Claim, exc: BaseException) -> bool:
    """What passes by itself: try again, without counting it as a retry of the task."""
    pause_s = delay_s(claim.attempts, base_s=1, cap_s=ledger_settings.RING_CAP_S)
    log.warning(
        "Interrupted by trouble, trying again in %.0f s: %s: %s", pause_s, type(exc).__name__, exc
    )
    Job.objects.put_back(claim, due_at=moment(pause_s), error=describe(exc), retried=False)
    return False


def _kill(app: Celery, claim: Claim, exc: BaseException) -> bool:
    with transaction.atomic():
        killed = Job.objects.kill(claim, error=describe(exc))
        if killed:
            app.backend.fail(request_of(claim), exc)
    return killed


def call_off(app: Celery, claim: Claim, exc: Exception) -> bool:
    """Cancelled: by its own body, or because it came too late. What waits for it is told."""
    with transaction.atomic():
        cancelled = Job.objects.call_off(claim, error=describe(exc))
        if cancelled:
            app.backend.call_off(request_of(claim), exc)
    return cancelled


def cancel(
    app: Celery, jobs: JobQuerySet, *, error: dict[str, Any], call_errbacks: bool = False
) -> list[Job]:
    """Before anybody began: those of these that wait, as they were. What waits for one is told."""
    with transaction.atomic():
        cancelled = jobs.cancel(error=error)
        for job in cancelled:
            with context.replaced(job.context):
                failure = TaskRevokedError(error["message"])
                app.backend.call_off(request_of(job), failure, call_errbacks=call_errbacks)
        brought = [job.concurrency_key for job in cancelled if job.in_line_since]
        if brought:  # a place may have been offered to one of them
            transaction.on_commit(partial(app.amqp.bring, brought), robust=True)
    return cancelled


def request_of(job: Claim | Job) -> Context:
    """What Celery would know of this job from its message: its canvas."""
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
    """The connection broke, perhaps during the commit: the row knows whether it went through.

    Raises when Postgres cannot be asked either.
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
    _ask_the_row(app, claim, exc)
    if claim.concurrency_key is not None:
        app.amqp.bring([claim.concurrency_key])


def moment(when: datetime | float | None) -> datetime:
    """Celery's `Retry.when`: a time, seconds from now, or nothing for now."""
    if isinstance(when, datetime):
        return timezone.make_aware(when) if timezone.is_naive(when) else when
    return timezone.now() + timedelta(seconds=when or 0)


def owe(give_back: Callable[[], object]) -> None:
    """Call it again and again, from a thread with a connection of its own, until Postgres has taken
    it: long before the lease has run out. It has to be fenced: meanwhile the job may be rescued.
    """
    context_now = contextvars.copy_context()  # the log of the thread is about the same job
    threading.Thread(target=context_now.run, args=(_insist, give_back), daemon=True).start()


def _insist(give_back: Callable[[], object]) -> None:
    while True:
        time.sleep(ledger_settings.OWED_PAUSE_S)
        try:
            give_back()
            return
        except Error as exc:
            if not in_trouble(exc):
                raise
        finally:
            connection.close()
