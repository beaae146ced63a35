"""Reads what a person types to name jobs: the first digits of an id, a state by Celery's name, a
length of time. Each function raises Misunderstood for what it cannot read.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import reduce
from operator import or_
from uuid import UUID

from celery import current_app
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.module_loading import import_string

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, JobQuerySet, State

STATES_BY_CELERYS_NAME = {
    "pending": State.WAITING,
    "received": State.WAITING,
    "retry": State.WAITING,
    "started": State.RUNNING,
    "success": State.DONE,
    "failure": State.DEAD,
    "revoked": State.CANCELLED,
}
UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
EVER = datetime(1970, 1, 1, tzinfo=UTC)  # before any job; ids that hold a time begin here
SHORT_ID = re.compile(r"[0-9a-f]{4,32}")


class Misunderstood(ValueError):
    """What was typed cannot be read; a sentence for whoever typed it, with what may be meant."""


def state(text: str) -> State:
    """The state of this name, of the ledger's or of Celery's."""
    states = {**{str(state): state for state in State}, **STATES_BY_CELERYS_NAME}
    if text.lower() not in states:
        raise Misunderstood(_no_such("state", text.lower(), states))
    return states[text.lower()]


def task(text: str) -> str:
    """The full name of a task that this release has, or that a job here is of."""
    current_app.loader.import_default_modules()
    if text not in current_app.tasks and not Job.objects.filter(task=text).exists():
        tasks = {*current_app.tasks, *Job.objects.values_list("task", flat=True).distinct()}
        by_last_word = [name for name in tasks if name.rpartition(".")[2] == text]
        raise Misunderstood(_no_such("task", text, tasks, meant=sorted(by_last_word)))
    return text


def queue(text: str) -> str:
    """The name of a queue that workers of this release serve, or that a job here is in."""
    heard = set(current_app.amqp.queues.consume_from)
    if text not in heard and not Job.objects.filter(queue=text).exists():
        raise Misunderstood(_no_such("queue", text, heard))
    return text


def schedule(text: str) -> str:
    """The name of an entry of `beat_schedule`."""
    entries = current_app.conf.beat_schedule
    if text not in entries:
        raise Misunderstood(_no_such("schedule", text, entries))
    return text


def since(text: str) -> datetime:
    """The moment that is meant by a length of time before now (90s, 30m, 2h, 7d), by a date, or by
    a date and a time. A moment before EVER becomes EVER.
    """
    ago = re.fullmatch(r"(\d{1,6})\s?(s|m|min|h|d)", text)
    if ago:
        try:
            return max(EVER, timezone.now() - timedelta(**{UNITS[ago[2]]: int(ago[1])}))
        except OverflowError:  # before the year 1
            return EVER
    try:
        day, moment = parse_date(text), parse_datetime(text)
    except ValueError:  # e.g. a month 13
        day = moment = None
    if moment is None and day is not None:
        moment = datetime(day.year, day.month, day.day)
    if moment is None:
        raise Misunderstood(
            f"{text!r} is no time. Write how long ago (30m, 2h, 7d), a date like 2026-11-30, "
            "or a date and a time."
        )
    return max(EVER, timezone.make_aware(moment) if timezone.is_naive(moment) else moment)


def job_id(text: str) -> UUID:
    """The id of a job, from the whole id or from its first digits: at least four, with which no
    other job's id begins. A whole id need not be one of a job.
    """
    digits = text.lower().replace("-", "")
    if not SHORT_ID.fullmatch(digits):
        raise Misunderstood(f"{text!r} is no job's id; `manage.py jobs list` shows them.")
    first, last = (UUID(digits.ljust(32, filler)) for filler in "0f")
    if first == last:
        return first
    most = ledger_settings.ASKED_SHORT_MAX
    jobs = Job.objects.filter(pk__range=(first, last)).order_by("pk")
    ids: list[UUID] = list(jobs.values_list("pk", flat=True)[: most + 1])
    if not ids:
        raise Misunderstood(unknown(text))
    if len(ids) > 1:
        more = " and more" if len(ids) > most else ""
        listed = ", ".join(map(str, ids[:most]))
        raise Misunderstood(f"Several jobs begin with {text}: {listed}{more}.")
    return ids[0]


def about(text: str) -> JobQuerySet:
    """The jobs that have this text in their arguments, or one of the ids for which it stands in the
    project (`LEDGER["ABOUT"]`), e.g. those of an order's payments. The query reads every row.
    """
    setting = ledger_settings.ABOUT
    resolve: Callable[[str], Collection[str]] = (
        import_string(setting) if isinstance(setting, str) else setting
    )
    names = resolve(text)
    if not names:
        raise Misunderstood(f"Nothing is known by the name {text!r}.")
    most = ledger_settings.ASKED_NAMES_MAX
    if len(names) > most:
        raise Misunderstood(f"{text!r} stands for {len(names)} ids; {most} can be looked for.")
    in_args = [Q(args_text__contains=json.dumps(name)) for name in names]
    jobs = Job.objects.annotate(args_text=Cast("args", TextField()))
    return jobs.filter(reduce(or_, in_args))


def unknown(id_: object) -> str:
    """The sentence that there is no job of this id."""
    return f"There is no job {id_}; finished ones are pruned after a while."


def _no_such(kind: str, text: str, names: Iterable[str], meant: list[str] | None = None) -> str:
    """The sentence that there is nothing of this name among `names`; with those that may be meant,
    or else all of them, unless they are tasks.
    """
    close = meant or get_close_matches(text, list(names), n=3, cutoff=0.6)
    if close:
        return f"There is no {kind} {text!r}. Did you mean {' or '.join(close)}?"
    short = sorted(names) if kind != "task" else []
    return f"There is no {kind} {text!r}" + (f"; there are {', '.join(short)}." if short else ".")
