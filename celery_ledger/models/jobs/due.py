"""Finds the due jobs that are next, among all that wait. Nothing is locked: another process may
claim what is found here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.claim import of_jobs
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.models.jobs.job import Job

# The due job of the highest priority that is above the priority of the bell's own job. Jobs with a
# priority are few and have an index of their own. If the own job's is negative, jobs of priority 0
# come before it; they are the second part of `candidate`.
PREFERRED = """
WITH bell AS (
     SELECT coalesce(max(priority), 0) AS priority, count(*) > 0 AS waits
       FROM {jobs} WHERE id = %(id)s AND lease_until IS NULL AND finished_at IS NULL),
candidate AS (
    (SELECT job.id, job.task, job.priority, job.due_at FROM {jobs} AS job, bell
      WHERE job.queue = %(queue)s AND job.state = 'waiting' AND job.priority <> 0
        AND job.priority > bell.priority AND job.due_at <= clock_timestamp()
        AND job.slot_at IS NULL AND job.task = ANY(%(tasks)s) AND job.{task_runs}
        AND %(timelimit)s::jsonb = {limits}
      ORDER BY job.priority DESC, job.due_at LIMIT 1)
    UNION ALL
    (SELECT job.id, job.task, job.priority, job.due_at FROM {jobs} AS job, bell
      WHERE bell.priority < 0 AND bell.waits
        AND job.queue = %(queue)s AND job.state = 'waiting' AND job.priority = 0
        AND job.due_at <= clock_timestamp()
        AND job.slot_at IS NULL AND job.task = ANY(%(tasks)s) AND job.{task_runs}
        AND %(timelimit)s::jsonb = {limits}
        AND job.ring_at >= %(beginning)s
      ORDER BY job.ring_at LIMIT 1))
SELECT candidate.id, candidate.task, bell.waits FROM candidate, bell
 ORDER BY candidate.priority DESC LIMIT 1
"""

# Whether a job with a priority waits, and whether jobs of two owners do: the first owner in the
# index is not the last one.
WHO_WAITS = """
WITH waiting AS NOT MATERIALIZED (
     SELECT owner, priority FROM {jobs}
      WHERE queue = %(queue)s AND state = 'waiting' AND owner >= '' AND due_at >= %(since)s)
SELECT EXISTS (SELECT FROM waiting WHERE priority <> 0),
       (SELECT owner FROM waiting ORDER BY owner LIMIT 1)
       <> (SELECT owner FROM waiting ORDER BY owner DESC LIMIT 1) IS TRUE
"""

# The due jobs of the next owners. It goes from one owner to the next in the index, and after the
# last to the first again, until it has found so many jobs, or made 50 hops.
NEXT_OWNERS = """
WITH RECURSIVE owners AS (
    SELECT 0 AS hop, %(after)s::text AS owner
    UNION ALL
    SELECT hop + 1, coalesce(
           (SELECT job.owner FROM {jobs} AS job
             WHERE job.queue = %(queue)s AND job.state = 'waiting' AND job.owner > owners.owner
               AND job.due_at >= %(since)s
             ORDER BY job.owner, job.due_at LIMIT 1),
           (SELECT job.owner FROM {jobs} AS job
             WHERE job.queue = %(queue)s AND job.state = 'waiting' AND job.owner >= ''
               AND job.due_at >= %(since)s
             ORDER BY job.owner, job.due_at LIMIT 1))
      FROM owners WHERE hop < 50 AND owner IS NOT NULL)
SELECT job.id, job.task, owners.owner, job.attempts FROM owners CROSS JOIN LATERAL (
       SELECT id, task, attempts FROM {jobs}
        WHERE queue = %(queue)s AND state = 'waiting' AND owner = owners.owner
          AND due_at >= %(since)s AND due_at <= now() AND slot_at IS NULL AND task = ANY(%(tasks)s)
          AND {task_runs} AND %(timelimit)s::jsonb = {limits}
        ORDER BY due_at LIMIT coalesce((%(weights)s::jsonb ->> owners.owner)::int, 1)) AS job
 WHERE hop > 0 LIMIT %(number)s
"""

# The due jobs that run in threads, queue by queue. `owners`: all owners of a queue, found by going
# from one to the next in the index. `first`: the first jobs of each owner, and those with a
# priority by an index of their own. `turns`: the number of the round in which each of them begins,
# so that an owner of one job does not wait behind an owner of thousands. `due`: their order.
# `now()` bounds the walk along an index, which `clock_timestamp()` cannot.
DUE_FOR_THREADS = """
WITH RECURSIVE asked AS (
    SELECT * FROM unnest(%(queues)s::text[], %(rooms)s::int[], %(marks)s::timestamptz[])
               WITH ORDINALITY AS asked (queue, room, since, place)
     WHERE room > 0 AND {queue_runs}),
owners AS (
    SELECT asked.*, (SELECT job.owner FROM {jobs} AS job
                      WHERE job.queue = asked.queue AND job.state = 'waiting'
                        AND job.owner >= '' AND job.due_at >= asked.since
                      ORDER BY job.owner, job.due_at LIMIT 1) AS owner FROM asked
    UNION ALL
    SELECT queue, room, since, place, (
           SELECT job.owner FROM {jobs} AS job
            WHERE job.queue = owners.queue AND job.state = 'waiting'
              AND job.owner > owners.owner AND job.due_at >= owners.since
            ORDER BY job.owner, job.due_at LIMIT 1)
      FROM owners WHERE owner IS NOT NULL),
first AS (
    SELECT job.*, place, room FROM owners CROSS JOIN LATERAL (
           SELECT id, task, queue, {limits} AS limits, owner, priority, due_at FROM {jobs}
            WHERE queue = owners.queue AND state = 'waiting' AND owner = owners.owner
              AND due_at >= owners.since AND due_at <= now()
              AND task = ANY(%(tasks)s) AND shared_losses < %(shared)s AND {task_runs}
            ORDER BY due_at LIMIT owners.room) AS job
     WHERE owners.owner IS NOT NULL
     UNION
    SELECT job.*, place, room FROM asked CROSS JOIN LATERAL (
           SELECT id, task, queue, {limits} AS limits, owner, priority, due_at FROM {jobs}
            WHERE queue = asked.queue AND state = 'waiting' AND priority > 0 AND priority <> 0
              AND due_at >= asked.since AND due_at <= now()
              AND task = ANY(%(tasks)s) AND shared_losses < %(shared)s AND {task_runs}
            ORDER BY priority DESC, due_at LIMIT asked.room) AS job),
turns AS (
    SELECT *, (row_number() OVER (PARTITION BY place, owner ORDER BY due_at) - 1)
              / coalesce((%(weights)s::jsonb ->> owner)::int, 1) AS turn FROM first),
due AS (
    SELECT *, row_number() OVER (ORDER BY place, priority DESC, turn, due_at) AS number FROM turns)
SELECT id, task, queue, limits FROM due WHERE number <= room ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A due job for threads, and the time limits (hard, soft) that its row names."""

    id: UUID
    task: str
    queue: str
    limits: tuple[float | None, float | None]


class Next(NamedTuple):
    """A due job, and the owner whose turn it is."""

    id: UUID
    task: str
    owner: str
    attempts: int


def who_waits(queue: str, *, since: datetime = BEGINNING) -> tuple[bool, bool]:
    """Two facts about the jobs that wait in this queue and are due at `since` or later: whether one
    has a priority other than 0, and whether they are of more than one owner.
    """
    with connection.cursor() as cursor:
        cursor.execute(_of_jobs(WHO_WAITS), {"queue": queue, "since": since})
        row: tuple[bool, bool] = cursor.fetchone()
    return row


def of_the_next_owners(  # noqa: PLR0913 - one for each thing that is asked
    queue: str,
    *,
    after: str,
    tasks: list[str],
    timelimit: Sequence[float | None],
    number: int,
    since: datetime = BEGINNING,
) -> list[Next]:
    """The first due job of each owner that comes after the owner `after`, or as many as its weight;
    up to `number` jobs in all. The jobs are of these tasks, name these time limits, and are due at
    `since` or later.
    """
    values: dict[str, Any] = {
        "queue": queue,
        "after": after,
        "tasks": tasks,
        "timelimit": json.dumps(timelimit),
        "number": number,
        "since": since,
        "weights": json.dumps(dict(ledger_settings.WEIGHTS)),
    }
    with connection.cursor() as cursor:
        cursor.execute(_of_jobs(NEXT_OWNERS), values)
        rows = cursor.fetchall()
    return [Next(*row) for row in dict.fromkeys(rows)]  # a second time round finds the same again


def preferred_to(
    id_: UUID, *, queue: str, tasks: list[str], timelimit: Sequence[float | None]
) -> tuple[UUID, str, bool] | None:
    """The id and the task of a due job with a higher priority than the job `id_`, of these tasks
    and under these time limits; and whether the job `id_` waits. None if there is no such job.
    """
    values: dict[str, Any] = {
        "id": id_,
        "queue": queue,
        "tasks": tasks,
        "timelimit": json.dumps(timelimit),
        "beginning": BEGINNING,
    }
    with connection.cursor() as cursor:
        cursor.execute(_of_jobs(PREFERRED), values)
        row: tuple[UUID, str, bool] | None = cursor.fetchone()
    return row


def of_each_owner(
    rooms: Mapping[str, int], *, tasks: Sequence[str], marks: Mapping[str, datetime] | None = None
) -> list[Due]:
    """The due jobs of these tasks that run in threads, the owners of a queue in turn.

    `rooms`: the queues in their order, and how many jobs there may be in all up to each of them.
    `marks`: for a queue, the time before which no job is due. Jobs that have to run alone, after
    SHARED_LOSSES, are left out.
    """
    values: dict[str, Any] = {
        "queues": list(rooms),
        "rooms": list(rooms.values()),
        "marks": [(marks or {}).get(queue, BEGINNING) for queue in rooms],
        "tasks": list(tasks),
        "shared": ledger_settings.SHARED_LOSSES,
        "weights": json.dumps(dict(ledger_settings.WEIGHTS)),
    }
    with connection.cursor() as cursor:
        cursor.execute(_of_jobs(DUE_FOR_THREADS), values)
        rows = cursor.fetchall()
    return [Due(id_, task, queue, tuple(json.loads(limits))) for id_, task, queue, limits in rows]


def _of_jobs(statement: str) -> str:
    return of_jobs(statement, Job._meta.db_table)
