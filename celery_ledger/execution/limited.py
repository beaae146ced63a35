"""The claim of a job that is limited: it begins when its slot has come and a place of its key is
free, and otherwise waits for the slot or stands in line for the place.
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


def claim_within(id_: UUID, task: Task, limits: Sequence[float | None]) -> list[Claim]:
    """As `claim`, of one job of a task that is limited. One that may not begin waits for its slot,
    or stands in line for a place.
    """
    if task.concurrency:
        return _claim_a_place(id_, task, limits)
    claims = claim([id_], task, limits, slots=_slots(task))
    if not claims and _has_its_slot(id_, task):
        claims = claim([id_], task, limits)
    return claims


def _claim_a_place(id_: UUID, task: Task, limits: Sequence[float | None]) -> list[Claim]:
    """A slot that has come while every place was taken is lost: the next one is taken when there
    is a place, so that no more begin in a while than may.
    """
    places = places_of(task)
    for _ in range(ledger_settings.LIMIT_TRIES):
        if task.rate_limit and (_stands(id_, task, places) or not _has_its_slot(id_, task)):
            return []
        try:
            claims = claim([id_], task, limits, places=places)
        except IntegrityError:  # somebody has taken that very place
            continue
        if claims:
            _bring_those_behind(claims[0], task, places)
            return claims
        if _stands(id_, task, places) or not _note_keys(id_, task):
            return []
    return []  # the clock rings for it


def _bring_those_behind(taken: Claim, task: Task, places: int) -> None:
    """One that was in line may have others behind it, and places for them."""
    key = taken.concurrency_key
    if taken.is_wanted and key and Job.objects.has_place(key, places=places):
        task.app.amqp.bring([key])


def _stands(id_: UUID, task: Task, places: int) -> bool:
    """Whether the job had to stand in line. A place that was given back meanwhile was offered to
    nobody: then it is offered now.
    """
    key = Job.objects.stand_in_line(id_, places=places)
    if key is not None and not Job.objects.leave_word(id_, key, places=places):
        task.app.amqp.bring([key])
    return key is not None


def _has_its_slot(id_: UUID, task: Task) -> bool:
    begins = Job.objects.take_slot(id_, task=task.name, **_slots(task))
    if begins is None and _note_keys(id_, task):
        begins = Job.objects.take_slot(id_, task=task.name, **_slots(task))
    return bool(begins)


def _slots(task: Task) -> dict[str, Any]:
    return {"pause_s": pause_s(rate_of(task)), "keyed": has_rate_by_key(task)}


def _note_keys(id_: UUID, task: Task) -> bool:
    """Of a job whose row lacks one, since whoever promised it knew of no such limit."""
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
