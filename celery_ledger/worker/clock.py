"""The clock of every worker. Once a second it beats, rescues lost jobs, rings due ones, promises
scheduled ones and prunes old ones.

It runs in a thread of the worker's main process, so that it goes on while the broker is away. There
may be any number of clocks: an advisory lock lets one of them lead in each piece of work, and rows
that another one has locked are skipped.
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
from celery_ledger.telemetry.events import send_as
from celery_ledger.worker import shutdown
from celery_ledger.worker.hearing import Hearing
from celery_ledger.worker.heartbeat import Heartbeat
from celery_ledger.worker.lines import Lines
from celery_ledger.worker.pruner import Pruner
from celery_ledger.worker.rescuer import Rescuer
from celery_ledger.worker.ringer import Ringer
from celery_ledger.worker.scheduler import Scheduler

log = logging.getLogger(__name__)


# a process that was forked in the middle of a tick would share its connection to Postgres
_no_fork_during_a_tick = threading.Lock()
os.register_at_fork(
    before=_no_fork_during_a_tick.acquire,
    after_in_parent=_no_fork_during_a_tick.release,
    after_in_child=_no_fork_during_a_tick.release,
)


class Clock:
    """The parts of one worker's clock, and what they do in a tick."""

    def __init__(self, app: Celery, *, worker: UUID, name: str) -> None:
        self.worker = worker
        self.heartbeat = Heartbeat(worker, name)
        self.rescuer = Rescuer(app, worker)
        self.scheduler = Scheduler(app)
        self.ringer = Ringer(app)
        self.lines = Lines(app)
        self.pruner = Pruner()
        self.hearing: Hearing | None = None  # None without a worker around, in tests
        self._busy_at = monotonic()  # when a job was last seen to run here

    def tick(self) -> None:
        """Do everything once. Raises DatabaseError or InterfaceError when Postgres is in trouble;
        the next tick does all of it anew.
        """
        hearing = self.hearing
        self.heartbeat.beat(*(hearing.queues, hearing.quiet_s) if hearing else ())
        self.rescuer.rescue_from_lost_children()
        self.shorten_the_stop()
        self.ringer.ring()  # before any part that may fail, or wait for a lock
        if hearing:
            hearing.look(self.ringer.queued)
        if monotonic() >= self.heartbeat.patient_until:
            self.rescuer.rescue()
        self.scheduler.promise_due_slots()
        self.lines.look_now_and_then()
        self.pruner.prune_now_and_then()

    def shorten_the_stop(self) -> None:
        """Let a stopping worker wait for its pool no longer, once no job has run here for
        DRAIN_IDLE_S.
        """
        if not shutdown.has_begun() or Job.objects.running_at(self.worker).exists():
            self._busy_at = monotonic()
        elif monotonic() - self._busy_at > ledger_settings.DRAIN_IDLE_S:
            shutdown.wait_no_longer()


class ClockThread(threading.Thread):
    """The thread that ticks until it is told to stop. Trouble with Postgres is logged once; the
    ticks go on.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(name="ledger-clock", daemon=True)
        self.clock = clock
        self.ticked = threading.Event()  # the first tick is over
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
    """The boot step that starts the clock with the worker.

    The worker signs off (`_leave`) at Celery's signal `worker_shutdown`, when the processes of its
    pool are gone.
    """

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        if options.get("beat"):
            raise ClickException(NO_BEAT)
        self.clock = Clock(parent.app, worker=uuid4(), name=parent.hostname)
        parent.clock = self.clock
        self.clock.hearing = Hearing(parent, self.clock.worker)
        work_as(self.clock.worker)
        send_as(parent.hostname if parent.task_events else None)

    def start(self, parent: Any) -> None:
        self._thread = ClockThread(self.clock)
        self._thread.start()
        # a job that was claimed before the first beat would look like one of a silent worker
        self._thread.ticked.wait(timeout=ledger_settings.CLOCK_FIRST_TICK_S)
        signals.worker_shutdown.connect(self._leave, sender=parent)

    def stop(self, parent: Any) -> None:
        """Nothing: the clock goes on while running jobs finish."""

    def terminate(self, parent: Any) -> None:
        """Nothing: the clock goes on while running jobs finish."""

    def _leave(self, **_: Any) -> None:
        """Stop the clock, and give back the jobs that did not finish."""
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
