"""Which due job is next, of all that wait in a queue. Nothing is locked: whatever is found may be
claimed by somebody else meanwhile.
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

# Those with a priority are few and have an index of their own; any other job comes before one whose
# priority is negative.
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

WHO_WAITS = """
WITH waiting AS NOT MATERIALIZED (
     SELECT owner, priority FROM {jobs}
      WHERE queue = %(queue)s AND state = 'waiting' AND owner >= '' AND due_at >= %(since)s)
SELECT EXISTS (SELECT FROM waiting WHERE priority <> 0),
       (SELECT owner FROM waiting ORDER BY owner LIMIT 1)
       <> (SELECT owner FROM waiting ORDER BY owner DESC LIMIT 1) IS TRUE
"""

# From one owner to the next in the index, round and round, until so many due jobs are found.
NEXT = """
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

# What waits for threads, the queues in their order: of each owner the first ones, and of those in
# turn, so that one who has promised thousands stands back behind one who has promised one. The
# owners are found by going from one to the next in the index; those with a priority are few and
# have their own. `now()`, unlike the clock, bounds the walk along an index.
DUE = """
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
    """A job that may be claimed, and the time limits that its row names."""

    id: UUID
    task: str
    queue: str
    limits: tuple[float | None, float | None]


class Next(NamedTuple):
    """A job whose turn it is, and whose it is."""

    id: UUID
    task: str
    owner: str
    attempts: int


def who_waits(queue: str, *, since: datetime = BEGINNING) -> tuple[bool, bool]:
    """Whether any job that waits in this queue has a priority, and whether jobs of more than
    one owner do; of those that are not due before `since`.
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
    """Of the next owners after that one who have such a job, so many at most, each one's first due
    job of these tasks, with these time limits; or its first ones, as many as its weight.
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
        cursor.execute(_of_jobs(NEXT), values)
        rows = cursor.fetchall()
    return [Next(*row) for row in dict.fromkeys(rows)]  # round and round comes to the same


def preferred_to(
    id_: UUID, *, queue: str, tasks: list[str], timelimit: Sequence[float | None]
) -> tuple[UUID, str, bool] | None:
    """A due job of these tasks, with these time limits, of a higher priority than that one has;
    its task; and whether that one waits. None when it is that one's turn.
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
    """The due jobs of these tasks, each owner's in turn: of the first queue as many as its
    room, then of the next, until there are as many as its room; but for those that are tried
    alone. Nothing is locked: each may be claimed by somebody else meanwhile.
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
        cursor.execute(_of_jobs(DUE), values)
        rows = cursor.fetchall()
    return [Due(id_, task, queue, tuple(json.loads(limits))) for id_, task, queue, limits in rows]


def _of_jobs(statement: str) -> str:
    return of_jobs(statement, Job._meta.db_table)
