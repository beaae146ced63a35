"""The ledger's own task: an errback in Celery's newer form."""

from typing import Any

from celery import current_app, shared_task
from celery.app.task import Context
from celery.canvas import maybe_signature

from celery_ledger.execution.settling import settle
from celery_ledger.execution.verdict import request_of
from celery_ledger.models import Job


@shared_task(atomic=False)
def call_errback(errback: dict[str, Any], dead: str) -> None:
    """`link_error` of a task that takes `(request, exc, traceback)`: called as Celery does, in a
    job of its own.

    `request` has the dead job's id, task, args and canvas; the traceback is a text, or None for one
    that never began.
    """
    call, job = maybe_signature(errback, app=current_app), Job.objects.filter(pk=dead).first()
    request = _request(job) if job else Context(id=dead)
    exc = current_app.backend.outcome(job) if job else None
    trace = (job.error or {}).get("traceback") if job and not job.unreachable else None
    if not call.type.atomic:
        call(request, exc, trace)
        return
    with settle():
        call(request, exc, trace)


def _request(job: Job) -> Context:
    request = request_of(job) if job.envelope else Context(id=str(job.pk))
    args, kwargs = job.args
    request.update(task=job.task, args=args, kwargs=kwargs, retries=job.retries)
    return request
