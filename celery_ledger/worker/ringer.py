"""The ringer: rings the due jobs that no bell has reached."""

from collections.abc import Callable
from functools import partial

from celery import Celery
from django.db import transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Job, JobQuerySet, Pause, PauseKind
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.worker.lead import we_lead

Take = Callable[[int], list[Job]]  # and lock up to so many


class Ringer:
    def __init__(self, app: Celery) -> None:
        self.app = app
        self.queued: dict[str, int | None] = {}  # bells in each queue, at the newest look
        self.paused: set[str] = set()  # queues, at the newest look
        self.unrung: list[str] = []
        self._low_waters: dict[str, LowWater] = {}

    def leave_to_threads(self, tasks: list[str]) -> None:
        """Jobs of these tasks are found by the process of this worker's threads, which looks for
        them by itself; but for those that are tried alone.
        """
        self.unrung = tasks

    def ring(self) -> int:
        """Ring the due jobs that no bell has reached, as many as the queues have room for.

        Normally a job is rung again ever more rarely, so that a backlog is not rung twice. A queue
        that is empty while due jobs wait has lost their bells: then they are rung at once. So has
        one that holds fewer bells than there should be: what is rung after a flush would keep it
        from ever being empty, and the others would wait for their back-off.
        """
        rung = 0
        self.paused = Pause.objects.names(PauseKind.QUEUE)
        for queue in sorted({*self.app.amqp.queues.consume_from} - self.paused):
            queued = self.queued[queue] = self.app.amqp.bell.queued(queue)
            if queued is not None and queued < ledger_settings.RING_BUDGET:
                room = ledger_settings.RING_BUDGET - queued
                jobs = self._waiting_in(queue).without_threaded(self.unrung)
                rung += self._ring(queue, partial(jobs.take_for_ring, lost=not queued), room)
                missing = queued and jobs.believed_rung()[: queued + room].count() - queued
                if missing > 0:
                    rung += self._ring(queue, jobs.take_missing, missing)
        return rung

    def _waiting_in(self, queue: str) -> JobQuerySet:
        low_water = self._low_waters.setdefault(queue, LowWater("ring_at", queue))
        return Job.objects.filter(queue=queue, ring_at__gte=low_water.mark)

    def _ring(self, queue: str, take: Take, number: int) -> int:
        """Up to so many, BATCH of them at a time."""
        rung, some = 0, ledger_settings.BATCH
        while some == ledger_settings.BATCH and rung < number:
            some = self._ring_some(queue, partial(take, min(some, number - rung)))
            rung += some
        return rung

    def _ring_some(self, queue: str, take: Callable[[], list[Job]]) -> int:
        jobs: list[Job] = []
        with transaction.atomic():
            if we_lead(f"ring {queue}"):
                jobs = take()
                Job.objects.rang(jobs)
        if not jobs:
            return 0
        reach(At.BEFORE_RING_AGAIN)
        rung = self.app.amqp.bell.ring([self.app.amqp.ring_for(job) for job in jobs])
        return len(jobs) if rung else 0
