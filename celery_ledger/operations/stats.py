"""`jobs stats`: how many jobs of each task are at what, what waits, what was lost, who works.

However long the past is, no more than some hundreds of pages are read: what is too many to count is
estimated from a sample of the table's pages, and says so.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce, Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, State, Worker
from celery_ledger.operations.listing import lasting, local_time, table
from celery_ledger.telemetry.unheard import unheard

PAGES = "SELECT pg_relation_size('{jobs}') / current_setting('block_size')::int"
ALL = "SELECT task, state, count(*) FROM {jobs} GROUP BY 1, 2"
SAMPLE = """
SELECT task, state, ceil(count(*) * %(scale)s)::bigint
  FROM {jobs} TABLESAMPLE SYSTEM (100.0 / %(scale)s) GROUP BY 1, 2
"""
# The few that are not done, by the index that holds their state.
FEW = """
SELECT task, count(*) FROM (
       SELECT task FROM {jobs} WHERE state = %(state)s LIMIT %(rows)s) AS few GROUP BY 1
"""


class Count(NamedTuple):
    number: int
    is_exact: bool

    def __str__(self) -> str:
        return f"{'' if self.is_exact else '~'}{self.number}"


Counts = dict[str, dict[str, Count]]  # by task, by state


def stats() -> str:
    """For a person."""
    parts = [_table(_counts()), _oldest_due(), *_unheard(), *_paused()]
    parts.append(f"Losses in the last hour: {_lost()}")
    return "\n\n".join([*parts, _workers()])


def stats_as_json() -> str:
    """The same as one JSON object; `estimated` says whether numbers of jobs may be."""
    counts = _counts()
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now()).order_by("due_at")
    workers = Worker.objects.living().order_by("name")
    every = [count for states in counts.values() for count in states.values()]
    facts = {
        "tasks": {
            task: {state: count.number for state, count in states.items()}
            for task, states in counts.items()
        },
        "estimated": not all(count.is_exact for count in every),
        "unheard_seconds": {queue: age.total_seconds() for queue, age in unheard().items()},
        "paused": list(Pause.objects.order_by("kind", "name").values("kind", "name", "by", "at")),
        "oldest_due": due.values("id", "task", "due_at").first(),
        "losses_last_hour": _lost(),
        "workers": list(workers.values("name", "pid", "started_at", "seen_at")),
    }
    return json.dumps(facts, cls=DjangoJSONEncoder, ensure_ascii=False)


def _counts() -> Counts:
    """All of a short ledger; of a long one, those that are few, and the others as a sample has
    them.
    """
    [[pages]] = _rows(PAGES)
    scale = pages / ledger_settings.STATS_PAGES
    counts: Counts = defaultdict(dict)
    if scale <= 1:
        for task, state, number in _rows(ALL):
            counts[task][state] = Count(number, is_exact=True)
        return counts
    few = [state for state in State if state != State.DONE and _few(state, counts)]
    for task, state, number in _rows(SAMPLE, scale=scale):
        if state not in few:
            counts[task][state] = Count(number, is_exact=False)
    return counts


def _few(state: State, counts: Counts) -> bool:
    """Count the jobs in this state, if they are no more than STATS_ROWS."""
    found = _rows(FEW, state=state, rows=ledger_settings.STATS_ROWS)
    are_few = bool(sum(number for _, number in found) < ledger_settings.STATS_ROWS)
    for task, number in found if are_few else ():
        counts[task][state] = Count(number, is_exact=True)
    return are_few


def _rows(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(jobs=Job._meta.db_table), values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _table(counts: Counts) -> str:
    none = Count(0, is_exact=True)
    rows = [
        (task, *(states.get(state, none) for state in State))
        for task, states in sorted(counts.items())
    ]
    sums = [
        Count(sum(one.number for one in column), all(one.is_exact for one in column))
        for column in zip(*(numbers for _, *numbers in rows), strict=True)
    ]
    counted = [("all tasks", *(sums or [none] * len(State))), *rows]
    texts = [[str(cell) for cell in row] for row in counted]
    return table([["TASK", *(state.upper() for state in State.values)], *texts], numbers_from=1)


def _lost() -> int:
    """By jobs that were claimed within the hour: a row keeps no time of its losses, which are at
    most a lease older than that.
    """
    lately = Q(started_at__gt=Now() - timedelta(hours=1))
    was_lost = Q(losses__gt=0) | Q(shared_losses__gt=0)
    lost = Job.objects.filter(lately & was_lost)
    return int(lost.aggregate(n=Coalesce(Sum(F("losses") + F("shared_losses")), 0))["n"])


def _paused() -> Iterator[str]:
    for pause in Pause.objects.order_by("kind", "name"):
        yield f"Paused: {pause}, by {pause.by} since {local_time(pause.at)}"


def _oldest_due() -> str:
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now()).order_by("due_at")
    oldest = due.values_list("due_at", Now(), "task", "pk").first()
    if oldest is None:
        return "No due job is waiting."
    due_at, now, task, id_ = oldest
    return f"The oldest due job has waited for {lasting(now - due_at)}: {task} {id_}"


def _unheard() -> Iterator[str]:
    for queue, age in unheard().items():
        yield f"Due but unheard in {queue}, beside an idle worker: for {lasting(age)}"


def _workers() -> str:
    living = (
        Worker.objects.living()
        .order_by("name")
        .values_list("name", "pid", "started_at", "seen_at", Now())
    )
    if not living:
        return "No worker is alive."
    rows = [("WORKER ALIVE", "PID", "SINCE", "LAST BEAT")]
    rows += [
        (name, str(pid), local_time(started_at), f"{lasting(now - seen_at)} ago")
        for name, pid, started_at, seen_at, now in living
    ]
    return table(rows)
