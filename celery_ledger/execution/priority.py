"""Whose turn it is when a bell rings in a queue where some jobs have a priority: a bell only says
that there is work.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any

from celery import Celery

from celery_ledger.bell import Ring
from celery_ledger.conf import ledger_settings
from celery_ledger.ids import row_id
from celery_ledger.models import Job


@dataclass
class _Look:
    """When this process last looked into a queue, and what it saw."""

    at: float
    seen: bool


_looks: dict[str, _Look] = {}


def whose_turn(app: Celery, bell: dict[str, Any]) -> tuple[str, str]:
    """The id and the task of the job to claim: that of the bell, or one of a higher priority that
    has the same time limits. The one that has to stand back is rung for again.
    """
    its_own = bell["id"], bell["task"]
    queue = (bell.get("delivery_info") or {}).get("routing_key") or ""
    if queue not in app.amqp.queues or not _some_have_priority(queue):
        return its_own
    limits = bell.get("timelimit") or (None, None)
    tasks = [name for name, task in app.tasks.items() if not task.rate_limit]
    preferred = Job.objects.preferred_to(
        row_id(bell["id"]), queue=queue, tasks=tasks, timelimit=limits
    )
    if preferred is None:
        return its_own
    id_, task, waits = preferred
    if waits:
        app.amqp.bell.ring([Ring(bell["id"], bell["task"], queue, limits)])
    return str(id_), task


def _some_have_priority(queue: str) -> bool:
    """By the newest look, which is at most PRIORITY_LOOK_S old."""
    look = _looks.get(queue)
    if look is None or monotonic() - look.at > ledger_settings.PRIORITY_LOOK_S:
        seen = Job.objects.some_have_priority(queue)
        look = _looks[queue] = _Look(monotonic(), seen)
    return look.seen


def forget_looks() -> None:
    """For tests, whose time does not pass."""
    _looks.clear()
