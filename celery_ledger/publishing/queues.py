"""Chooses the queue of a job: one for short work, one for calls to the outside world, one for bulk
work. Workers look into them in that order (`celery.transport.Patience`).

A job that is promised by bulk work is bulk work too. Otherwise the project's `task_routes` may name
a queue. A task that is not named there and talks to the outside world (`atomic=False`) goes to
OUTSIDE_QUEUE, so that a slow server holds up only other calls, and not the work that needs nothing
but Postgres. Any other job goes to the default queue.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models.functions import Now

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, State


@contextmanager
def bulk() -> Iterator[None]:
    """Make jobs that are promised in this block bulk work, and all jobs that these promise."""
    with context.bound(queue=ledger_settings.BULK_QUEUE):
        yield


def inherited(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """The first of Celery's `task_routes`: the queue that the context names, which is the bulk
    queue inside `bulk()` and in bulk work; None otherwise.
    """
    queue = context.current().get("queue")
    return {"queue": queue} if queue else None


def outside(
    name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any
) -> dict[str, str] | None:
    """The last of Celery's `task_routes`: OUTSIDE_QUEUE for a task with `atomic=False`."""
    talks_outside = task is not None and not getattr(task, "atomic", True)
    return {"queue": ledger_settings.OUTSIDE_QUEUE} if talks_outside else None


def waiting_in_bulk(limit: int) -> int:
    """How many due jobs wait in the bulk queue, counted up to `limit`."""
    due = Job.objects.filter(
        queue=ledger_settings.BULK_QUEUE, state=State.WAITING, due_at__lte=Now()
    )
    return due[:limit].count()
