"""Where an index begins to hold jobs.

A job that has been done leaves a dead entry in each index that it waited and ran in, and a snapshot
that somebody holds, like that of a backup, keeps all of them: whoever looks for the first that is
left would walk over every job that was done since, each time. What waits or runs is the newest, so
each process remembers the time before which there was nothing, and looks from there on.
"""

from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.db import connection

from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.models.jobs.job import Job

# The time of the first that is left, from the old mark on, by what they are looked for. Among more
# owners than this goes through, the mark stays where it is.
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
# What is being written now will be as old as its transaction.
RISEN = """
SELECT greatest(%(since)s, least(({first}), statement_timestamp() - %(lag)s, (
       SELECT min(xact_start) FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND datname = current_database()
          AND backend_type IS DISTINCT FROM 'autovacuum worker')))"""


class LowWater:
    """Of one process, for one of these columns and, unless it is `lease_until`, one queue."""

    def __init__(self, column: str, queue: str = "") -> None:
        first = FIRST[column].format(jobs=Job._meta.db_table)
        self._statement, self._queue = RISEN.format(first=first), queue
        self._mark, self._risen_at, self._found_at = BEGINNING, float("-inf"), float("-inf")

    @property
    def mark(self) -> datetime:
        """No job is before it, and none will be; looked up at most LOW_WATER_LAG_S ago.

        Whatever comes to wait or to run does so from its statement's time on (`models.jobs`). A
        transaction of a role whose activity we may not see has that long to commit; every
        LOW_WATER_WHOLE_S the mark is found anew from the beginning.
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
