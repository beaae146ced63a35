"""A claim: one attempt's right to settle a job; and what it settles."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from kombu.utils import json as celery_json

from celery_ledger.models.pause import QUEUE_RUNS, TASK_RUNS, Pause

# Those of a row; one that keeps none is rung for with two nulls.
LIMITS = "coalesce(nullif((envelope #> '{headers,timelimit}')::jsonb, 'null'), '[null, null]')"

# Of a key, when its lock was had before this statement.
PLACE_IS_FREE = """(
       SELECT count(*) < %(places)s FROM (
              SELECT FROM {jobs} AS other
               WHERE other.concurrency_key = %(key)s AND other.state = 'running'
               LIMIT %(places)s) AS taken)"""

# The row is found by its id alone. With `state = 'waiting'` Postgres may rather walk the index of
# all waiting rows, which its statistics call empty when they are older than a backlog; the table's
# CHECKs make these two say the same. The worker's main process ends the attempt after the limits
# that it heard with the bell: they must be the row's.
CLAIM = """
UPDATE {jobs}
   SET state = 'running', attempts = attempts + 1,
       token = %(token)s, worker = %(worker)s, pid = %(pid)s,
       started_at = clock_timestamp(), lease_until = clock_timestamp() + %(lease)s, slot_at = NULL,
       in_line_since = NULL
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE id = ANY(%(ids)s) AND task = %(task)s AND lease_until IS NULL AND finished_at IS NULL
          AND due_at <= clock_timestamp()
          AND (%(timelimit)s::jsonb IS NULL OR %(timelimit)s::jsonb = {limits})
          AND (attempts = 0 OR NOT %(first)s)
          AND {queue_runs} AND {task_runs}
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, args::text, envelope::text, context, attempts, retries, root_id, parent_id, priority,
          set_config('synchronous_commit', 'off', true)
"""

CLAIM_A_PLACE = CLAIM.replace("{task_runs}", "{task_runs} AND {place_is_free}")

SETTLE = """
UPDATE {jobs} AS job
   SET state = 'done', lease_until = NULL, finished_at = statement_timestamp(),
       result = settled.result::json, effects = settled.effects::jsonb
  FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[], %(results)s::text[], %(effects)s::text[])
       AS settled (id, token, result, effects)
 WHERE job.id = settled.id AND job.token = settled.token AND job.lease_until IS NOT NULL
"""


@cache
def of_jobs(statement: str, jobs: str) -> str:
    """The statement about that table."""
    pauses = Pause._meta.db_table
    runs = {"queue_runs": QUEUE_RUNS, "task_runs": TASK_RUNS}
    paused = {name: text.format(pauses=pauses) for name, text in runs.items()}
    place_is_free = PLACE_IS_FREE.format(jobs=jobs)
    return statement.format(jobs=jobs, limits=LIMITS, place_is_free=place_is_free, **paused)


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
    concurrency_key: str | None = None  # whose place it has

    @classmethod
    def of(
        cls, token: UUID, id_: UUID, args: str, envelope: str, context: str, *rest: Any
    ) -> "Claim":
        """From a row that CLAIM returns."""
        positional, named = celery_json.loads(args)
        attempts, retries, root_id, parent_id, priority, _ = rest
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
        )
