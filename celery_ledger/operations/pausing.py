"""Pauses and resumes a queue, a task, or an entry of the schedule. The log says who did it.

From its commit on a pause holds in every worker: jobs that run go on, and no other begins. A paused
queue costs its workers nothing, however many jobs wait in it. The jobs of a paused task are rung
for and passed over again and again, so pause a task with thousands of waiting jobs, but not
millions.
"""

import logging
from functools import partial

from celery import current_app
from django.db import transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, PauseKind, Schedule
from celery_ledger.models.schedule import now

log = logging.getLogger(__name__)


def pause(kind: PauseKind, name: str, *, by: str, note: str = "") -> bool:
    """Pause it. False when it is paused already."""
    with transaction.atomic():
        words = {"by": by, "note": note}
        _, is_new = Pause.objects.get_or_create(kind=kind, name=name, defaults=words)
        if is_new:
            _log("%s %s is paused by %s", kind, name, by)
    return is_new


def resume(kind: PauseKind, name: str, *, by: str) -> bool:
    """Resume it. False when it is not paused.

    The clock rings for the due jobs. A schedule goes on with its next slot, whatever it has missed.
    """
    with transaction.atomic():
        was_paused = bool(Pause.objects.filter(kind=kind, name=name).delete()[0])
        if was_paused and kind == PauseKind.SCHEDULE:
            schedule = Schedule.objects.locked(name)
            schedule.promised_until = now()
            schedule.save(update_fields=["promised_until"])
        if was_paused and kind != PauseKind.SCHEDULE:
            transaction.on_commit(partial(_bring, kind, name), robust=True)
        if was_paused:
            _log("%s %s is resumed by %s", kind, name, by)
    return was_paused


def _bring(kind: PauseKind, name: str) -> None:
    """Bring jobs that stand in line for a place: while they were paused, places were offered to
    others or to nobody.
    """
    in_line = Job.objects.in_line().filter(**{str(kind): name})
    keys = in_line.order_by().values_list("concurrency_key", flat=True).distinct()
    current_app.amqp.bring(list(keys[: ledger_settings.RING_BUDGET]))


def _log(*sentence: str) -> None:
    """Log this after the commit."""
    transaction.on_commit(partial(log.info, *sentence), robust=True)
