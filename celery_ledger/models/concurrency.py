"""Limits of how many jobs run at once (`concurrency="endpoint:{endpoint_id}=2"`), kept by Postgres
for all workers together: a job of a key takes one of its places, or stands in line for one.

A place is no row: the jobs of the key that run are counted, so whatever ends one gives its place
back. Whoever counts has the key's advisory lock, and has it before the statement that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import connection, models
from django.db.models.functions import Now

from celery_ledger.backoff import share
from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.claim import of_jobs
from celery_ledger.models.jobs.states import State

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job

SEED = 0x6C696D69  # of the advisory locks of keys: "limi"

LOCK = """
SELECT concurrency_key, in_line_since IS NOT NULL,
       pg_advisory_xact_lock(hashtextextended(concurrency_key, %(seed)s))
  FROM {jobs}
 WHERE id = %(id)s AND task = %(task)s AND lease_until IS NULL AND finished_at IS NULL
   AND due_at <= clock_timestamp()
"""

# Until somebody brings it. It looks by itself after LIMIT_LOOK_S, or after as long as it has waited
# already: the more there are in a line, the less each of them has to look.
STAND = """
UPDATE {jobs}
   SET in_line_since = coalesce(in_line_since, statement_timestamp()), slot_at = NULL, rings = 0,
       due_at = {look}, ring_at = {look}
 WHERE id IN (
       SELECT id FROM {jobs}
        WHERE id = %(id)s AND lease_until IS NULL AND finished_at IS NULL
          AND due_at <= clock_timestamp() AND {queue_runs} AND {task_runs}
          FOR NO KEY UPDATE SKIP LOCKED)
   AND NOT {place_is_free}
RETURNING set_config('synchronous_commit', 'off', true)
"""
LOOK = """statement_timestamp() + %(share)s * greatest(
           %(look)s, least(%(cap)s, statement_timestamp() - created_at))"""

ANYBODY = """
SELECT EXISTS (
       SELECT FROM {jobs}
        WHERE concurrency_key = ANY(%(keys)s) AND state = 'waiting' AND in_line_since IS NOT NULL
          AND due_at > clock_timestamp())
"""

# The oldest of each key that nobody has brought yet.
BRING = """
UPDATE {jobs}
   SET due_at = statement_timestamp(), ring_at = statement_timestamp() + %(grace)s, rings = 0
 WHERE id IN (
       SELECT first.id FROM unnest(%(keys)s::text[]) AS asked (key) CROSS JOIN LATERAL (
              SELECT id FROM {jobs}
               WHERE concurrency_key = asked.key AND state = 'waiting'
                 AND in_line_since IS NOT NULL AND due_at > clock_timestamp()
                 AND {queue_runs} AND {task_runs}
               ORDER BY created_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS first)
   AND (%(places)s::int IS NULL OR {place_is_free})
RETURNING id, set_config('synchronous_commit', 'off', true)
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a due job whose key this transaction has locked; None for a row without one."""

    key: Any  # a text
    was_in_line: bool


class PlacesQuerySet(models.QuerySet["Job"]):
    def lock_key(self, id_: UUID, *, task: str) -> Standing | None:
        """Of this job, until the end of the transaction; None when it is not due, or not of this
        task.
        """
        row = self._run(LOCK, {"id": id_, "task": task, "seed": SEED})
        return Standing(*row[0][:2]) if row else None

    def stand_in_line(self, id_: UUID, key: str, places: int) -> bool:
        """False when there is a place, or when the job is none that would take it. The transaction
        has locked the key.
        """
        numbers = ledger_settings
        values = {
            "id": id_,
            "key": key,
            "places": places,
            "share": share(),
            "look": f"{numbers.LIMIT_LOOK_S} s",
            "cap": f"{numbers.LIMIT_LOOK_CAP_S} s",
        }
        return bool(self._run(STAND.replace("{look}", LOOK), values))

    def bring(self, keys: Sequence[str], *, places: int | None = None) -> list["Job"]:
        """The oldest in line of each of these keys is due now; with `places`, of one key that has a
        place. Returns them. Nothing is locked that somebody else has locked.

        It follows a commit: of an end, or of whoever stood in line. So one of two that come at the
        same moment sees the other.
        """
        wanted = sorted(set(keys))
        if not self._run(ANYBODY, {"keys": wanted})[0][0]:
            return []
        values = {
            "keys": wanted,
            "key": wanted[0],
            "places": places,
            "grace": f"{ledger_settings.RING_GRACE_S} s",
        }
        ids = [id_ for id_, _ in self._run(BRING, values)]
        return list(self.filter(pk__in=ids).defer("args", "result"))

    def in_line(self) -> Self:
        """Those that wait for a place and were not brought yet."""
        return self.filter(state=State.WAITING, in_line_since__isnull=False, due_at__gt=Now())

    def _run(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(of_jobs(statement, self.model._meta.db_table), values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
