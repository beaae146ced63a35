"""Scheduled work without a beat process: each slot of a `beat_schedule` entry becomes one job.

Every clock computes the slots. A row keeps up to which slot an entry's jobs have been promised, and
is changed in the transaction that promises them. An entry may have `"catch_up"`: "all" (promise
every slot that was missed), "latest" (the default: only the newest one) or "none" (only the newest,
if it is less than SCHEDULE_ON_TIME late).
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from celery import Celery
from celery.schedules import BaseSchedule, maybe_schedule
from django.db import connection, models

from celery_ledger.conf import ledger_settings
from celery_ledger.models.slots import slots

SLOTS = UUID("6b616974-656e-5000-8000-736c6f747321")  # the namespace of the ids of scheduled jobs


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def locked(self, name: str) -> "Schedule":
        """The row of this entry, locked until the transaction ends. A new entry's slots begin
        now.
        """
        self.get_or_create(pk=name, defaults={"promised_until": now()})
        return self.select_for_update(no_key=True).get(pk=name)


class Schedule(models.Model):
    """The newest slot of a `beat_schedule` entry that has been promised or passed over."""

    name = models.TextField(primary_key=True)
    promised_until = models.DateTimeField()

    objects = ScheduleQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def promise_due_slots(self, app: Celery, entry: dict[str, Any]) -> int:
        """Promise the jobs of the slots that are due, as `catch_up` wants it; return how many. The
        caller holds the lock.
        """
        until = now()
        schedule, batch = schedule_of(app, entry), ledger_settings.BATCH
        due = list(slots(schedule, after=self.promised_until, until=until, limit=batch))
        if not due:
            return 0
        worth_running = _worth_running(due, entry.get("catch_up", "latest"), until)
        for slot in worth_running:
            app.send_task(
                entry["task"],
                entry.get("args"),
                entry.get("kwargs"),
                task_id=str(uuid5(SLOTS, f"{self.name} {slot.isoformat()}")),
                **(entry.get("options") or {}),
            )
        self.promised_until = due[-1]
        self.save(update_fields=["promised_until"])
        return len(worth_running)


def now() -> datetime:
    """The time by Postgres' clock. By its own, a worker that is ahead would pass over slots that
    are still to come.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def schedule_of(app: Celery, entry: dict[str, Any]) -> BaseSchedule:
    return maybe_schedule(entry["schedule"], app=app)


def _worth_running(due: list[datetime], catch_up: str, until: datetime) -> list[datetime]:
    """Those of these slots, due at `until`, that are not passed over."""
    if catch_up == "all":
        return due
    newest = due[-1]
    is_on_time = until - newest < ledger_settings.SCHEDULE_ON_TIME
    return [newest] if catch_up == "latest" or is_on_time else []
