"""The metrics of the ledger, for Prometheus.

Each statement looks at METRICS_ROWS_MAX rows of an index at most, however many jobs wait or have
ended. So a number that reaches METRICS_ROWS_MAX means "this many or more".
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from celery import current_app
from django.db import connection
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, Worker
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.telemetry.unheard import unheard

# The jobs that wait, by queue and task. The queues are found by going from one to the next in the
# index, so one to which no worker listens is among them.
WAITING = """
WITH RECURSIVE found(name) AS (
    (SELECT queue FROM {jobs}
      WHERE state = 'waiting' AND ring_at >= %(beginning)s ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM {jobs}
             WHERE state = 'waiting' AND ring_at >= %(beginning)s AND queue > found.name
             ORDER BY queue LIMIT 1)
      FROM found WHERE found.name IS NOT NULL
)
SELECT 'waiting', known.name, job.task, count(*), count(*) FILTER (WHERE due_at <= now()),
       extract(epoch FROM now() - min(due_at))::float8
  FROM (SELECT name FROM found WHERE name IS NOT NULL LIMIT %(queues)s) AS known,
       LATERAL (SELECT task, due_at FROM {jobs} WHERE state = 'waiting' AND queue = known.name
                   AND ring_at >= %(beginning)s ORDER BY ring_at LIMIT %(rows)s) AS job
 GROUP BY 2, 3
"""
# The jobs in one other state, by queue and task.
STANDING = """
SELECT %(state)s, queue, task, count(*)
  FROM (SELECT queue, task FROM {jobs} WHERE state = %(state)s
         ORDER BY {index} LIMIT %(rows)s) AS job
 GROUP BY 2, 3
"""
# The jobs that ended in the window, by state and task.
ENDED = """
SELECT state, task, count(*), sum(retries), sum(losses + shared_losses),
       extract(epoch FROM now() - min(finished_at))::float8
  FROM (SELECT state, task, retries, losses, shared_losses, finished_at FROM {jobs}
         WHERE state IN ('done', 'dead', 'cancelled') AND finished_at > now() - %(window)s
         ORDER BY finished_at DESC LIMIT %(rows)s) AS job
 GROUP BY 1, 2
"""
ROWS = "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = '{jobs}'::regclass"
OTHER = "(other)"  # the label of all tasks beyond METRICS_TASKS_MAX


def named(number: str) -> str:
    """The name of this metric, with METRICS_PREFIX."""
    return f"{ledger_settings.METRICS_PREFIX}_{number}"


def metric_families() -> Iterator[Metric]:
    """Every metric of the ledger, for a collector of prometheus_client."""
    waiting = _rows(WAITING, queues=ledger_settings.METRICS_QUEUES_MAX, beginning=BEGINNING)
    columns = {"running": "lease_until", "dead": "created_at", "cancelled": "created_at"}
    standing: list[tuple[Any, ...]] = []
    for state, column in columns.items():  # by which an index of that state is sorted
        standing += _rows(STANDING, state=state, index=column)
    yield from _standing([*(row[:4] for row in waiting), *standing])
    yield from _due(waiting)
    yield from _ended(_rows(ENDED, window=ledger_settings.METRICS_WINDOW))
    workers = Worker.objects.living().count()
    yield GaugeMetricFamily(named("workers"), "Workers that have beaten lately", workers)
    yield _unheard()
    yield _paused()
    [[rows]] = _rows(ROWS)
    text = "Rows of the ledger, finished ones included, as estimated"
    yield GaugeMetricFamily(named("jobs_rows"), text, rows)


def _rows(statement: str, *, index: str = "", **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            statement.format(jobs=Job._meta.db_table, index=index),
            {"rows": ledger_settings.METRICS_ROWS_MAX, **values},
        )
        return list(cursor.fetchall())


def _standing(rows: Iterable[tuple[Any, ...]]) -> Iterator[Metric]:
    """The number of jobs; each row is a state, a queue, a task and a number."""
    text = (
        "Jobs that wait, run, are dead or cancelled; "
        f"of each at most {ledger_settings.METRICS_ROWS_MAX} are counted"
    )
    jobs = GaugeMetricFamily(named("jobs"), text, labels=["state", "queue", "task"])
    for (state, queue, task), (number,) in _few_tasks([(row[:3], row[3:4]) for row in rows]):
        jobs.add_metric([state, queue, task], number)
    yield jobs


def _due(rows: Iterable[tuple[Any, ...]]) -> Iterator[Metric]:
    """The number of due jobs of each queue, and the age of the oldest in seconds. Each row is one
    of WAITING.
    """
    due = GaugeMetricFamily(named("jobs_due"), "Waiting jobs whose time has come", labels=["queue"])
    age = GaugeMetricFamily(
        named("jobs_oldest_due_seconds"),
        "For how long the job has waited that was due first",
        labels=["queue"],
    )
    queues: dict[str, tuple[int, float]] = {}
    for _, queue, _, _, number, oldest_s in rows:
        before, older_s = queues.get(queue, (0, 0.0))
        queues[queue] = before + number, max(older_s, oldest_s)
    always = {current_app.conf.task_default_queue: (0, 0.0)}
    for queue, (number, oldest_s) in {**always, **queues}.items():
        due.add_metric([queue], number)
        age.add_metric([queue], oldest_s)
    yield due
    yield age


def _unheard() -> Metric:
    text = "For how long the oldest due job has waited beside an idle worker that begins nothing"
    ages = {current_app.conf.task_default_queue: timedelta(), **unheard()}
    family = GaugeMetricFamily(named("jobs_unheard_seconds"), text, labels=["queue"])
    for queue, age in ages.items():
        family.add_metric([queue], age.total_seconds())
    return family


def _paused() -> Metric:
    family = GaugeMetricFamily(named("jobs_paused"), "What is paused", labels=["kind", "name"])
    for pause in Pause.objects.order_by("kind", "name")[: ledger_settings.METRICS_QUEUES_MAX]:
        family.add_metric([pause.kind, pause.name], 1)
    return family


def _ended(rows: list[tuple[Any, ...]]) -> Iterator[Metric]:
    """The numbers of jobs that ended within METRICS_WINDOW, of their retries and their losses; and
    the window in seconds. To count all that ever ended would read the whole table.
    """
    labels = ["state", "task"]
    lately = f"in the last {named('jobs_ended_window_seconds')}"
    ended = GaugeMetricFamily(named("jobs_ended"), f"Jobs that ended {lately}", labels=labels)
    retries = GaugeMetricFamily(
        named("jobs_ended_retries"), f"Retries of the jobs that ended {lately}", labels=labels
    )
    losses = GaugeMetricFamily(
        named("jobs_ended_losses"), f"Losses of the jobs that ended {lately}", labels=labels
    )
    for (state, task), numbers in _few_tasks([(row[:2], row[2:5]) for row in rows]):
        for family, number in zip((ended, retries, losses), numbers, strict=True):
            family.add_metric([state, task], number)
    yield from (ended, retries, losses)
    is_cut = sum(row[2] for row in rows) >= ledger_settings.METRICS_ROWS_MAX
    window_s = ledger_settings.METRICS_WINDOW.total_seconds()
    if is_cut:
        window_s = max(row[5] for row in rows)
    text = (
        f"The window of {named('jobs_ended')}; "
        f"shorter when {ledger_settings.METRICS_ROWS_MAX} jobs ended in less"
    )
    yield GaugeMetricFamily(named("jobs_ended_window_seconds"), text, window_s)


Counted = tuple[tuple[str, ...], tuple[int, ...]]  # labels, of which the last is the task; numbers


def _few_tasks(counted: list[Counted]) -> Iterator[Counted]:
    """Sum these up so that no more than METRICS_TASKS_MAX tasks become labels: those with the
    highest numbers. All others are summed under OTHER.
    """
    weight: dict[str, int] = {}
    for (*_, task), numbers in counted:
        weight[task] = weight.get(task, 0) + numbers[0]
    by_weight = sorted(weight, key=lambda task: (-weight[task], task))
    kept = set(by_weight[: ledger_settings.METRICS_TASKS_MAX])
    summed: dict[tuple[str, ...], tuple[int, ...]] = {}
    for (*labels, task), numbers in counted:
        key = (*labels, task if task in kept else OTHER)
        before = summed.get(key, (0,) * len(numbers))
        summed[key] = tuple(map(sum, zip(numbers, before, strict=True)))
    yield from sorted(summed.items())
