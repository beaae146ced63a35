"""Claims jobs of tasks with limits. A job is claimed when its slot has come and a place of its key
is free; otherwise it waits for the slot, or stands in line for a place.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import Task
from django.db import IntegrityError
from django.db.models import Q

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import CannotBeStored
from celery_ledger.execution.claiming import claim
from celery_ledger.models import WAITS, Claim, Job
from celery_ledger.publishing.limits import (
    has_rate_by_key,
    keys_of,
    keys_of_the_task,
    pause_s,
    places_of,
    rate_of,
)


def claim_within(id_: UUID, task: Task, timelimit: Sequence[float | None]) -> list[Claim]:
    """Claim one job of a task with limits: a list of its claim, or an empty one if it may not begin
    now or is not to be claimed at all. `timelimit` as in `claim`.
    """
    if task.concurrency:
        return _claim_a_place(id_, task, timelimit)
    claims = claim([id_], task, timelimit, slots=_slots(task))
    if not claims and _has_its_slot(id_, task):
        claims = claim([id_], task, timelimit)
    return claims


def _claim_a_place(id_: UUID, task: Task, timelimit: Sequence[float | None]) -> list[Claim]:
    """As `claim_within`, of a task with a `concurrency`.

    A job whose slot comes while every place is taken loses that slot, and takes a new one when it
    has a place: so no more jobs begin in a while than the rate allows.
    """
    places = places_of(task)
    for _ in range(ledger_settings.LIMIT_TRIES):
        if task.rate_limit and (_stands(id_, task, places) or not _has_its_slot(id_, task)):
            return []
        try:
            claims = claim([id_], task, timelimit, places=places)
        except IntegrityError:  # another process has taken the same place
            continue
        if claims:
            _bring_those_behind(claims[0], task, places)
            return claims
        if _stands(id_, task, places) or not _note_keys(id_, task):
            return []
    return []  # the clock rings for it


def _bring_those_behind(claimed: Claim, task: Task, places: int) -> None:
    """Bring the next in line if the claimed job was in line too and another place is free."""
    key = claimed.concurrency_key
    if claimed.is_wanted and key and Job.objects.has_place(key, places=places):
        task.app.amqp.bring([key])


def _stands(id_: UUID, task: Task, places: int) -> bool:
    """Whether the job had to stand in line.

    A place that was given back at that moment was offered to nobody; then it is offered now.
    """
    key = Job.objects.stand_in_line(id_, places=places)
    if key is not None and not Job.objects.leave_word(id_, key, places=places):
        task.app.amqp.bring([key])
    return key is not None


def _has_its_slot(id_: UUID, task: Task) -> bool:
    """Whether the job's slot is now. If not, it has taken the next one and waits for it."""
    begins = Job.objects.take_slot(id_, task=task.name, **_slots(task))
    if begins is None and _note_keys(id_, task):
        begins = Job.objects.take_slot(id_, task=task.name, **_slots(task))
    return bool(begins)


def _slots(task: Task) -> dict[str, Any]:
    """The parameters of the statements that take slots."""
    return {"pause_s": pause_s(rate_of(task)), "keyed": has_rate_by_key(task)}


def _note_keys(id_: UUID, task: Task) -> bool:
    """Write the keys of the task's limits into the row of a waiting job that lacks one, since it
    was promised before its task had the limit. Returns whether it did.
    """
    lacks = Q(concurrency_key=None) if task.concurrency else Q()
    lacks |= Q(rate_key=None) if has_rate_by_key(task) else Q()
    row = Job.objects.filter(lacks, pk=id_, task=task.name, **WAITS)
    call = row.values_list("args", flat=True).first() if lacks else None
    if call is None:
        return False
    positional, named = call
    try:
        keys = keys_of(task, positional, named)
    except CannotBeStored:
        keys = keys_of_the_task(task)
    return bool(row.update(concurrency_key=keys.concurrency, rate_key=keys.rate))
