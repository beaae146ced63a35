"""Finds a deaf worker, one that lives and has idle processes but begins no due job, and cures it.

Celery, kombu and billiard each keep records of what was fetched, handed to a process and answered.
A fault at a bad moment may leave a wrong record for ever: a place that is never given back, a pipe
that nobody reads, a process that is stopped, a queue that nobody listens to. Such a worker beats
and begins nothing. So its clock compares the due jobs in Postgres with what the worker does,
whatever those records say. It cures the worker in steps: it rings; it lets the consumer connect
anew, which empties the records; it kills the idle processes, to be replaced; at last it ends the
worker, so that the platform starts it anew.

A worker is not deaf while all its processes are busy, while it starts or stops, or while Postgres
or the broker is away. Jobs do not count as due that wait for their time or slot, are paused, are of
a task or queue that this worker does not know, or run in its threads, which look by themselves.
"""

import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import UUID

from celery import signals
from celery.bootsteps import CLOSE, TERMINATE
from celery.platforms import EX_FAILURE
from celery.worker import state

from celery_ledger.celery.consumer import has_processes
from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, PauseKind
from celery_ledger.worker import shutdown

log = logging.getLogger(__name__)


class Deaf(ConnectionError):
    """Raised in Celery's consumer, which takes it for a broken connection and connects anew."""


class Hearing:
    """Watches the worker `parent` from its clock's thread.

    What Celery records belongs to the main thread, and is only read here.
    """

    def __init__(self, parent: Any, worker: UUID) -> None:
        self.parent = parent
        self.worker = worker
        self.cures = (self._ring, self._connect_anew, self._replace_idle_processes, self._end)
        self._looked_at = self._begun_at = monotonic()  # the newest look; when a job last began
        self._begun = 0  # how many jobs have begun here
        self._held: dict[str, float] = {}  # bells beside an idle process, and since when
        self._step, self._cured_at = 0, 0.0  # the next cure, and when the newest one was
        self._ends_at: float | None = None  # when the worker is killed, if it is to end

    @property
    def queues(self) -> list[str]:
        """The names of the queues that the worker serves."""
        return list(self.parent.app.amqp.queues.consume_from)

    @property
    def quiet_s(self) -> float:
        """The seconds for which the worker has begun no job, though a process was idle."""
        return self._looked_at - self._begun_at

    def look(self, queued: Mapping[str, int | None]) -> None:
        """Look whether the worker is deaf, and take the next cure if so. `queued` is the number of
        bells in each queue, or None if the broker did not answer. It is called once a tick.
        """
        now, before = monotonic(), self._looked_at
        self._looked_at = now
        if self._starts_or_stops(now):
            self._begin_anew(now)
            return
        begun, self._begun = self._begun, state.all_total_count[0]
        is_away = None in queued.values()
        was_away = now - before > ledger_settings.DEAF_S / 2  # this machine, or Postgres
        if is_away or was_away or len(self._busy()) >= self.parent.pool.num_processes:
            self._begin_anew(now)
        elif begun != self._begun:
            self._begun_at = now
        self._note_held(now)
        since = min([self._begun_at, *self._held.values()])
        if now - max(since, self._cured_at) > self._patience_s and self._due(limit=1):
            self._cure(now, now - since)

    def _begin_anew(self, now: float) -> None:
        self._begun_at = now
        self._held = {}

    def _starts_or_stops(self, now: float) -> bool:
        """Whether the worker starts or stops, and so need not begin jobs.

        A worker that Celery ends by itself, after an error, is told to stop as by the platform, and
        is killed when it has not ended after STOP_S.
        """
        is_ending = self.parent.blueprint.state in (CLOSE, TERMINATE)
        has_ended = is_ending and has_processes(self.parent)
        if has_ended and self._ends_at is None and not shutdown.has_begun():
            self._tell_to_stop(now)
        if self._ends_at is not None and now > self._ends_at:
            log.critical("This worker does not end: it is killed")
            os.kill(os.getpid(), signal.SIGKILL)
        consumer = getattr(self.parent, "consumer", None)
        return shutdown.has_begun() or consumer is None or consumer.restart_count < 0

    @property
    def _is_connected(self) -> bool:
        return bool(self.parent.consumer.connection)

    @property
    def _patience_s(self) -> float:
        return ledger_settings.DEAF_S if self._is_connected else ledger_settings.DEAF_RECONNECT_S

    def _busy(self) -> list[int]:
        """The pids of the busy processes: those that run a job by Postgres, and those that do by
        Celery, within the time limit of what they do. A body may go on when its job is done.
        """
        running = self.parent.clock.rescuer.mine().values_list("pid", flat=True)
        busy = [pid for pid in {*running} if pid in self._pids]
        for request in _copied(state.active_requests):
            limit = request.time_limits[0] or request.task.time_limit
            if request.worker_pid not in busy and time.time() < request.time_start + limit:
                busy.append(request.worker_pid)
        return busy

    @property
    def _pids(self) -> set[int]:
        """The pids of the pool's processes, or our own for a pool without any."""
        return {*self.parent.pool.info.get("processes", [os.getpid()])}

    def _note_held(self, now: float) -> None:
        """Note the bells that were fetched and that no process works at, each since when."""
        held = _copied(state.reserved_requests) - _copied(state.active_requests)
        self._held = {request.id: self._held.get(request.id, now) for request in held}

    def _due(self, *, limit: int) -> list[Job]:
        """Up to `limit` jobs of each queue that the pool could have begun DEAF_S ago."""
        ringer = self.parent.clock.ringer
        tasks = {*self.parent.app.tasks} - {*ringer.unrung} - Pause.objects.names(PauseKind.TASK)
        due = Job.objects.due_for(ledger_settings.DEAF_S).filter(task__in=tasks)
        queues = [queue for queue in self.queues if queue not in ringer.paused]
        of_queues = [due.filter(queue=queue).by_bell()[:limit] for queue in queues]
        return [job for jobs in of_queues for job in jobs.defer("args", "result")]

    # --- cures, each when the one before it has not helped; the log shows their docstrings --------

    def _cure(self, now: float, deaf_s: float) -> None:
        """Take the next cure, after the worker has been deaf for so long."""
        if now - self._cured_at > ledger_settings.DEAF_AGAIN_S:
            self._step = 0
        if self._held:  # their bells have come, so to ring is no cure
            self._step = max(self._step, self.cures.index(self._connect_anew))
        if not self._is_connected:
            self._step = self.cures.index(self._end)
        cure = self.cures[min(self._step, len(self.cures) - 1)]
        self._step, self._cured_at = self._step + 1, now
        log.error("Jobs are due, and for %d s an idle process began none: %s", deaf_s, cure.__doc__)
        cure()

    def _ring(self) -> None:
        """they are rung, whoever's turn it is."""
        amqp = self.parent.app.amqp
        amqp.bell.ring(
            [amqp.ring_for(job) for job in self._due(limit=self.parent.pool.num_processes)]
        )

    def _connect_anew(self) -> None:
        """its consumer connects anew."""
        if self.parent.hub is not None:
            self.parent.hub.call_soon(_break_the_line)

    def _replace_idle_processes(self) -> None:
        """its idle processes are replaced."""
        for pid in self._pids - {*self._busy(), os.getpid()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._connect_anew()

    def _end(self) -> None:
        """it ends, for the platform to start it anew."""
        state.should_stop = EX_FAILURE
        self._tell_to_stop(self._looked_at)

    def _tell_to_stop(self, now: float) -> None:
        """Begin a stop as the platform does: running jobs may finish (`worker.shutdown`). After
        STOP_S the worker is killed.
        """
        self._ends_at = now + ledger_settings.STOP_S
        parent = self.parent
        signals.worker_shutting_down.send(parent.hostname, sig="", how="Warm", exitcode=EX_FAILURE)


def _break_the_line() -> None:
    raise Deaf("this worker heard nothing")


def _copied(requests: Any) -> set[Any]:
    """A copy of this set, which the main thread may change at the same time."""
    while True:
        with suppress(RuntimeError):
            return set(requests)
