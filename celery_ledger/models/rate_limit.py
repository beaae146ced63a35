"""Rate limits (`rate_limit="10/m"`), kept by Postgres for all workers together: each job takes its
task's next slot.

Celery's own limit is one per worker, and would hold bells in the worker's memory while the clock
rings them again.
"""

from datetime import datetime

from django.db import connection, models

from celery_ledger.backoff import pause_s

TAKE = """
INSERT INTO {rates} (task, next_at)
VALUES (%(task)s, clock_timestamp() + make_interval(secs => %(pause_s)s))
    ON CONFLICT (task)
    DO UPDATE SET next_at = greatest({rates}.next_at, clock_timestamp())
                            + make_interval(secs => %(pause_s)s)
RETURNING next_at - make_interval(secs => %(pause_s)s) AS slot,
          next_at - make_interval(secs => %(pause_s)s) > clock_timestamp() AS is_later
"""


class RateQuerySet(models.QuerySet["Rate"]):
    def take(self, task: str, rate_limit: str | float) -> datetime | None:
        """Take this task's next slot: the time it begins, or None when that is now. Locked until
        the commit.
        """
        with connection.cursor() as cursor:
            statement = TAKE.format(rates=self.model._meta.db_table)
            cursor.execute(statement, {"task": task, "pause_s": pause_s(rate_limit)})
            slot, is_later = cursor.fetchone()
        return slot if is_later else None


class Rate(models.Model):
    """When the next job of this task may begin."""

    task = models.TextField(primary_key=True)
    next_at = models.DateTimeField()

    objects = RateQuerySet.as_manager()

    def __str__(self) -> str:
        return self.task
