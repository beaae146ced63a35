"""The scheduler: promises the due jobs of `beat_schedule`, one for each slot."""

import logging
from datetime import datetime
from typing import Any

from celery import Celery
from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Pause, PauseKind
from celery_ledger.models.schedule import Schedule, schedule_of
from celery_ledger.models.slots import next_slot
from celery_ledger.worker.lead import we_lead

log = logging.getLogger(__name__)


class Scheduler:
    """The clock's part that promises scheduled jobs."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        # by entry: when to ask Postgres next, by this machine's clock
        self._next_slots: dict[str, datetime] = {}

    def promise_due_slots(self) -> int:
        """Promise the jobs of slots that have come; return how many. Postgres is asked only when a
        slot has come by this machine's clock.

        An entry that cannot be promised is logged, and left alone for SCHEDULE_REST.
        """
        promised = 0
        for name, entry in self.app.conf.beat_schedule.items():
            if name in self._next_slots and timezone.now() < self._next_slots[name]:
                continue
            try:
                promised += self._promise_due_slots_of(name, entry)
            except (DatabaseError, InterfaceError):
                raise
            except Exception:  # e.g. arguments that no row can hold
                text = (
                    "The entry %s of beat_schedule cannot be promised; the next try is in a minute"
                )
                log.exception(text, name)
                self._next_slots[name] = timezone.now() + ledger_settings.SCHEDULE_REST
        return promised

    def _promise_due_slots_of(self, name: str, entry: dict[str, Any]) -> int:
        with transaction.atomic():
            if not we_lead(f"promise {name}"):
                return 0
            if Pause.objects.filter(kind=PauseKind.SCHEDULE, name=name).exists():
                self._next_slots[name] = timezone.now() + ledger_settings.SCHEDULE_LOOK
                return 0
            schedule = Schedule.objects.locked(name)
            promised = schedule.promise_due_slots(self.app, entry)
        self._next_slots[name] = next_slot(schedule_of(self.app, entry), schedule.promised_until)
        return promised
