"""The claim: a job that is due and free is this process's, for one attempt."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from celery import Task
from django.db import Error, connection

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import is_passing
from celery_ledger.models import Claim, Job

_worker: UUID | None = None


def work_as(worker: UUID | None) -> None:
    """Claims of this process, and of those forked from it, belong to this worker from now on."""
    global _worker  # noqa: PLW0603 - a process has one identity, set before it forks
    _worker = worker


def claim(
    ids: Sequence[UUID],
    task: Task,
    limits: Sequence[float | None],
    *,
    first: bool = False,
    **within: Any,
) -> list[Claim]:
    """Those of these jobs of one task that are due and free, for this process; `limits` are the
    time limits, hard and soft, that their rows name; `first`: that have had no attempt;
    `within`: which `places` or `slots`.
    """
    hard_s = max(limits[0] or 0, task.time_limit)
    return Job.objects.claim(
        ids,
        task=task.name,
        token=uuid4(),
        worker=_worker,
        pid=os.getpid(),
        lease=timedelta(seconds=hard_s + ledger_settings.LEASE_GRACE_S),
        timelimit=limits,
        first=first,
        **within,
    )


def claim_first_attempts(task: Task, bell: dict[str, Any], ids: list[UUID]) -> list[Claim]:
    """Those of these jobs that have had no attempt, in this order, under the bell's time limits."""
    claims = claim(ids, task, bell.get("timelimit") or (None, None), first=True)
    return sorted(claims, key=lambda taken: ids.index(taken.id))


def on_a_good_connection[Claimed](claim_now: Callable[[], Claimed]) -> Claimed:
    """What this claims. A connection that turns out to be broken is made anew, once."""
    try:
        return claim_now()
    except Error as exc:
        if not is_passing(exc) or connection.is_usable():
            raise
    connection.close()
    return claim_now()
