"""The rescuer: gives back the jobs of processes that died, of workers that fell silent, and those
past their lease.
"""

import logging
import os
from uuid import UUID

from celery import Celery
from celery.exceptions import WorkerLostError
from django.db import transaction

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.execution.verdict import request_of
from celery_ledger.failpoints import At, reach
from celery_ledger.models import Job, JobQuerySet, Worker
from celery_ledger.worker import shutdown

log = logging.getLogger(__name__)


class Rescuer:
    """Of one worker, for its own processes and for all the others."""

    def __init__(self, app: Celery, worker: UUID) -> None:
        self.app = app
        self.worker = worker

    def rescue_from_lost_children(self) -> int:
        """Give back the jobs of our own pool processes that have died.

        While the worker stops, the platform has told its processes to end: that is no fault of the
        job.
        """
        mine = Job.objects.running_at(self.worker)
        gone = {pid for pid in set(mine.values_list("pid", flat=True)) if pid and _has_exited(pid)}
        if not gone:
            return 0
        return self._give_back(
            mine.filter(pid__in=gone), "its worker process died", counts=not shutdown.has_begun()
        )

    def rescue(self) -> int:
        """Give back the jobs of workers that fell silent, and those past their lease."""
        return self._give_back(Job.objects.lost(), "its worker fell silent or its lease ran out")

    def leave(self) -> None:
        """The worker has stopped: what it did not finish waits again at once, and it counts as no
        loss.
        """
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


def _has_exited(pid: int) -> bool:
    """True when our child has ended, also while nobody has reaped it; looking does not reap it."""
    if pid == os.getpid():
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
