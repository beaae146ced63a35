"""What a person pauses and resumes: a queue, a task, an entry of the schedule. The log says who
did.

A pause holds for every worker of this release from its commit on: what runs goes on, what is
promised waits. A paused queue costs its workers nothing, however much waits in it. The jobs of a
paused task are rung for and passed over again and again: it is for thousands, not for millions.
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
    """False when it is paused already."""
    with transaction.atomic():
        words = {"by": by, "note": note}
        _, is_new = Pause.objects.get_or_create(kind=kind, name=name, defaults=words)
        if is_new:
            _say("%s %s is paused by %s", kind, name, by)
    return is_new


def resume(kind: PauseKind, name: str, *, by: str) -> bool:
    """Its due jobs are rung for by the clock. The slots that a schedule has missed are not made up
    for. False when it is not paused.
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
            _say("%s %s is resumed by %s", kind, name, by)
    return was_paused


def _bring(kind: PauseKind, name: str) -> None:
    """While it was paused, the places of its jobs were offered to others or to nobody."""
    in_line = Job.objects.in_line().filter(**{str(kind): name})
    keys = in_line.order_by().values_list("concurrency_key", flat=True).distinct()
    current_app.amqp.bring(list(keys[: ledger_settings.RING_BUDGET]))


def _say(*sentence: str) -> None:
    transaction.on_commit(partial(log.info, *sentence), robust=True)
