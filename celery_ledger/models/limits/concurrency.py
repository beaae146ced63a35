"""Limits of how many jobs run at once (`concurrency="endpoint:{endpoint_id}=2"`), kept by Postgres
for all workers together: a job of a key takes one of its places, or stands in line for one.

A place is a number, unique among the running jobs of its key, so a job gives its place back by
ending, in whatever way. A job that gets in line leaves word with the running ones (`is_wanted`); a
job that has word brings the next in line when it has ended. Both write first and look afterwards,
so of a job that gets in line and one that ends at the same moment, one sees the other, and neither
waits for a lock.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import connection, models
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.claim import of_jobs
from celery_ledger.models.jobs.states import WAITS, State

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job

# Put a due job in line if every place is taken. It is due again when it is brought, or after
# LIMIT_LOOK_S.
STAND = """
UPDATE {jobs}
   SET in_line_since = coalesce(in_line_since, statement_timestamp()), slot_at = NULL, rings = 0,
       due_at = statement_timestamp() + %(look)s, ring_at = statement_timestamp() + %(look)s
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE id = %(id)s AND lease_until IS NULL AND finished_at IS NULL
          AND due_at <= clock_timestamp() AND {queue_runs} AND {task_runs}
          FOR NO KEY UPDATE SKIP LOCKED)
   AND (SELECT count(*) FROM {jobs} AS other
         WHERE other.concurrency_key = {jobs}.concurrency_key AND other.state = 'running')
       >= %(places)s
RETURNING concurrency_key, set_config('synchronous_commit', 'off', true)
"""

# Leave word with the running jobs of a key. A row that is locked is skipped: its job is being
# settled, or somebody else leaves word there.
LEAVE_WORD = """
UPDATE {jobs} SET is_wanted = true
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE concurrency_key = %(key)s AND state = 'running' AND is_wanted IS NOT TRUE
          FOR NO KEY UPDATE SKIP LOCKED)
RETURNING set_config('synchronous_commit', 'off', true)
"""

# How many jobs of a key run, and whether all of them have word.
HAVE_WORD = """
SELECT count(*), coalesce(bool_and(is_wanted), true) FROM {jobs}
 WHERE concurrency_key = %(key)s AND state = 'running'
"""

# Let a job in line be due again soon.
LOOK_SOON = """
UPDATE {jobs}
   SET due_at = statement_timestamp() + %(soon)s, ring_at = statement_timestamp() + %(soon)s
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE id = %(id)s AND lease_until IS NULL AND in_line_since IS NOT NULL
          AND due_at > clock_timestamp() + %(soon)s
          FOR NO KEY UPDATE SKIP LOCKED)
RETURNING set_config('synchronous_commit', 'off', true)
"""

# Let the oldest job in line of each key, that nobody has brought yet, be due now. It does not ask
# for `state = 'waiting'`: with old statistics Postgres might then walk another index than
# `job_in_line`.
BRING = """
UPDATE {jobs}
   SET due_at = statement_timestamp(), ring_at = statement_timestamp() + %(grace)s, rings = 0
 WHERE id IN (
       SELECT first.id FROM unnest(%(keys)s::text[]) AS asked (key) CROSS JOIN LATERAL (
              SELECT id FROM {jobs}
               WHERE concurrency_key = asked.key AND in_line_since IS NOT NULL
                 AND lease_until IS NULL AND finished_at IS NULL AND due_at > clock_timestamp()
                 AND {queue_runs} AND {task_runs}
               ORDER BY created_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS first)
RETURNING id, set_config('synchronous_commit', 'off', true)
"""

# The keys in whose lines jobs stand, found by going from one to the next in the index; and whether
# a running job has word.
LINES = """
WITH RECURSIVE line (key) AS (
     (SELECT concurrency_key FROM {jobs}
       WHERE in_line_since IS NOT NULL AND concurrency_key > %(after)s
       ORDER BY concurrency_key LIMIT 1)
     UNION ALL
     SELECT (SELECT concurrency_key FROM {jobs}
              WHERE in_line_since IS NOT NULL AND concurrency_key > line.key
              ORDER BY concurrency_key LIMIT 1)
       FROM line WHERE line.key IS NOT NULL)
SELECT key, EXISTS (
       SELECT FROM {jobs} AS job
        WHERE job.concurrency_key = key AND job.state = 'running' AND job.is_wanted)
  FROM line WHERE key IS NOT NULL LIMIT %(number)s
"""


class PlacesQuerySet(models.QuerySet["Job"]):
    """How jobs stand in line for a place, and are brought."""

    def stand_in_line(self, id_: UUID, *, places: int) -> str | None:
        """Put this due job in line for a place of its key, of which there are so many; return the
        key. None if it is not put in line: a place is free, or the job is not due or not waiting.
        """
        look = timedelta(seconds=ledger_settings.LIMIT_LOOK_S)
        stood = self._run(STAND, {"id": id_, "places": places, "look": look})
        return stood[0][0] if stood else None

    def leave_word(self, id_: UUID, key: str, *, places: int) -> bool:
        """Have the running jobs of the key bring the next in line when they end; the job of this id
        is in line already. Returns False when a place has become free meanwhile.

        A running job that is being settled cannot get word, and may bring nobody. Then this job is
        due again after LIMIT_SOON_S.
        """
        self._run(LEAVE_WORD, {"key": key})
        number, all_have_word = self._run(HAVE_WORD, {"key": key})[0]
        if number >= places and not all_have_word:
            self._run(
                LOOK_SOON, {"id": id_, "soon": timedelta(seconds=ledger_settings.LIMIT_SOON_S)}
            )
        return bool(number >= places)

    def has_place(self, key: str, *, places: int) -> bool:
        """Whether fewer jobs of this key run than there are places."""
        return self.filter(concurrency_key=key, state=State.RUNNING).count() < places

    def bring(self, keys: Sequence[str]) -> list["Job"]:
        """Let the oldest job in line of each of these keys be due now; return these jobs.

        The caller has committed what it did before: the end of a job, or its getting in line.
        """
        grace = timedelta(seconds=ledger_settings.RING_GRACE_S)
        rows = self._run(BRING, {"keys": sorted(set(keys)), "grace": grace})
        ids = [id_ for id_, _ in rows]
        return list(self.filter(pk__in=ids).defer("args", "result")) if ids else []

    def lines(self, *, after: str, number: int) -> list[tuple[str, bool]]:
        """Up to `number` keys in whose lines jobs stand, in order, those after the key `after`; and
        for each whether a running job has word, so that its end brings the next.
        """
        return self._run(LINES, {"after": after, "number": number})

    def in_line(self) -> Self:
        """The jobs that wait for a place and have not been brought yet."""
        return self.filter(in_line_since__isnull=False, due_at__gt=Now(), **WAITS)

    def _run(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(of_jobs(statement, self.model._meta.db_table), values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
