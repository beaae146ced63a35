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

# What waits in a queue for threads: of each owner the first ones, and of those in turn, so that one
# who has promised thousands stands back behind one who has promised one. The owners are found by
# going from one to the next in the index.
DUE = """
WITH RECURSIVE owners AS (
    (SELECT owner FROM {jobs} WHERE queue = %(queue)s AND state = 'waiting'
      ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT job.owner FROM {jobs} AS job
             WHERE job.queue = %(queue)s AND job.state = 'waiting' AND job.owner > owners.owner
             ORDER BY job.owner LIMIT 1)
      FROM owners WHERE owners.owner IS NOT NULL),
due AS (
    SELECT job.*, row_number() OVER (PARTITION BY job.owner ORDER BY job.due_at) AS turn
      FROM owners CROSS JOIN LATERAL (
           SELECT id, task, {limits} AS limits, owner, priority, due_at, losses FROM {jobs}
            WHERE queue = %(queue)s AND state = 'waiting' AND owner = owners.owner
              AND due_at <= clock_timestamp() AND slot_at IS NULL AND task = ANY(%(tasks)s)
              AND losses < %(losses)s
            ORDER BY priority DESC, due_at LIMIT %(limit)s) AS job
     WHERE owners.owner IS NOT NULL)
SELECT id, task, limits, losses FROM due ORDER BY priority DESC, turn, due_at LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A job that may be claimed, and the time limits that its row names."""

    id: UUID
    task: str
    limits: tuple[float | None, float | None]
    losses: int


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
