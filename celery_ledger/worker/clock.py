"""The clock of every worker: it beats, rescues lost jobs, rings due ones and prunes old ones.

It runs in a thread of the worker's main process, so that it goes on while the broker is away. Any number of clocks
is harmless: they take turns by an advisory lock and skip rows that somebody holds.
"""

import logging
import os
import threading
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from celery import Celery, bootsteps, signals
from celery.exceptions import WorkerLostError
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.execution.attempt import work_as
from celery_ledger.execution.verdict import request_of
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Chord, Group, Job, JobQuerySet, Worker
from celery_ledger.models.schedule import Schedule, next_slot, schedule_of
from celery_ledger.worker import shutdown

log = logging.getLogger(__name__)

PAUSE_AFTER_NONSENSE = timedelta(minutes=1)
TURN = 0x6B616974  # the advisory locks of the clock whose turn it is: "kait"

_no_fork_during_a_tick = threading.Lock()
os.register_at_fork(
    before=_no_fork_during_a_tick.acquire,
    after_in_parent=_no_fork_during_a_tick.release,
    after_in_child=_no_fork_during_a_tick.release,
)


class Clock:
    """What one worker does once a second for the whole ledger."""

    def __init__(self, app: Celery, *, worker: UUID, name: str) -> None:
        self.app = app
        self.worker = worker
        self.name = name
        self._beat_at: float | None = None
        self._patient_until = 0.0
        self._pruned_at = monotonic()
        self._next_slots: dict[str, datetime] = {}
        self._busy_at = monotonic()

    def tick(self) -> None:
        """One round. Raises DatabaseError when Postgres is in trouble; the next round starts afresh."""
        self.beat()
        self.rescue_from_lost_children()
        self.shorten_the_stop()
        if monotonic() >= self._patient_until:
            self.rescue()
        self.promise_due_slots()
        self.ring()
        if monotonic() - self._pruned_at >= ledger_settings.PRUNE_EVERY_S and self.prune_all():
            self._pruned_at = monotonic()

    def beat(self) -> None:
        """Tell the others that this worker lives.

        After a gap in our own beats, Postgres or this machine was away, and the other workers look silent through no
        fault of theirs: they get the time to beat again before anybody takes their jobs.
        """
        Worker.objects.beat(self.worker, name=self.name, pid=os.getpid())
        now = monotonic()
        if self._beat_at is not None and now - self._beat_at > ledger_settings.WORKER_SILENCE_S / 2:
            self._patient_until = now + ledger_settings.WORKER_SILENCE_S
        self._beat_at = now

    def rescue_from_lost_children(self) -> int:
        """Give back the jobs of our own pool processes that have died.

        While the worker stops, the platform has told its processes to end: that is no fault of the job.
        """
        mine = Job.objects.running_at(self.worker)
        gone = {pid for pid in set(mine.values_list("pid", flat=True)) if pid and _has_exited(pid)}
        if not gone:
            return 0
        return self._give_back(
            mine.filter(pid__in=gone), "its worker process died", counts=not shutdown.has_begun()
        )

    def shorten_the_stop(self) -> None:
        """A worker that is told to stop and has held no job for DRAIN_IDLE_S need not wait for its pool."""
        if not shutdown.has_begun() or Job.objects.running_at(self.worker).exists():
            self._busy_at = monotonic()
        elif monotonic() - self._busy_at > ledger_settings.DRAIN_IDLE_S:
            shutdown.wait_no_longer()

    def rescue(self) -> int:
        """Give back the jobs of workers that fell silent, and those past their lease."""
        return self._give_back(Job.objects.lost(), "its worker fell silent or its lease ran out")

    def promise_due_slots(self) -> int:
        """Promise the scheduled jobs whose slot has come. Postgres is asked only when one has, by our own reckoning."""
        promised = 0
        for name, entry in self.app.conf.beat_schedule.items():
            if name in self._next_slots and timezone.now() < self._next_slots[name]:
                continue
            try:
                promised += self._promise_due_slots_of(name, entry)
            except (DatabaseError, InterfaceError):
                raise
            except Exception:  # e.g. arguments that no row can hold
                log.exception(
                    "The entry %s of beat_schedule cannot be promised; the next try is in a minute",
                    name,
                )
                self._next_slots[name] = timezone.now() + PAUSE_AFTER_NONSENSE
        return promised

    def _promise_due_slots_of(self, name: str, entry: dict[str, Any]) -> int:
        with transaction.atomic():
            known = Schedule.objects.locked(name)
            promised = known.promise_due_slots(self.app, entry)
        self._next_slots[name] = next_slot(schedule_of(self.app, entry), known.promised_until)
        return promised

    def ring(self) -> int:
        """Ring the due jobs that no bell has reached, as many as the queues have room for.

        Normally a job is rung again ever more rarely, so that a backlog is not rung twice. A queue that is empty while
        due jobs wait has lost their bells: then they are rung at once.
        """
        rung = 0
        for queue in sorted(self.app.amqp.queues.consume_from):
            queued = self.app.amqp.bell.queued(queue)
            if queued is not None and queued < ledger_settings.RING_BUDGET:
                rung += self._ring(
                    queue,
                    min(ledger_settings.RING_BUDGET - queued, ledger_settings.BATCH),
                    lost=not queued,
                )
        return rung

    def _ring(self, queue: str, limit: int, *, lost: bool) -> int:
        jobs: list[Job] = []
        with transaction.atomic():
            if _our_turn(f"ring {queue}"):
                jobs = Job.objects.filter(queue=queue).take_for_ring(limit, lost=lost)
                Job.objects.rang(jobs)
        if not jobs:
            return 0
        reach(At.BEFORE_RING_AGAIN)
        rung = self.app.amqp.bell.ring([self.app.amqp.ring_for(job) for job in jobs])
        return len(jobs) if rung else 0

    def prune_all(self) -> bool:
        """Prune batch by batch. False when PRUNE_BATCHES were not enough: the next tick goes on."""
        return any(
            self.prune() < ledger_settings.BATCH for _ in range(ledger_settings.PRUNE_BATCHES)
        )

    def prune(self) -> int:
        """Delete a batch each of the jobs, workers, chords and groups that ended long ago; the size of the largest."""
        with transaction.atomic():
            if not _our_turn("prune"):
                return 0
            before = timezone.now() - ledger_settings.KEEP
            return max(
                Job.objects.prune(before=before, limit=ledger_settings.BATCH),
                _delete_some(Worker.objects.filter(seen_at__lt=before)),
                _delete_some(Chord.objects.filter(fired=True, created_at__lt=before)),
                _delete_some(Group.objects.filter(created_at__lt=before)),
            )

    def leave(self) -> None:
        """The worker has stopped: what it did not finish waits again at once, and it counts as no loss."""
        with transaction.atomic():
            mine = Job.objects.running_at(self.worker)
            Job.objects.release(
                mine.take_for_rescue(ledger_settings.BATCH),
                error={"type": "Stopped", "message": "its worker stopped"},
                counts=False,
            )
            Worker.objects.filter(pk=self.worker).delete()

    def _give_back(self, lost: JobQuerySet, reason: str, *, counts: bool = True) -> int:
        """Lost jobs wait again; if it counts, those that lost MAX_LOSSES workers are dead."""
        with transaction.atomic():
            jobs = lost.take_for_rescue(ledger_settings.BATCH)
            poison = [
                job for job in jobs if counts and job.losses + 1 >= ledger_settings.MAX_LOSSES
            ]
            error = {"type": "Lost", "message": reason}
            Job.objects.release(
                [job for job in jobs if job not in poison], error=error, counts=counts
            )
            for job in poison:
                with context.replaced(job.context):
                    Job.objects.kill_lost(job, error=error)
                    self.app.backend.fail(request_of(job), WorkerLostError(reason))
            if jobs:
                reach(At.BEFORE_RESCUE)
        for job in jobs:
            log.warning("Rescued %s: %s (loss %d)", job, reason, job.losses + int(counts))
        return len(jobs)


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
        self.join(timeout=10)


class ClockStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Celery starts the clock with the worker.

    The last words (`leave`) wait for Celery's worker_shutdown: only then are the pool's processes gone.
    """

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.clock = Clock(parent.app, worker=uuid4(), name=parent.hostname)
        work_as(self.clock.worker)

    def start(self, parent: Any) -> None:
        self._thread = ClockThread(self.clock)
        self._thread.start()
        # a claim before the first beat would look like a silent worker's
        self._thread.ticked.wait(timeout=5)
        signals.worker_shutdown.connect(self._leave, sender=parent)

    def stop(self, parent: Any) -> None:
        """Goes on ticking while running jobs finish."""

    def terminate(self, parent: Any) -> None:
        """Goes on ticking while running jobs finish."""

    def _leave(self, **_: Any) -> None:
        self._thread.stop()
        try:
            self.clock.leave()
        except (DatabaseError, InterfaceError) as exc:
            log.warning(
                "Could not sign off; other workers take over in %d s: %s",
                ledger_settings.WORKER_SILENCE_S,
                exc,
            )
        finally:
            connection.close()


def _our_turn(work: str) -> bool:
    """False while another clock does the same work; then it is done for us too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [TURN, work])
        return bool(cursor.fetchone()[0])


def _delete_some(old: QuerySet[Any]) -> int:
    """Delete up to BATCH of these rows."""
    ids = list(old.values_list("pk", flat=True)[: ledger_settings.BATCH])
    old.filter(pk__in=ids).delete()
    return len(ids)


def _has_exited(pid: int) -> bool:
    """True when our child has ended, also while nobody has reaped it; looking does not reap it."""
    if pid == os.getpid():
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
