"""Two lanes of one belt: what somebody waits for, and bulk work, which goes on in the room that is left.

A job is promised in the lane of whoever promises it, so all that follows from bulk work is bulk work. Each lane is a
queue of its own; a worker that listens to both hears a bell in the bulk lane only when the other is empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from jobs import context
from jobs.models import Job, State


@contextmanager
def bulk() -> Iterator[None]:
    """Jobs promised in this block, and all that follow from them, are bulk work."""
    with context.bound(lane=settings.JOBS_BULK_QUEUE):
        yield


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, str] | None:
    """Celery's `task_routes`: the queue of the caller's lane, unless the call names one."""
    lane = context.current().get("lane")
    return {"queue": lane} if lane else None


def waiting_in_bulk(limit: int) -> int:
    """How many due jobs wait in the bulk lane, counted up to `limit`."""
    due = Job.objects.filter(queue=settings.JOBS_BULK_QUEUE, state=State.WAITING, due_at__lte=Now())
    return due[:limit].count()
