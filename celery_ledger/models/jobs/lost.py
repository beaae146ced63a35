"""Jobs whose worker is gone: found, and waiting again or dead."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.columns import ended, noted, waiting
from celery_ledger.models.jobs.history import End
from celery_ledger.models.jobs.states import State
from celery_ledger.models.worker import Worker

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


class LostQuerySet(models.QuerySet["Job"]):
    def lost(self) -> Self:
        """Running jobs past their lease, or whose worker has been silent for too long."""
        silence = timedelta(seconds=ledger_settings.WORKER_SILENCE_S)
        alive = Worker.objects.filter(pk=models.OuterRef("worker"), seen_at__gt=Now() - silence)
        return self.filter(state=State.RUNNING).filter(
            Q(lease_until__lt=Now()) | Q(worker__isnull=False) & ~models.Exists(alive)
        )

    def running_at(self, worker: UUID) -> Self:
        return self.filter(state=State.RUNNING, worker=worker)

    def take_for_rescue(self, limit: int) -> list["Job"]:
        """Lock up to `limit` of these running jobs in pk order, leaving those that somebody is
        settling right now. `in_company` says which of them shared their process with another.
        """
        beside = self.model.objects.filter(
            state=State.RUNNING, worker=models.OuterRef("worker"), pid=models.OuterRef("pid")
        ).exclude(pk=models.OuterRef("pk"))
        return list(
            self.annotate(in_company=models.Exists(beside))  # type: ignore[no-redef]
            .select_for_update(skip_locked=True, no_key=True)
            .defer("args", "result")
            .order_by("pk")[:limit]
        )

    def release(self, jobs: Sequence["Job"], *, error: dict[str, Any], counts: bool) -> None:
        """Locked running jobs wait again at once; `counts` says whether their worker was lost or
        left politely.
        """
        why = noted(End.LOST if counts else End.STOPPED, error)
        to_blame = [job.pk for job in jobs if job.is_to_blame]
        beside = [job.pk for job in jobs if not job.is_to_blame]
        for ids, column in ((to_blame, "losses"), (beside, "shared_losses")):
            if ids:
                lost = {column: F(column) + int(counts)}
                self.filter(pk__in=ids).update(**waiting(timezone.now()), **why, **lost)

    def kill_lost(self, job: "Job", *, error: dict[str, Any]) -> None:
        """Dead: this locked running job took too many workers down with it."""
        self.filter(pk=job.pk).update(
            **ended(State.DEAD), **noted(End.LOST, error), losses=F("losses") + 1
        )
