"""Rate limits (`rate_limit="10/m"`, `rate_limit="endpoint:{endpoint_id}=10/m"`), kept by Postgres
for all workers together: each job takes the next slot of its task, or of its key.

Celery's own limit is one per worker, and would hold bells in the worker's memory while the clock
rings them again.
"""

from django.db import models
from django.db.models.functions import Now

# `due`: the job, if it is due and has no slot yet. `slot`: the next slot of its task or key, which
# it takes; none if the row lacks the key. `later`: the job waits for that slot, if it is not now.
TAKE = """
WITH due AS (
    SELECT id, CASE WHEN %(keyed)s THEN rate_key ELSE task END AS key FROM {jobs}
     WHERE id = %(id)s AND task = %(task)s AND lease_until IS NULL AND finished_at IS NULL
       AND due_at <= clock_timestamp() AND slot_at IS NULL
       FOR NO KEY UPDATE SKIP LOCKED),
slot AS (
    INSERT INTO {rates} AS rate (task, next_at)
    SELECT key, clock_timestamp() + make_interval(secs => %(pause_s)s) FROM due
     WHERE key IS NOT NULL
        ON CONFLICT (task)
        DO UPDATE SET next_at = greatest(rate.next_at, clock_timestamp())
                                + make_interval(secs => %(pause_s)s)
    RETURNING next_at - make_interval(secs => %(pause_s)s) AS at,
              next_at - make_interval(secs => %(pause_s)s) > clock_timestamp() AS is_later),
later AS (
    UPDATE {jobs} AS job
       SET due_at = slot.at, ring_at = slot.at, slot_at = slot.at, rings = 0
      FROM due, slot WHERE job.id = due.id AND slot.is_later
    RETURNING job.id)
SELECT EXISTS (SELECT FROM later), EXISTS (SELECT FROM due WHERE key IS NULL),
       set_config('synchronous_commit', 'off', true)
"""


class RateQuerySet(models.QuerySet["Rate"]):
    def over(self) -> "RateQuerySet":
        """The rates whose next slot is in the past: such a row says the same as no row."""
        return self.filter(next_at__lt=Now())


class Rate(models.Model):
    """The time at which the next job of a task, or of a key, may begin."""

    # a task's name, or a key of a limit
    task = models.TextField(primary_key=True)
    next_at = models.DateTimeField()

    objects = RateQuerySet.as_manager()

    def __str__(self) -> str:
        return self.task
