"""The ledger's own task, which calls errbacks that take `(request, exc, traceback)`."""

from typing import Any

from celery import current_app, shared_task
from celery.app.task import Context
from celery.canvas import maybe_signature

from celery_ledger.execution.settling import settle
from celery_ledger.execution.verdict import request_of
from celery_ledger.models import Job


@shared_task(atomic=False)
def call_errback(errback: dict[str, Any], dead: str) -> None:
    """Call this errback (a signature) as Celery does, for the dead job of the id `dead`.

    Its `request` has the dead job's id, task, arguments and canvas. Its `traceback` is a text, or
    None for a job that was never promised.
    """
    call, job = maybe_signature(errback, app=current_app), Job.objects.filter(pk=dead).first()
    request = _request(job) if job else Context(id=dead)
    exc = current_app.backend.outcome(job) if job else None
    trace = None
    if job and job.error and not job.unreachable:
        trace = job.error.get("traceback")
    if not call.type.atomic:
        call(request, exc, trace)
        return
    with settle():
        call(request, exc, trace)


def _request(job: Job) -> Context:
    """The request of a dead job; one that was never promised has no canvas."""
    request = request_of(job) if job.envelope else Context(id=str(job.pk))
    args, kwargs = job.args
    request.update(task=job.task, args=args, kwargs=kwargs, retries=job.retries)
    return request
