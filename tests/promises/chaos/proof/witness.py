"""Looks at the database while it all happens, and remembers what must not change or must not be."""

import threading
import time
from typing import LiteralString

import psycopg

from tests.promises.chaos.tasks import PLACES

PAUSE_S = 0.2
PROCESSES = 3  # of a worker
SEEN_MAX = 50_000
ALONE_LIMIT_S = 90  # a worker that is deaf has cured itself by then, or ended and begun anew
AGE_LIMIT_S = 60 + 5  # invariant I13, and what Postgres may take to notice
FINISHED: LiteralString = """
SELECT id::text, md5(job::text) FROM celery_ledger_job job
 WHERE state IN ('done', 'dead', 'cancelled')
 ORDER BY finished_at DESC LIMIT 20"""
TRANSACTIONS: LiteralString = """
SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8,
       concat(state, ': ', left(query, 200))
  FROM pg_stat_activity
 WHERE datname = current_database() AND backend_type = 'client backend'
   AND xact_start IS NOT NULL"""
WORK: LiteralString = """
SELECT (SELECT count(*) FROM celery_ledger_job WHERE state = 'waiting' AND due_at < now()),
       (SELECT max(finished_at)::text FROM celery_ledger_job
         WHERE state IN ('done', 'dead', 'cancelled'))"""

OLDEST_DUE: LiteralString = """
SELECT coalesce(extract(epoch FROM now() - min(due_at))::float8, 0) FROM celery_ledger_job
 WHERE state = 'waiting' AND due_at < now()"""
AT_WORK: LiteralString = """
SELECT worker.name || ' ' || worker.pid, count(*) FILTER (WHERE job.state = 'running'),
       max(job.started_at)::text
  FROM celery_ledger_worker worker LEFT JOIN celery_ledger_job job ON job.worker = worker.id
 WHERE worker.seen_at > now() - interval '5 s' GROUP BY worker.id"""

CROWDED: LiteralString = """
SELECT concurrency_key, count(*) FROM celery_ledger_job
 WHERE state = 'running' AND concurrency_key IS NOT NULL GROUP BY 1 HAVING count(*) > %s"""
IN_LINE: LiteralString = """
SELECT count(*) FILTER (WHERE in_line_since IS NOT NULL AND state = 'waiting'),
       count(*) FILTER (WHERE state = 'running') FROM celery_ledger_job
 WHERE state IN ('waiting', 'running') AND concurrency_key IS NOT NULL"""


class Witness(threading.Thread):
    """Has a session of its own, which breaks as often as everybody's."""

    def __init__(self, database_url: str) -> None:
        super().__init__(name="witness", daemon=True)
        self.database_url = database_url
        self.finished: dict[
            str, str
        ] = {}  # job -> digest of its row when it was first seen to be finished
        self.old_transactions: list[tuple[float, str]] = []
        self.oldest_s = 0.0
        self.left_alone: list[tuple[str, float]] = []
        self.crowded: list[tuple[str, int]] = []
        self.lines_seen = 0  # looks at which somebody stood in line
        self.longest_in_line_s = 0.0  # beside a free place
        self.stood_in_line: list[tuple[float]] = []  # when no fault was left
        self._in_line_since: float | None = None
        self._idle: dict[str, tuple[str | None, float]] = {}  # its newest job, since when
        self._looks_for_idle = threading.Event()
        self.backlog = 0  # jobs that are due
        self.progress = ""  # the newest end of a job
        self._told_to_stop = threading.Event()

    def run(self) -> None:
        while not self._told_to_stop.is_set():
            try:
                with psycopg.connect(
                    self.database_url, autocommit=True, connect_timeout=5
                ) as connection:
                    # as Django's: the rows are compared as text
                    connection.execute("SET TimeZone = 'UTC'")
                    while not self._told_to_stop.wait(PAUSE_S):
                        self._look(connection)
            except psycopg.Error:
                self._told_to_stop.wait(PAUSE_S)

    def watch_the_idle(self) -> None:
        """From now on no due job may wait long beside a worker that could begin it."""
        self._looks_for_idle.set()

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join(timeout=30)

    def _look(self, connection: psycopg.Connection) -> None:
        for age_s, what in connection.execute(TRANSACTIONS).fetchall():
            self.oldest_s = max(self.oldest_s, age_s)
            if age_s > AGE_LIMIT_S:
                self.old_transactions.append((age_s, what))
        for job, digest in connection.execute(FINISHED).fetchall():
            if len(self.finished) < SEEN_MAX:
                self.finished.setdefault(job, digest)
        for backlog, progress in connection.execute(WORK).fetchall():
            self.backlog, self.progress = backlog, progress
        self._look_at_the_line(connection)
        if self._looks_for_idle.is_set():
            self._look_for_idle(connection)

    def _look_at_the_line(self, connection: psycopg.Connection) -> None:
        self.crowded += connection.execute(CROWDED, [PLACES]).fetchall()
        [(in_line, running)] = connection.execute(IN_LINE).fetchall()
        now = time.monotonic()
        self.lines_seen += in_line > 0
        if not in_line or running >= PLACES:
            self._in_line_since = None
        elif self._in_line_since is None:
            self._in_line_since = now
        else:
            waited_s = now - self._in_line_since
            self.longest_in_line_s = max(self.longest_in_line_s, waited_s)
            if waited_s > ALONE_LIMIT_S and self._looks_for_idle.is_set():
                self.stood_in_line.append((waited_s,))

    def _look_for_idle(self, connection: psycopg.Connection) -> None:
        """A worker is idle while fewer jobs run at it than it has processes, and none begins."""
        [(due_s,)] = connection.execute(OLDEST_DUE).fetchall()
        now, idle = time.monotonic(), self._idle
        self._idle = {}
        for worker, running, newest in connection.execute(AT_WORK).fetchall():
            newest_before, since = idle.get(worker, (newest, now))
            if running < PROCESSES:
                self._idle[worker] = (newest, since if newest == newest_before else now)
                waited_s = min(due_s, now - self._idle[worker][1])
                if waited_s > ALONE_LIMIT_S:
                    self.left_alone.append((worker, waited_s))
