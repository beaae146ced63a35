"""The rescue of running jobs whose process or worker is gone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from celery_ledger.models.jobs.columns import ended, noted, waiting
from celery_ledger.models.jobs.history import End
from celery_ledger.models.jobs.states import State
from celery_ledger.models.worker import Worker

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


class LostQuerySet(models.QuerySet["Job"]):
    """How lost jobs are found, locked, and let wait again or be dead."""

    def lost(self) -> Self:
        """The running jobs past their lease, and those whose worker does not live."""
        living = Worker.objects.filter(pk=models.OuterRef("worker")).living()
        return self.filter(state=State.RUNNING).filter(
            Q(lease_until__lt=Now()) | Q(worker__isnull=False) & ~models.Exists(living)
        )

    def running_at(self, worker: UUID) -> Self:
        """The jobs that run in this worker."""
        return self.filter(state=State.RUNNING, worker=worker)

    def take_for_rescue(self, limit: int) -> list["Job"]:
        """Lock up to `limit` of these running jobs in pk order and return them. Jobs that are being
        settled, and so are locked, are left. `in_company` says whether others run in the process.
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
        """Let these locked running jobs wait again, due now. `counts`: as a loss, and not as an end
        of their worker that it announced.
        """
        why = noted(End.LOST if counts else End.STOPPED, error)
        to_blame = [job.pk for job in jobs if job.is_to_blame]
        beside = [job.pk for job in jobs if not job.is_to_blame]
        for ids, column in ((to_blame, "losses"), (beside, "shared_losses")):
            if ids:
                lost = {column: F(column) + int(counts)}
                self.filter(pk__in=ids).update(**waiting(timezone.now()), **why, **lost)

    def kill_lost(self, job: "Job", *, error: dict[str, Any]) -> None:
        """Let this locked running job be dead, with one more loss."""
        self.filter(pk=job.pk).update(
            **ended(State.DEAD), **noted(End.LOST, error), losses=F("losses") + 1
        )
