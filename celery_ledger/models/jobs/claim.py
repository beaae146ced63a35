"""A claim, the right of one attempt to settle its job; and the statements that claim and settle."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from kombu.utils import json as celery_json

from celery_ledger.models.limits.rate_limit import Rate
from celery_ledger.models.pause import QUEUE_RUNS, TASK_RUNS, Pause

# The hard and the soft time limit of a row, as a bell names them: two nulls if it has none.
LIMITS = "coalesce(nullif((envelope #> '{headers,timelimit}')::jsonb, 'null'), '[null, null]')"

# Which of these jobs may be claimed.
#
# The row is found by its id alone. If the condition were `state = 'waiting'`, Postgres might walk
# the index of all waiting rows, which seems empty if the statistics are older than a backlog. By
# the table's CHECKs `lease_until` and `finished_at` say the same.
#
# The time limits have to be those of the bell, since the worker's main process enforces the bell's.
DUE = """
        WHERE id = ANY(%(ids)s) AND task = %(task)s AND lease_until IS NULL AND finished_at IS NULL
          AND due_at <= clock_timestamp()
          AND (%(timelimit)s::jsonb IS NULL OR %(timelimit)s::jsonb = {limits})
          AND (attempts = 0 OR NOT %(first)s)
          AND {queue_runs} AND {task_runs}"""
# What a claim writes into its row.
TAKEN = """
       state = 'running', attempts = attempts + 1,
       token = %(token)s, worker = %(worker)s, pid = %(pid)s,
       started_at = clock_timestamp(), lease_until = clock_timestamp() + %(lease)s,
       slot_at = NULL, in_line_since = NULL"""
# The commit of a claim is asynchronous: if a crash of Postgres loses it, the job runs again, under
# another token.
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

# Claim a job in the lowest free place of its key. If two take the same place at once, the unique
# index refuses the second. A job that comes out of the line is marked as wanted, since others may
# stand behind it.
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

# Claim a job in a slot: the one that it has waited for, or the next of its task or key if that is
# now.
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
    """The statement with everything in braces filled in; `jobs` is the table of jobs."""
    pauses = Pause._meta.db_table
    runs = {"queue_runs": QUEUE_RUNS, "task_runs": TASK_RUNS}
    paused = {name: text.format(pauses=pauses) for name, text in runs.items()}
    due = DUE.format(limits=LIMITS, **paused)
    rates, of_claims = Rate._meta.db_table, {"due": due, "taken": TAKEN, "returned": RETURNED}
    return statement.format(jobs=jobs, rates=rates, limits=LIMITS, **paused, **of_claims)


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a job that is done."""

    claim: "Claim"
    result: Any
    effects: list[str]  # as `note_effect` has noted them


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one attempt to settle a job, and what the job's row says.

    The token is random, since the number of an attempt may come again after a crash of Postgres.
    """

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
    is_wanted: bool = False  # others may wait for its place

    @classmethod
    def of(
        cls, token: UUID, id_: UUID, args: str, envelope: str, context: str, *rest: Any
    ) -> "Claim":
        """The claim of a row that CLAIM returns, its columns but for the token in their order."""
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
