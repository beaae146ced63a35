"""The clock of every worker: it beats, rescues lost jobs, rings due ones and prunes old ones.

It runs in a thread of the worker's main process, so that it goes on while the broker is away. Any
number of clocks is harmless: an advisory lock gives one of them the lead in each piece of
work, and rows that somebody holds are skipped.
"""

import logging
import os
import threading
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from celery import Celery, bootsteps, signals
from click import ClickException
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from celery_ledger.celery.beat import NO_BEAT
from celery_ledger.conf import ledger_settings
from celery_ledger.execution.claiming import work_as
from celery_ledger.models import Job
from celery_ledger.telemetry.events import tell_as
from celery_ledger.worker import shutdown
from celery_ledger.worker.hearing import Hearing
from celery_ledger.worker.heartbeat import Heartbeat
from celery_ledger.worker.lines import Lines
from celery_ledger.worker.pruner import Pruner
from celery_ledger.worker.rescuer import Rescuer
from celery_ledger.worker.ringer import Ringer
from celery_ledger.worker.scheduler import Scheduler

log = logging.getLogger(__name__)


_no_fork_during_a_tick = threading.Lock()
os.register_at_fork(
    before=_no_fork_during_a_tick.acquire,
    after_in_parent=_no_fork_during_a_tick.release,
    after_in_child=_no_fork_during_a_tick.release,
)


class Clock:
    """What one worker does once a second for the whole ledger."""

    def __init__(self, app: Celery, *, worker: UUID, name: str) -> None:
        self.worker = worker
        self.heartbeat = Heartbeat(worker, name)
        self.rescuer = Rescuer(app, worker)
        self.scheduler = Scheduler(app)
        self.ringer = Ringer(app)
        self.lines = Lines(app)
        self.pruner = Pruner()
        self.hearing: Hearing | None = None  # of a worker whose pool and consumer can be seen
        self._busy_at = monotonic()

    def tick(self) -> None:
        """One round. Raises DatabaseError when Postgres is in trouble; the next round starts
        afresh.
        """
        hearing = self.hearing
        self.heartbeat.beat(*(hearing.queues, hearing.quiet_s) if hearing else ())
        self.rescuer.rescue_from_lost_children()
        self.shorten_the_stop()
        self.ringer.ring()  # before what may stumble, or wait for somebody's lock
        if hearing:
            hearing.look(self.ringer.queued)
        if monotonic() >= self.heartbeat.patient_until:
            self.rescuer.rescue()
        self.scheduler.promise_due_slots()
        self.lines.look_now_and_then()
        self.pruner.prune_now_and_then()

    def shorten_the_stop(self) -> None:
        """A worker that is told to stop and has held no job for DRAIN_IDLE_S need not wait for its
        pool.
        """
        if not shutdown.has_begun() or Job.objects.running_at(self.worker).exists():
            self._busy_at = monotonic()
        elif monotonic() - self._busy_at > ledger_settings.DRAIN_IDLE_S:
            shutdown.wait_no_longer()


class ClockThread(threading.Thread):
    """Ticks until told to stop; trouble with Postgres is logged once and waited out."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(name="ledger-clock", daemon=True)
        self.clock = clock
        self.ticked = threading.Event()
        self._told_to_stop = threading.Event()

    def run(self) -> None:
        in_trouble = False
        while not self._told_to_stop.is_set():
            try:
                with _no_fork_during_a_tick:
                    close_old_connections()
                    self.clock.tick()
                in_trouble = False
            except (DatabaseError, InterfaceError) as exc:
                if not in_trouble:
                    log.error("The clock cannot work, Postgres is in trouble: %s", exc)
                in_trouble = True
            except Exception:
                log.exception("The clock stumbled; it goes on with the next tick")
            self.ticked.set()
            self._told_to_stop.wait(ledger_settings.CLOCK_INTERVAL_S)
        connection.close()

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join(timeout=ledger_settings.CLOCK_JOIN_S)


class ClockStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Celery starts the clock with the worker.

    The last words (`leave`) wait for Celery's worker_shutdown: only then are the pool's processes
    gone.
    """

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        if options.get("beat"):
            raise ClickException(NO_BEAT)
        self.clock = Clock(parent.app, worker=uuid4(), name=parent.hostname)
        parent.clock = self.clock
        self.clock.hearing = Hearing(parent, self.clock.worker)
        work_as(self.clock.worker)
        tell_as(parent.hostname if parent.task_events else None)

    def start(self, parent: Any) -> None:
        self._thread = ClockThread(self.clock)
        self._thread.start()
        # a claim before the first beat would look like a silent worker's
        self._thread.ticked.wait(timeout=ledger_settings.CLOCK_FIRST_TICK_S)
        signals.worker_shutdown.connect(self._leave, sender=parent)

    def stop(self, parent: Any) -> None:
        """Goes on ticking while running jobs finish."""

    def terminate(self, parent: Any) -> None:
        """Goes on ticking while running jobs finish."""

    def _leave(self, **_: Any) -> None:
        self._thread.stop()
        try:
            self.clock.rescuer.leave()
        except (DatabaseError, InterfaceError) as exc:
            log.warning(
                "Could not sign off; other workers take over in %d s: %s",
                ledger_settings.WORKER_SILENCE_S,
                exc,
            )
        finally:
            connection.close()
