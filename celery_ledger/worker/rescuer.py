"""The rescuer: gives back the jobs of processes that died, of workers that fell silent, and those
past their lease.
"""

import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import Celery
from celery.exceptions import TimeLimitExceeded
from django.db import transaction
from django.utils import timezone

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.execution.verdict import request_of
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Job, JobQuerySet, Worker
from celery_ledger.models.error import describe
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.telemetry import events
from celery_ledger.worker import shutdown

log = logging.getLogger(__name__)


class Rescuer:
    """Of one worker, for its own processes and for all the others."""

    def __init__(self, app: Celery, worker: UUID) -> None:
        self.app = app
        self.worker = worker
        self._low_water = LowWater("lease_until")

    def mine(self) -> JobQuerySet:
        """The jobs that run in this worker."""
        return self._running().running_at(self.worker)

    def _running(self) -> JobQuerySet:
        return Job.objects.filter(lease_until__gte=self._low_water.mark)

    def rescue_from_lost_children(self) -> int:
        """Give back the jobs of our own pool processes that have died.

        While the worker stops, the platform has told its processes to end: that is no fault of the
        job.
        """
        mine = self.mine()
        gone = {pid for pid in set(mine.values_list("pid", flat=True)) if pid and _has_exited(pid)}
        if not gone:
            return 0
        return self._give_back(
            mine.filter(pid__in=gone),
            "its worker process died",
            has_died=True,
            counts=not shutdown.has_begun(),
        )

    def rescue(self) -> int:
        """Give back the jobs of workers that fell silent, and those past their lease."""
        return self._give_back(
            self._running().lost(), "its worker fell silent or its lease ran out"
        )

    def leave(self) -> None:
        """The worker has stopped: what it did not finish waits again at once, and it counts as no
        loss.
        """
        with transaction.atomic():
            mine = Job.objects.running_at(self.worker).take_for_rescue(ledger_settings.BATCH)
            error = {"type": "Stopped", "message": "its worker stopped"}
            Job.objects.release(mine, error=error, counts=False)
            Worker.objects.filter(pk=self.worker).delete()
        self._give_their_places_back(mine)

    def _give_back(
        self, lost: JobQuerySet, reason: str, *, has_died: bool = False, counts: bool = True
    ) -> int:
        """Lost jobs wait again. If it counts, those that took MAX_LOSSES processes down alone are
        dead; which of many it was is not known, and kills none of them.
        """
        with transaction.atomic():
            jobs = lost.take_for_rescue(ledger_settings.BATCH)
            poison = [job for job in jobs if counts and _is_poison(job)]
            by_error = [*self._by_error(jobs, reason, has_died=has_died)]
            for error, lost_by_it in by_error:
                self._note_losses(lost_by_it, poison, error, counts=counts)
            if jobs:
                reach(At.BEFORE_RESCUE)
        self._give_their_places_back(jobs)
        for job in jobs:
            loss = job.losses + job.shared_losses + int(counts)
            log.warning("Rescued %s: %s (loss %d)", job, reason, loss)
        events.lost(
            self.app, [(job, error, job in poison) for error, those in by_error for job in those]
        )
        return len(jobs)

    def _give_their_places_back(self, jobs: list[Job]) -> None:
        self.app.amqp.bring([job.concurrency_key for job in jobs if job.concurrency_key])

    def _by_error(
        self, jobs: list[Job], reason: str, *, has_died: bool
    ) -> Iterator[tuple[dict[str, Any], list[Job]]]:
        """Those whose process died since they ran for too long, by their limit; and the others."""
        limits = [self._overrun(job) if has_died else None for job in jobs]
        for limit in set(limits):
            those = [job for job, its in zip(jobs, limits, strict=True) if its == limit]
            if limit is None:
                yield {"type": "Lost", "message": reason}, those
            else:
                error = describe(TimeLimitExceeded(limit))
                yield {**error, "message": f"it ran longer than its time_limit, {limit:g} s"}, those

    def _overrun(self, job: Job) -> float | None:
        """The hard time limit of this job, if that is over."""
        own = (job.envelope["headers"].get("timelimit") or [None])[0]
        limit: float | None = own or getattr(self.app.tasks.get(job.task), "time_limit", None)
        is_over = (
            limit and job.started_at and timezone.now() - job.started_at > timedelta(seconds=limit)
        )
        return limit if is_over else None

    def _note_losses(
        self, jobs: list[Job], poison: list[Job], error: dict[str, Any], *, counts: bool
    ) -> None:
        Job.objects.release([job for job in jobs if job not in poison], error=error, counts=counts)
        for job in jobs:
            if job in poison:
                with context.replaced(job.context):
                    Job.objects.kill_lost(job, error=error)
                    self.app.backend.fail(request_of(job), self.app.backend.raised(error))


def _is_poison(job: Job) -> bool:
    """Of a job whose process was lost once more."""
    return job.is_to_blame and job.losses + 1 >= ledger_settings.MAX_LOSSES


def _has_exited(pid: int) -> bool:
    """True when our child has ended, also while nobody has reaped it; looking does not reap it."""
    if pid == os.getpid():
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
