"""A claim: one attempt's right to settle a job."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kombu.utils import json as celery_json

# Those of a row; one that keeps none is rung for with two nulls.
LIMITS = "coalesce(nullif((envelope #> '{headers,timelimit}')::jsonb, 'null'), '[null, null]')"

# The row is found by its id alone. With `state = 'waiting'` Postgres may rather walk the index of
# all waiting rows, which its statistics call empty when they are older than a backlog; the table's
# CHECKs make these two say the same. The worker's main process ends the attempt after the limits
# that it heard with the bell: they must be the row's.
CLAIM = """
UPDATE {jobs}
   SET state = 'running', attempts = attempts + 1,
       token = %(token)s, worker = %(worker)s, pid = %(pid)s,
       started_at = clock_timestamp(), lease_until = clock_timestamp() + %(lease)s, slot_at = NULL
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE id = ANY(%(ids)s) AND task = %(task)s AND lease_until IS NULL AND finished_at IS NULL
          AND due_at <= clock_timestamp()
          AND (%(timelimit)s::jsonb IS NULL OR %(timelimit)s::jsonb = {limits})
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, args::text, envelope::text, context, attempts, retries, root_id, parent_id,
          set_config('synchronous_commit', 'off', true)
"""

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
        AND job.slot_at IS NULL AND job.task = ANY(%(tasks)s) AND %(timelimit)s::jsonb = {limits}
      ORDER BY job.priority DESC, job.due_at LIMIT 1)
    UNION ALL
    (SELECT job.id, job.task, job.priority, job.due_at FROM {jobs} AS job, bell
      WHERE bell.priority < 0 AND bell.waits
        AND job.queue = %(queue)s AND job.state = 'waiting' AND job.priority = 0
        AND job.due_at <= clock_timestamp()
        AND job.slot_at IS NULL AND job.task = ANY(%(tasks)s) AND %(timelimit)s::jsonb = {limits}
      ORDER BY job.ring_at LIMIT 1))
SELECT candidate.id, candidate.task, bell.waits FROM candidate, bell
 ORDER BY candidate.priority DESC LIMIT 1
"""

WHO_WAITS = """
WITH waiting AS NOT MATERIALIZED (
     SELECT owner, priority FROM {jobs} WHERE queue = %(queue)s AND state = 'waiting')
SELECT EXISTS (SELECT FROM waiting WHERE priority <> 0),
       (SELECT owner FROM waiting ORDER BY owner LIMIT 1)
       <> (SELECT owner FROM waiting ORDER BY owner DESC LIMIT 1) IS TRUE
"""

# From one owner to the next in the index, round and round, until one has a due job.
NEXT = """
WITH RECURSIVE owners AS (
    SELECT 0 AS hop, %(after)s::text AS owner
    UNION ALL
    SELECT hop + 1, coalesce(
           (SELECT job.owner FROM {jobs} AS job
             WHERE job.queue = %(queue)s AND job.state = 'waiting' AND job.owner > owners.owner
             ORDER BY job.owner LIMIT 1),
           (SELECT job.owner FROM {jobs} AS job
             WHERE job.queue = %(queue)s AND job.state = 'waiting'
             ORDER BY job.owner LIMIT 1))
      FROM owners WHERE hop < 50 AND owner IS NOT NULL)
SELECT job.id, job.task, owners.owner FROM owners CROSS JOIN LATERAL (
       SELECT id, task FROM {jobs}
        WHERE queue = %(queue)s AND state = 'waiting' AND owner = owners.owner
          AND due_at <= now() AND slot_at IS NULL AND task = ANY(%(tasks)s)
          AND %(timelimit)s::jsonb = {limits}
        ORDER BY due_at LIMIT 1) AS job
 WHERE hop > 0 LIMIT 1
"""

# What waits for threads, the queues in their order: of each owner the first ones, and of those in
# turn, so that one who has promised thousands stands back behind one who has promised one. The
# owners are found by going from one to the next in the index; those with a priority are few and
# have their own. `now()`, unlike the clock, bounds the walk along an index.
DUE = """
WITH RECURSIVE asked AS (
    SELECT * FROM unnest(%(queues)s::text[], %(rooms)s::int[]) WITH ORDINALITY
               AS asked (queue, room, place) WHERE room > 0),
owners AS (
    SELECT asked.*, (SELECT job.owner FROM {jobs} AS job
                      WHERE job.queue = asked.queue AND job.state = 'waiting'
                      ORDER BY job.owner LIMIT 1) AS owner FROM asked
    UNION ALL
    SELECT queue, room, place, (SELECT job.owner FROM {jobs} AS job
                                 WHERE job.queue = owners.queue AND job.state = 'waiting'
                                   AND job.owner > owners.owner
                                 ORDER BY job.owner LIMIT 1)
      FROM owners WHERE owner IS NOT NULL),
first AS (
    SELECT job.*, place, room FROM owners CROSS JOIN LATERAL (
           SELECT id, task, queue, {limits} AS limits, owner, priority, due_at FROM {jobs}
            WHERE queue = owners.queue AND state = 'waiting' AND owner = owners.owner
              AND due_at <= now() AND slot_at IS NULL AND task = ANY(%(tasks)s)
              AND losses < %(last_try)s
            ORDER BY due_at LIMIT owners.room) AS job
     WHERE owners.owner IS NOT NULL
     UNION
    SELECT job.*, place, room FROM asked CROSS JOIN LATERAL (
           SELECT id, task, queue, {limits} AS limits, owner, priority, due_at FROM {jobs}
            WHERE queue = asked.queue AND state = 'waiting' AND priority > 0 AND priority <> 0
              AND due_at <= now() AND slot_at IS NULL AND task = ANY(%(tasks)s)
              AND losses < %(last_try)s
            ORDER BY priority DESC, due_at LIMIT asked.room) AS job),
turns AS (
    SELECT *, row_number() OVER (PARTITION BY place, owner ORDER BY due_at) AS turn FROM first),
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


@dataclass(frozen=True, slots=True)
class Claim:
    """The token is random because an attempt number repeats after a crash of Postgres."""

    id: UUID
    token: UUID
    args: Sequence[Any]
    kwargs: dict[str, Any]
    envelope: dict[str, Any]
    context: dict[str, str]
    attempts: int
    retries: int
    root_id: UUID | None
    parent_id: UUID | None

    @classmethod
    def of(
        cls, token: UUID, id_: UUID, args: str, envelope: str, context: str, *rest: Any
    ) -> "Claim":
        """From a row that CLAIM returns."""
        positional, named = celery_json.loads(args)
        attempts, retries, root_id, parent_id, _ = rest
        return cls(
            id_,
            token,
            positional,
            named,
            celery_json.loads(envelope),
            json.loads(context),
            attempts,
            retries,
            root_id,
            parent_id,
        )
