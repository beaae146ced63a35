"""The low-water mark of an index: the time before which it holds no job.

A job that is done leaves dead entries in the indexes in which it waited and ran. While somebody
holds an old snapshot, e.g. a backup, Postgres cannot remove them, and a query for the first job
would walk over all of them each time. Jobs that wait or run are the newest, so each process
remembers the time before which there was none, and asks only for jobs from then on.
"""

from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.db import connection

from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.models.jobs.job import Job

# By column: the time of the first job from the old mark on. By `due_at` it goes from owner to
# owner, through 50 at most; among more the mark stays where it is.
FIRST = {
    "ring_at": """
        SELECT ring_at FROM {jobs}
         WHERE queue = %(queue)s AND state = 'waiting' AND ring_at >= %(since)s
         ORDER BY ring_at LIMIT 1""",
    "lease_until": """
        SELECT lease_until FROM {jobs}
         WHERE state = 'running' AND lease_until >= %(since)s
         ORDER BY lease_until LIMIT 1""",
    "due_at": """
        WITH RECURSIVE owners AS (
            (SELECT 1 AS hop, owner, due_at FROM {jobs}
              WHERE queue = %(queue)s AND state = 'waiting'
                AND owner >= '' AND due_at >= %(since)s
              ORDER BY owner, due_at LIMIT 1)
            UNION ALL
            SELECT hop + 1, next.* FROM owners CROSS JOIN LATERAL (
                   SELECT owner, due_at FROM {jobs}
                    WHERE queue = %(queue)s AND state = 'waiting'
                      AND owner > owners.owner AND due_at >= %(since)s
                    ORDER BY owner, due_at LIMIT 1) AS next
             WHERE hop < 50)
        SELECT CASE WHEN count(*) < 50 THEN min(due_at) ELSE %(since)s END FROM owners""",
}
# The new mark: not after that first job, nor within the last LOW_WATER_LAG_S, nor after the start
# of any open transaction, whose jobs will be as old as it is when it commits.
RISEN = """
SELECT greatest(%(since)s, least(({first}), statement_timestamp() - %(lag)s, (
       SELECT min(xact_start) FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND datname = current_database()
          AND backend_type IS DISTINCT FROM 'autovacuum worker')))"""


class LowWater:
    """The mark that one process remembers for a column of FIRST and, but for `lease_until`, a
    queue.
    """

    def __init__(self, column: str, queue: str = "") -> None:
        first = FIRST[column].format(jobs=Job._meta.db_table)
        self._statement, self._queue = RISEN.format(first=first), queue
        self._mark, self._risen_at, self._found_at = BEGINNING, float("-inf"), float("-inf")

    @property
    def mark(self) -> datetime:
        """The time before which there is no job and will be none; found LOW_WATER_LAG_S ago at
        most.

        No statement lets a job wait or run from an earlier time than its own (`models.jobs`). The
        transaction of a role whose activity we may not see has LOW_WATER_LAG_S to commit; in case
        one takes longer, the mark is found anew from the beginning every LOW_WATER_WHOLE_S.
        """
        now = monotonic()
        if now - self._risen_at >= ledger_settings.LOW_WATER_LAG_S:
            if now - self._found_at >= ledger_settings.LOW_WATER_WHOLE_S:
                self._mark, self._found_at = BEGINNING, now
            self._mark, self._risen_at = self._risen(), now
        return self._mark

    def _risen(self) -> datetime:
        lag = timedelta(seconds=ledger_settings.LOW_WATER_LAG_S)
        values: dict[str, Any] = {"since": self._mark, "queue": self._queue, "lag": lag}
        with connection.cursor() as cursor:
            cursor.execute(self._statement, values)
            mark: datetime = cursor.fetchone()[0]
        return mark
