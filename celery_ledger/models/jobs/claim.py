"""A claim: one attempt's right to settle a job; and what it settles."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from kombu.utils import json as celery_json

from celery_ledger.models.limits.rate_limit import Rate
from celery_ledger.models.pause import QUEUE_RUNS, TASK_RUNS, Pause

# Those of a row; one that keeps none is rung for with two nulls.
LIMITS = "coalesce(nullif((envelope #> '{headers,timelimit}')::jsonb, 'null'), '[null, null]')"

# The row is found by its id alone. With `state = 'waiting'` Postgres may rather walk the index of
# all waiting rows, which its statistics call empty when they are older than a backlog; the table's
# CHECKs make these two say the same. The worker's main process ends the attempt after the limits
# that it heard with the bell: they must be the row's.
DUE = """
        WHERE id = ANY(%(ids)s) AND task = %(task)s AND lease_until IS NULL AND finished_at IS NULL
          AND due_at <= clock_timestamp()
          AND (%(timelimit)s::jsonb IS NULL OR %(timelimit)s::jsonb = {limits})
          AND (attempts = 0 OR NOT %(first)s)
          AND {queue_runs} AND {task_runs}"""
TAKEN = """
       state = 'running', attempts = attempts + 1,
       token = %(token)s, worker = %(worker)s, pid = %(pid)s,
       started_at = clock_timestamp(), lease_until = clock_timestamp() + %(lease)s,
       slot_at = NULL, in_line_since = NULL"""
RETURNED = """
RETURNING id, args::text, envelope::text, context, attempts, retries, root_id, parent_id, priority,
          concurrency_key, is_wanted, set_config('synchronous_commit', 'off', true)
"""

CLAIM = """
UPDATE {jobs}
   SET {taken}, place = NULL
 WHERE id IN (
       SELECT id FROM {jobs}{due}
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
{returned}"""

# In a place of its key that is free: of two that take the same one, the unique index refuses the
# second. Whoever came out of the line may have others behind it.
CLAIM_A_PLACE = """
WITH due AS MATERIALIZED (
     SELECT id AS due_id, concurrency_key AS key FROM {jobs}{due} AND concurrency_key IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED),
free AS MATERIALIZED (
     SELECT due_id, ARRAY(SELECT coalesce(other.place, 0) FROM {jobs} AS other
                           WHERE other.concurrency_key = due.key AND other.state = 'running')
            AS places FROM due)
UPDATE {jobs}
   SET {taken}, is_wanted = in_line_since IS NOT NULL,
       place = (SELECT min(number) FROM generate_series(1, %(places)s) AS number
                 WHERE number <> ALL(free.places))
  FROM free WHERE id = due_id AND cardinality(free.places) < %(places)s
{returned}"""

# In a slot that is now: the one that it has waited for, or a free one of its task or key.
CLAIM_A_SLOT = """
WITH due AS MATERIALIZED (
     SELECT id AS due_id, slot_at AS slot, CASE WHEN %(keyed)s THEN rate_key ELSE task END AS key
       FROM {jobs}{due}
        FOR NO KEY UPDATE SKIP LOCKED),
free AS (
     INSERT INTO {rates} AS rate (task, next_at)
     SELECT key, clock_timestamp() + make_interval(secs => %(pause_s)s) FROM due
      WHERE key IS NOT NULL AND slot IS NULL
         ON CONFLICT (task)
         DO UPDATE SET next_at = clock_timestamp() + make_interval(secs => %(pause_s)s)
            WHERE rate.next_at <= clock_timestamp()
     RETURNING next_at)
UPDATE {jobs}
   SET {taken}, place = NULL
  FROM due WHERE id = due_id AND (slot IS NOT NULL OR EXISTS (SELECT FROM free))
{returned}"""

SETTLE = """
UPDATE {jobs} AS job
   SET state = 'done', lease_until = NULL, finished_at = statement_timestamp(),
       result = settled.result::json, effects = settled.effects::jsonb
  FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[], %(results)s::text[], %(effects)s::text[])
       AS settled (id, token, result, effects)
 WHERE job.id = settled.id AND job.token = settled.token AND job.lease_until IS NOT NULL
"""
SETTLE_IN_PLACE = SETTLE + "RETURNING job.is_wanted IS TRUE"


@cache
def of_jobs(statement: str, jobs: str) -> str:
    """The statement about that table."""
    pauses = Pause._meta.db_table
    runs = {"queue_runs": QUEUE_RUNS, "task_runs": TASK_RUNS}
    paused = {name: text.format(pauses=pauses) for name, text in runs.items()}
    due = DUE.format(limits=LIMITS, **paused)
    rates, of_claims = Rate._meta.db_table, {"due": due, "taken": TAKEN, "returned": RETURNED}
    return statement.format(jobs=jobs, rates=rates, limits=LIMITS, **paused, **of_claims)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a job has come to."""

    claim: "Claim"
    result: Any
    effects: list[str]


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
    priority: int
    concurrency_key: str | None = None
    is_wanted: bool = False  # whether others may wait for its place

    @classmethod
    def of(
        cls, token: UUID, id_: UUID, args: str, envelope: str, context: str, *rest: Any
    ) -> "Claim":
        """From a row that CLAIM returns."""
        positional, named = celery_json.loads(args)
        attempts, retries, root_id, parent_id, priority, concurrency_key, is_wanted, _ = rest
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
            priority,
            concurrency_key,
            bool(is_wanted),
        )
