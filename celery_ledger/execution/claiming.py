"""Claims jobs for this process: each due job that nobody runs is its own for one attempt."""

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

_worker: UUID | None = None  # the id of the worker that this process belongs to


def work_as(worker: UUID | None) -> None:
    """Let claims of this process, and of those forked from it, belong to this worker."""
    global _worker  # noqa: PLW0603 - a process has one identity, set before it forks
    _worker = worker


def timelimit_of(bell: dict[str, Any]) -> Sequence[float | None]:
    """The hard and the soft time limit in seconds that a bell names; None for each that it does
    not.
    """
    return bell.get("timelimit") or (None, None)


def claim(
    ids: Sequence[UUID],
    task: Task,
    timelimit: Sequence[float | None],
    *,
    first: bool = False,
    **within: Any,
) -> list[Claim]:
    """Claim those of these jobs of one task that are due and free, for this process.

    `timelimit`: only jobs whose rows name this hard and soft time limit. `first`: only jobs that
    have had no attempt. `within`: `places` or `slots`, as `Job.objects.claim` takes them.
    """
    hard_s = max(timelimit[0] or 0, task.time_limit)
    return Job.objects.claim(
        ids,
        task=task.name,
        token=uuid4(),
        worker=_worker,
        pid=os.getpid(),
        lease=timedelta(seconds=hard_s + ledger_settings.LEASE_GRACE_S),
        timelimit=timelimit,
        first=first,
        **within,
    )


def claim_first_attempts(task: Task, bell: dict[str, Any], ids: list[UUID]) -> list[Claim]:
    """Claim those of these jobs that have had no attempt and name the bell's time limits. The
    claims come in the order of the ids.
    """
    claims = claim(ids, task, timelimit_of(bell), first=True)
    return sorted(claims, key=lambda claimed: ids.index(claimed.id))


def on_a_good_connection[Claimed](claim_now: Callable[[], Claimed]) -> Claimed:
    """Call this and return what it returns. If the connection proves to be broken, it is made anew
    and the call repeated, once.
    """
    try:
        return claim_now()
    except Error as exc:
        if not is_passing(exc) or connection.is_usable():
            raise
    connection.close()
    return claim_now()
