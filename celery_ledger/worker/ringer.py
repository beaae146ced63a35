"""The ringer: rings for due jobs whose bells nobody has heard."""

from collections.abc import Callable
from functools import partial

from celery import Celery
from django.db import transaction

from celery_ledger.conf import ledger_settings
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Job, JobQuerySet, Pause, PauseKind
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.worker.lead import we_lead

Take = Callable[[int], list[Job]]  # locks and returns up to so many jobs


class Ringer:
    """The clock's part that rings for due jobs."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.queued: dict[str, int | None] = {}  # bells in each queue, at the newest look
        self.paused: set[str] = set()  # queues, at the newest look
        self.unrung: list[str] = []  # tasks that run in threads
        self._low_waters: dict[str, LowWater] = {}

    def leave_to_threads(self, tasks: list[str]) -> None:
        """Ring no more for jobs of these tasks, which this worker's threads find by themselves.
        Jobs that have to run alone are still rung for.
        """
        self.unrung = tasks

    def ring(self) -> int:
        """Ring for due jobs whose time to be rung has come; a queue is filled up to RING_BUDGET
        bells. Returns how many were rung.

        A job is rung for ever more rarely, so that a backlog is not rung twice. But a queue that is
        empty while jobs wait has lost their bells: then all of them are rung for at once. A queue
        with fewer bells than there should be has lost some: then as many as are missing are rung.
        Otherwise, after a flush, new bells would keep the queue from being empty, and the older
        jobs would wait for their pauses.
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
        """The jobs of this queue from its low-water mark on."""
        low_water = self._low_waters.setdefault(queue, LowWater("ring_at", queue))
        return Job.objects.filter(queue=queue, ring_at__gte=low_water.mark)

    def _ring(self, queue: str, take: Take, number: int) -> int:
        """Ring for up to `number` jobs that `take` takes, BATCH at a time; return how many."""
        rung, some = 0, ledger_settings.BATCH
        while some == ledger_settings.BATCH and rung < number:
            some = self._ring_some(queue, partial(take, min(some, number - rung)))
            rung += some
        return rung

    def _ring_some(self, queue: str, take: Callable[[], list[Job]]) -> int:
        """Ring for the jobs that this takes; return how many, 0 if the broker did not take them."""
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
