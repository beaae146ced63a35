"""For tests: makes due jobs in this process, by Celery's own tracer, without a broker or a worker;
or starts a worker.

Celery's `task_always_eager` would bypass the ledger; this does not.
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

LIMIT = 10_000  # attempts of one call of work_off
SHUTDOWN_S = 15.0


def work_off(*, ahead: timedelta = timedelta(0)) -> int:
    """Make every job that is due, or will be within `ahead`, until none is left; return the number
    of attempts. Raises AssertionError after LIMIT of them.

    No time passes: a job that is due later is made due now when its turn comes.
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
    """Do what a worker does for the bell of this job, if the bells of `also`, jobs of the same
    task, were handed over with it.
    """
    timelimit = job.envelope["headers"]["timelimit"] if job.envelope else None
    request: dict[str, Any] = {
        "id": str(job.pk),
        "task": job.task,
        "delivery_info": {"exchange": "", "routing_key": job.queue},
        "timelimit": timelimit,
        "ignore_result": True,  # as in every bell
        "also": [str(other.pk) for other in also],
    }
    trace_task(current_app.tasks[job.task], str(job.pk), (), {}, request=request, app=current_app)


class _Worker(TestWorkController):  # type: ignore[misc]
    """A worker in a thread. It stops its clock and closes the thread's connections when it ends."""

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
    """Run a worker in a thread of this process, on the broker of the settings, for the length of
    the block. It sees only what the test has committed.
    """
    options = {"pool": "solo", "perform_ping_check": False, "shutdown_timeout": SHUTDOWN_S}
    with start_worker(
        current_app, loglevel="WARNING", WorkController=_Worker, **options
    ) as started:
        yield started
