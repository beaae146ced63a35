"""`jobs stats`: the number of jobs by task and state, the oldest due job, losses, and workers.

However large the table is, some hundreds of its pages are read at most (STATS_PAGES). Numbers that
are too large to count so are estimated from a sample of its pages, and marked.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
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
# The jobs in a state with few jobs, by an index.
FEW = """
SELECT task, count(*) FROM (
       SELECT task FROM {jobs} WHERE state = %(state)s LIMIT %(rows)s) AS few GROUP BY 1
"""


class Count(NamedTuple):
    """A number of jobs; "~" before it says that it is an estimate."""

    number: int
    is_exact: bool

    def __str__(self) -> str:
        return f"{'' if self.is_exact else '~'}{self.number}"


Counts = dict[str, dict[str, Count]]  # by task, by state


def stats() -> str:
    """The statistics as text for a person."""
    parts = [_table(_counts()), _oldest_due(), *_unheard(), *_paused()]
    parts.append(f"Losses in the last hour: {_lost()}")
    return "\n\n".join([*parts, _workers()])


def stats_as_json() -> str:
    """The statistics as one JSON object; `estimated` is true if a number of jobs is an estimate."""
    counts = _counts()
    due = Job.objects.filter(state=State.WAITING, due_at__lte=Now()).order_by("due_at")
    workers = Worker.objects.living().order_by("name")
    every = [count for states in counts.values() for count in states.values()]
    numbers = {
        task: {state: count.number for state, count in states.items()}
        for task, states in counts.items()
    }
    facts = {
        "tasks": numbers,
        "estimated": not all(count.is_exact for count in every),
        "unheard_seconds": {queue: age.total_seconds() for queue, age in unheard().items()},
        "paused": list(Pause.objects.order_by("kind", "name").values("kind", "name", "by", "at")),
        "oldest_due": due.values("id", "task", "due_at").first(),
        "losses_last_hour": _lost(),
        "workers": list(workers.values("name", "pid", "started_at", "seen_at")),
    }
    return json.dumps(facts, cls=DjangoJSONEncoder, ensure_ascii=False)


def _counts() -> Counts:
    """Exact counts if the table is small. If it is large, exact counts for states of few jobs, and
    estimates for the others.
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
    """Whether fewer than STATS_ROWS jobs are in this state; if so, put their counts into
    `counts`.
    """
    by_task = _rows(FEW, state=state, rows=ledger_settings.STATS_ROWS)
    if sum(number for _, number in by_task) >= ledger_settings.STATS_ROWS:
        return False
    for task, number in by_task:
        counts[task][state] = Count(number, is_exact=True)
    return True


def _rows(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(jobs=Job._meta.db_table), values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _table(counts: Counts) -> str:
    """A line for each task and one for all, a column for each state."""
    none = Count(0, is_exact=True)
    rows = {
        task: [states.get(state, none) for state in State]
        for task, states in sorted(counts.items())
    }
    sums = [_sum(column) for column in zip(*rows.values(), strict=True)]
    of_all = ("all tasks", sums or [none] * len(State))
    heading = ["TASK", *(state.upper() for state in State.values)]
    lines = [[task, *map(str, numbers)] for task, numbers in (of_all, *rows.items())]
    return table([heading, *lines], numbers_from=1)


def _sum(counts: Iterable[Count]) -> Count:
    """The sum of these, which is exact if each of them is."""
    counts = list(counts)
    return Count(sum(count.number for count in counts), all(count.is_exact for count in counts))


def _lost() -> int:
    """The number of losses of the last hour: those of jobs that were claimed within it. A row keeps
    no time of a loss, which is a lease later than the claim at most.
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
