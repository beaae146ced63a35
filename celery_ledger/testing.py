"""For tests: work off the ledger in this process, through Celery's own tracer, without a broker or
a worker; or with both.

`task_always_eager` would bypass the ledger; these do not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from celery import current_app, signals
from celery.app.trace import trace_task
from celery.contrib.testing.worker import TestWorkController, start_worker
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from celery_ledger.models import Job, State

LIMIT = 10_000
SHUTDOWN_S = 15.0


def work_off(*, ahead: timedelta = timedelta(0)) -> int:
    """Attempt every job that is due, or will be within `ahead`, until none is left; return how many
    attempts it took.

    Time does not pass: a job due later is made due now when its turn comes.
    """
    for attempts in range(LIMIT):
        due = Job.objects.filter(state=State.WAITING, due_at__lte=timezone.now() + ahead)
        job = due.order_by("-priority", "due_at", "created_at").first()
        if job is None:
            return attempts
        Job.objects.filter(pk=job.pk, due_at__gt=Now()).update(due_at=Now())
        attempt(job)
    raise AssertionError(f"still jobs to do after {LIMIT} attempts: {job}")


def attempt(job: Job, *also: Job) -> None:
    """What a worker does when this job's bell rings, and those of others of its task wait behind
    it.
    """
    timelimit = job.envelope["headers"]["timelimit"] if job.envelope else None
    request: dict[str, Any] = {
        "id": str(job.pk),
        "task": job.task,
        "delivery_info": {"exchange": "", "routing_key": job.queue},
        "timelimit": timelimit,
        "ignore_result": True,  # as a bell says of itself
        "also": [str(one.pk) for one in also],
    }
    trace_task(current_app.tasks[job.task], str(job.pk), (), {}, request=request, app=current_app)


class _Worker(TestWorkController):  # type: ignore[misc]
    """One in a thread, which takes its clock and its connections with it."""

    def start(self) -> None:
        try:
            super().start()
        finally:
            signals.worker_shutdown.send(sender=self)
            for fixup in filter(None, current_app._fixups):
                fixup.worker_fixup.uninstall()
            connections.close_all()


@contextmanager
def worker() -> Iterator[Any]:
    """A worker of one thread in this process, on the broker of the settings, for the length of the
    block. The test has to commit what the worker shall see.
    """
    options = {"pool": "solo", "perform_ping_check": False, "shutdown_timeout": SHUTDOWN_S}
    with start_worker(
        current_app, loglevel="WARNING", WorkController=_Worker, **options
    ) as started:
        yield started
