"""The rescuer: gives back the jobs of processes that died and of workers that fell silent, and jobs
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
    """The clock's part that lets lost jobs wait again, or be dead."""

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
        """Give back the jobs of this worker's processes that have died; return how many.

        While the worker stops they count as no losses, since the platform ends its processes.
        """
        mine = self.mine()
        pids = set(mine.values_list("pid", flat=True))
        gone = {pid for pid in pids if pid and _has_exited(pid)}
        if not gone:
            return 0
        return self._give_back(
            mine.filter(pid__in=gone),
            "its worker process died",
            has_died=True,
            counts=not shutdown.has_begun(),
        )

    def rescue(self) -> int:
        """Give back the jobs of workers that fell silent, and jobs past their lease; return how
        many.
        """
        return self._give_back(
            self._running().lost(), "its worker fell silent or its lease ran out"
        )

    def leave(self) -> None:
        """Sign the worker off when it has stopped: its unfinished jobs wait again, due now, and no
        loss is counted. Its row is deleted.
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
        """Let up to BATCH of these lost jobs wait again; return how many.

        If the loss `counts`, a job that was alone in its process, and has now lost MAX_LOSSES of
        them, is dead. A job that shared its process is not: which of them was to blame is not
        known.
        """
        with transaction.atomic():
            jobs = lost.take_for_rescue(ledger_settings.BATCH)
            poison = [job for job in jobs if counts and _is_poison(job)]
            by_error = [*self._by_error(jobs, reason, has_died=has_died)]
            for error, jobs_of_it in by_error:
                self._note_losses(jobs_of_it, poison, error, counts=counts)
            if jobs:
                reach(At.BEFORE_RESCUE)
        self._give_their_places_back(jobs)
        for job in jobs:
            loss = job.losses + job.shared_losses + int(counts)
            log.warning("Rescued %s: %s (loss %d)", job, reason, loss)
        losses = [(job, error, job in poison) for error, those in by_error for job in those]
        events.lost(self.app, losses)
        return len(jobs)

    def _give_their_places_back(self, jobs: list[Job]) -> None:
        self.app.amqp.bring([job.concurrency_key for job in jobs if job.concurrency_key])

    def _by_error(
        self, jobs: list[Job], reason: str, *, has_died: bool
    ) -> Iterator[tuple[dict[str, Any], list[Job]]]:
        """The errors to write, and the jobs of each: one error for each hard time limit that was
        overrun, and one for all other jobs.
        """
        limits = [self._overrun(job) if has_died else None for job in jobs]
        for limit in set(limits):
            those = [job for job, its in zip(jobs, limits, strict=True) if its == limit]
            if limit is None:
                yield {"type": "Lost", "message": reason}, those
            else:
                error = describe(TimeLimitExceeded(limit))
                yield {**error, "message": f"it ran longer than its time_limit, {limit:g} s"}, those

    def _overrun(self, job: Job) -> float | None:
        """The hard time limit of this job in seconds, if it has run for longer; else None."""
        own = (job.envelope["headers"].get("timelimit") or [None])[0]
        limit: float | None = own or getattr(self.app.tasks.get(job.task), "time_limit", None)
        if not limit or not job.started_at:
            return None
        has_run_for = timezone.now() - job.started_at
        return limit if has_run_for > timedelta(seconds=limit) else None

    def _note_losses(
        self, jobs: list[Job], poison: list[Job], error: dict[str, Any], *, counts: bool
    ) -> None:
        """Let these locked jobs wait again, by this error; those among `poison` are dead."""
        Job.objects.release([job for job in jobs if job not in poison], error=error, counts=counts)
        for job in jobs:
            if job in poison:
                with context.replaced(job.context):
                    Job.objects.kill_lost(job, error=error)
                    self.app.backend.fail(request_of(job), self.app.backend.raised(error))


def _is_poison(job: Job) -> bool:
    """Whether the job is dead by one more loss: it is to blame, and MAX_LOSSES are reached."""
    return job.is_to_blame and job.losses + 1 >= ledger_settings.MAX_LOSSES


def _has_exited(pid: int) -> bool:
    """Whether this child process has ended, reaped or not. It is not reaped by this."""
    if pid == os.getpid():
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
