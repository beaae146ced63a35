"""What waits in each queue, what is paused, and what comes by the clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from celery.schedules import BaseSchedule, crontab, schedule
from django.conf import settings
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from celery_ledger import Job, Pause, PauseKind, State, scheduled


@dataclass(frozen=True)
class Queue:
    name: str
    waiting: int
    more: bool
    oldest_due: datetime | None
    pause: Pause | None


@dataclass(frozen=True)
class Entry:
    entry: scheduled.Scheduled
    when: Promise | str
    pause: Pause | None


def queues() -> list[Queue]:
    """Every queue, paused ones of an older release too. In each at most OPS_QUEUE_COUNTED waiting
    jobs are counted, those whose bell is next.
    """
    pauses = _pauses(PauseKind.QUEUE)
    names = dict.fromkeys([*settings.LEDGER["QUEUES"], *pauses])
    return [_queue(name, pauses.get(name)) for name in names]


def paused_tasks() -> list[Pause]:
    return list(_pauses(PauseKind.TASK).values())


def entries() -> Iterator[Entry]:
    pauses = _pauses(PauseKind.SCHEDULE)
    for entry in scheduled.scheduled():
        yield Entry(entry, in_words(entry.schedule), pauses.get(entry.name))


def in_words(when: BaseSchedule) -> Promise | str:
    """every 5 min, each day at 04:30; anything else as cron writes it."""
    if isinstance(when, crontab):
        if _is_daily(when):
            [hour], [minute] = when.hour, when.minute
            return format_lazy(gettext_lazy("each day at {time}"), time=f"{hour:02}:{minute:02}")
        parts = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        return " ".join(str(getattr(when, f"_orig_{part}")) for part in parts)
    if isinstance(when, schedule):
        seconds = when.run_every.total_seconds()
        if seconds % 60 == 0:
            return format_lazy(gettext_lazy("every {n} min"), n=f"{seconds / 60:g}")
        return format_lazy(gettext_lazy("every {n} s"), n=f"{seconds:g}")
    return str(when)


def _is_daily(when: crontab) -> bool:
    days = when._orig_day_of_month, when._orig_month_of_year, when._orig_day_of_week
    return (len(when.hour), len(when.minute)) == (1, 1) and set(map(str, days)) == {"*"}


def _queue(name: str, pause: Pause | None) -> Queue:
    most = settings.OPS_QUEUE_COUNTED
    waiting = Job.objects.filter(queue=name, state=State.WAITING).by_bell()
    due = list(waiting.values_list("due_at", flat=True)[: most + 1])
    oldest = min((moment for moment in due if moment <= timezone.now()), default=None)
    return Queue(name, min(len(due), most), len(due) > most, oldest, pause)


def _pauses(kind: PauseKind) -> dict[str, Pause]:
    return {pause.name: pause for pause in Pause.objects.filter(kind=kind).order_by("name")}
