"""What a person does to jobs: retry or discard dead ones, cancel waiting ones, run them now. The
log says who did it.
"""

import logging
from collections.abc import Iterator
from functools import partial
from itertools import batched
from typing import Any

from celery import current_app
from django.db import transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.execution import verdict
from celery_ledger.models import RETRYABLE, Job, JobQuerySet, State

log = logging.getLogger(__name__)

# The end of a sentence on why a job was left alone, by its state; one for each intervention.
WHY_NOT_RETRIED = {
    State.WAITING: "is waiting already",
    State.RUNNING: "is running; see first how it ends",
    State.DONE: "is done, and what it did is not done again",
}
WHY_NOT_HURRIED = {
    State.WAITING: "is due already",
    State.RUNNING: "is running",
    State.DONE: "is done already",
    State.DEAD: "is dead; retry it",
    State.CANCELLED: "is cancelled; retry it",
}
WHY_NOT_CANCELLED = {
    State.RUNNING: "is running and ends by itself",
    State.DONE: "is done already",
    State.DEAD: "is dead already",
    State.CANCELLED: "is cancelled already",
}
WHY_NOT_ENDED: dict[State, str] = {
    state: why for state, why in WHY_NOT_CANCELLED.items() if state != State.DEAD
}


def retry(jobs: JobQuerySet, *, by: str) -> list[Job]:
    """Let the dead and the cancelled jobs among these wait again, due now; return them as they were
    before. Jobs that were never promised are left.
    """
    retried: list[Job] = []
    retryable = jobs.filter(state__in=RETRYABLE).exclude(unreachable=True)
    for ids in batched(_ids(retryable), ledger_settings.BATCH):
        with transaction.atomic():
            batch = Job.objects.filter(pk__in=ids).retry(by=by)
            _forget_unreachable(batch)
            if not retried:  # the first batch; the clock rings for the others
                rings = [current_app.amqp.ring_for(job) for job in batch]
                transaction.on_commit(partial(current_app.amqp.bell.ring, rings), robust=True)
        retried += batch
    _audit("retried", retried, by)
    return retried


def cancel(jobs: JobQuerySet, *, by: str, note: str = "") -> list[Job]:
    """Cancel the waiting jobs among these; return them as they were before. Unlike after
    `revoke()`, their errbacks are promised.
    """
    cancelled: list[Job] = []
    for ids in batched(_ids(jobs.filter(state=State.WAITING)), ledger_settings.BATCH):
        error = {"type": "Cancelled", "message": _signed(by, note)}
        waiting = Job.objects.filter(pk__in=ids)
        cancelled += verdict.cancel(current_app, waiting, error=error, call_errbacks=True)
    _audit("cancelled", cancelled, by)
    return cancelled


def run_now(jobs: JobQuerySet, *, by: str) -> list[Job]:
    """Let the jobs among these that wait for a later time be due now; return them. The clock rings
    for them.
    """
    hurried: list[Job] = []
    for ids in batched(_ids(jobs.filter(state=State.WAITING)), ledger_settings.BATCH):
        hurried += Job.objects.filter(pk__in=Job.objects.run_now(ids)).defer("args", "result")
    _audit("hurried", hurried, by)
    return hurried


def discard(jobs: JobQuerySet, *, by: str, note: str = "") -> list[Job]:
    """Let the dead jobs among these be cancelled, since somebody has seen to them; return them as
    they were before. Nothing follows: their errbacks were promised when they died.
    """
    discarded: list[Job] = []
    why = {"type": "Discarded", "message": _signed(by, note)}
    for ids in batched(_ids(jobs.filter(state=State.DEAD)), ledger_settings.BATCH):
        discarded += Job.objects.filter(pk__in=ids).discard(note=why)
    _audit("put aside", discarded, by)
    return discarded


def _signed(by: str, note: str) -> str:
    return f"by {by}: {note}" if note else f"by {by}"


def is_cancellable(job: Job) -> bool:
    """Whether the job's owner may cancel it (the option `cancellable` of its task)."""
    return job.task in cancellable_tasks()


def cancellable_tasks() -> list[str]:
    """The names of the tasks whose jobs their owners may cancel."""
    return [name for name, task in current_app.tasks.items() if getattr(task, "cancellable", False)]


def refusal(job: Job, why_not: dict[State, str]) -> str:
    """The sentence on why an intervention left this job alone; `why_not` is one of the WHY_NOT_…"""
    reason = why_not.get(State(job.state), "has just changed; look again")
    if job.unreachable and job.state == State.DEAD:
        reason = "was never promised, because a job before it died"
    return f"Job {job.pk} ({job.task}) {reason}."


def _ids(jobs: JobQuerySet) -> list[Any]:
    return list(jobs.order_by("pk").values_list("pk", flat=True))


def _forget_unreachable(jobs: list[Job]) -> None:
    """Delete the rows of the later steps of these jobs' chains, which were dead without having been
    promised: now they may be promised after all.
    """
    steps = {id_ for job in jobs for id_ in _ids_of_steps(job.envelope.get("chain"))}
    Job.objects.filter(pk__in=steps, unreachable=True).delete()


def _ids_of_steps(canvas: Any) -> Iterator[str]:
    """The ids in these signatures and in all within them; not those of a chord around them, which
    stays as it is.
    """
    if isinstance(canvas, list):
        for step in canvas:
            yield from _ids_of_steps(step)
    elif isinstance(canvas, dict):
        id_ = canvas.get("task_id")
        if isinstance(id_, str):
            yield id_
        for name, value in canvas.items():
            if name != "chord":
                yield from _ids_of_steps(value)


def _audit(done: str, jobs: list[Job], by: str) -> None:
    """Log what was done to these jobs and by whom, after the commit."""
    if jobs:
        listed = ", ".join(f"{job} (was {job.state}, attempts: {job.attempts})" for job in jobs)
        transaction.on_commit(partial(log.info, "Jobs %s by %s: %s", done, by, listed), robust=True)
