"""Short work, then calls to the outside world, then bulk work in the room that is left: each in a
queue of its own.

A job is promised in the queue of whoever promises it, so all that follows from bulk work is bulk
work. Otherwise the project's `task_routes` may name its queue, and a task that talks to the outside
world (`atomic=False`) and is not named there goes to OUTSIDE_QUEUE: a server that takes seconds to
answer holds up others' servers, and not the work that needs only Postgres. A worker that listens to
all of them hears a bell in one when those before it are empty; or, so that nothing waits for ever,
when it has heard none there for QUEUE_PATIENCE_S.
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
    """Jobs promised in this block, and all that follow from them, are bulk work."""
    with context.bound(queue=ledger_settings.BULK_QUEUE):
        yield


def inherited(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """The first of Celery's `task_routes`: the queue of whoever promises the job, if it is one that
    goes on.
    """
    queue = context.current().get("queue")
    return {"queue": queue} if queue else None


def outside(
    name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any
) -> dict[str, str] | None:
    """The last of them: where a task goes that talks to the outside world, unless it was told."""
    talks_outside = task is not None and not getattr(task, "atomic", True)
    return {"queue": ledger_settings.OUTSIDE_QUEUE} if talks_outside else None


def waiting_in_bulk(limit: int) -> int:
    """How many due jobs wait in the bulk queue, counted up to `limit`."""
    due = Job.objects.filter(
        queue=ledger_settings.BULK_QUEUE, state=State.WAITING, due_at__lte=Now()
    )
    return due[:limit].count()
