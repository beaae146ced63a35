"""Limits of how many jobs run at once (`concurrency="endpoint:{endpoint_id}=2"`), kept by Postgres
for all workers together: a job of a key takes one of its places, or stands in line for one.

A place is a number, unique among the jobs of the key that run, so whatever ends one gives its place
back. Whoever stands in line leaves word with those that run; one that has word brings the next when
it has ended. Each writes first and looks then, so of two that come at the same moment one sees the
other, and nobody waits for a lock.
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

# Until somebody brings it, or LIMIT_LOOK_S.
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

# A row that is locked is being settled, or somebody else leaves word there.
LEAVE_WORD = """
UPDATE {jobs} SET is_wanted = true
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE concurrency_key = %(key)s AND state = 'running' AND is_wanted IS NOT TRUE
          FOR NO KEY UPDATE SKIP LOCKED)
RETURNING set_config('synchronous_commit', 'off', true)
"""

HAVE_WORD = """
SELECT count(*), coalesce(bool_and(is_wanted), true) FROM {jobs}
 WHERE concurrency_key = %(key)s AND state = 'running'
"""

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

# The oldest of each key that nobody has brought yet. With `state = 'waiting'` other indexes would
# do as well, to statistics older than a backlog.
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

# The keys of lines, one after another, and whether somebody that runs will bring the next of it.
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
    def stand_in_line(self, id_: UUID, *, places: int) -> str | None:
        """The key for whose places this due job waits from now on; None when it has a free one, or
        is none that would take it.
        """
        look = timedelta(seconds=ledger_settings.LIMIT_LOOK_S)
        stood = self._run(STAND, {"id": id_, "places": places, "look": look})
        return stood[0][0] if stood else None

    def leave_word(self, id_: UUID, key: str, *, places: int) -> bool:
        """Those that run shall bring the next in line, among whom this one is by now. False when a
        place has become free meanwhile. If somebody is just being settled, it looks again soon.
        """
        self._run(LEAVE_WORD, {"key": key})
        number, all_have_word = self._run(HAVE_WORD, {"key": key})[0]
        if number >= places and not all_have_word:
            self._run(
                LOOK_SOON, {"id": id_, "soon": timedelta(seconds=ledger_settings.LIMIT_SOON_S)}
            )
        return bool(number >= places)

    def has_place(self, key: str, *, places: int) -> bool:
        return self.filter(concurrency_key=key, state=State.RUNNING).count() < places

    def bring(self, keys: Sequence[str]) -> list["Job"]:
        """The oldest in line of each of these keys is due now. Returns them. It follows a commit:
        of an end, or of whoever stood in line.
        """
        grace = timedelta(seconds=ledger_settings.RING_GRACE_S)
        rows = self._run(BRING, {"keys": sorted(set(keys)), "grace": grace})
        ids = [id_ for id_, _ in rows]
        return list(self.filter(pk__in=ids).defer("args", "result")) if ids else []

    def lines(self, *, after: str, number: int) -> list[tuple[str, bool]]:
        """Up to so many keys that somebody stands in line for, those after this one, in order; and
        of each whether a job that runs has word, so that its end brings the next.
        """
        return self._run(LINES, {"after": after, "number": number})

    def in_line(self) -> Self:
        """Those that wait for a place and were not brought yet."""
        return self.filter(in_line_since__isnull=False, due_at__gt=Now(), **WAITS)

    def _run(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(of_jobs(statement, self.model._meta.db_table), values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
