"""Shows the entries of `beat_schedule`, and promises a job of one out of turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import current_app
from celery.result import AsyncResult
from celery.schedules import BaseSchedule

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Schedule
from celery_ledger.models.schedule import now, schedule_of
from celery_ledger.models.slots import next_slot


@dataclass(frozen=True)
class Scheduled:
    """An entry of `beat_schedule` as it stands now."""

    name: str
    task: str
    schedule: BaseSchedule
    last: datetime | None  # the newest slot that was promised or passed over; None for a new entry
    next: datetime  # the slot after that one, or after now for a new entry
    is_late: bool  # `next` was more than SCHEDULE_ON_TIME ago, and no clock has promised it


def scheduled() -> Iterator[Scheduled]:
    """Each entry, in the order of the names."""
    until = dict(Schedule.objects.values_list("name", "promised_until"))
    moment = now()
    for name, entry in sorted(current_app.conf.beat_schedule.items()):
        schedule = schedule_of(current_app, entry)
        coming = next_slot(schedule, until.get(name, moment))
        is_late = moment - coming > ledger_settings.SCHEDULE_ON_TIME
        yield Scheduled(name, entry["task"], schedule, until.get(name), coming, is_late)


def run_out_of_turn(name: str) -> AsyncResult:
    """Promise a job of this entry in the caller's transaction; its slots stay as they are. Raises
    KeyError when there is no such entry.
    """
    entry: dict[str, Any] = current_app.conf.beat_schedule[name]
    options = entry.get("options") or {}
    return current_app.send_task(entry["task"], entry.get("args"), entry.get("kwargs"), **options)
