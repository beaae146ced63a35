"""The due jobs for which the clock rings: those whose bells were not heard, or are lost."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import ExpressionWrapper, F, Q, Value
from django.db.models.functions import Least, Now, Power
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models.backoff import ring_delay_s
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.models.jobs.states import State

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


def _longest_pause() -> timedelta:
    """No due job is rung again later than this from now."""
    return timedelta(seconds=ledger_settings.RING_CAP_S + ledger_settings.RING_GRACE_S)


class UnheardQuerySet(models.QuerySet["Job"]):
    """How the clock finds the jobs to ring for, and notes that it rang."""

    def due_for(self, seconds: float) -> Self:
        """The waiting jobs that have been due for so long or longer."""
        return self.filter(
            state=State.WAITING,
            due_at__lte=Now() - timedelta(seconds=seconds),
            ring_at__lte=Now() + _longest_pause(),
        )

    def by_bell(self) -> Self:
        """The jobs in the order of `ring_at`, so that an index finds those that wait."""
        return self.filter(ring_at__gte=BEGINNING).order_by("ring_at")

    def take_for_ring(self, limit: int, *, lost: bool = False) -> list["Job"]:
        """Lock up to `limit` jobs whose `ring_at` has come, the longest waiting ones first, and
        return them.

        `lost`: also jobs that have been due for RING_GRACE_S and are to be rung again later, since
        their bells are lost. A job with a `ring_at` beyond the longest pause is not due yet.
        """
        grace = timedelta(seconds=ledger_settings.RING_GRACE_S)
        cap = timedelta(seconds=ledger_settings.RING_CAP_S)
        unheard = Q(ring_at__lte=Now())
        if lost:
            unheard = (unheard | Q(due_at__lte=Now() - grace)) & Q(ring_at__lte=Now() + cap + grace)
        return self._locked(self.filter(unheard, state=State.WAITING).by_bell()[:limit])

    def _locked(self, jobs: Self) -> list["Job"]:
        """Those of these jobs that nobody has locked, locked in pk order."""
        return list(
            self.filter(pk__in=jobs.values("pk"))
            .select_for_update(skip_locked=True, no_key=True)
            .defer("args", "result")
            .order_by("pk")
        )

    def believed_rung(self) -> Self:
        """The due jobs that are rung again only later: their bells should be in the queue."""
        due = self.filter(state=State.WAITING, due_at__lte=Now())
        return due.filter(ring_at__gt=Now(), ring_at__lte=Now() + _longest_pause()).by_bell()

    def take_missing(self, limit: int) -> list["Job"]:
        """Lock up to `limit` jobs that were rung longer than RING_GRACE_S ago and are not to be
        rung yet, and return them. Some of their bells are missing from the queue.
        """
        grace = timedelta(seconds=ledger_settings.RING_GRACE_S)
        cap = timedelta(seconds=ledger_settings.RING_CAP_S)
        doubled = Power(Value(2.0), Least(F("rings"), Value(30))) * Value(grace)
        # the pause that `rang` has set between the newest bell and `ring_at`
        pause = Least(ExpressionWrapper(doubled, models.DurationField()), Value(cap))
        long_rung = self.believed_rung().filter(
            due_at__lte=Now() - grace, ring_at__lte=Now() - grace + pause
        )
        return self._locked(long_rung[:limit])

    def rang(self, jobs: Sequence["Job"]) -> None:
        """Note one more bell for these locked jobs, and when the next may follow."""
        for job in jobs:
            job.rings += 1
            pause_s = ring_delay_s(
                job.rings, base_s=ledger_settings.RING_GRACE_S, cap_s=ledger_settings.RING_CAP_S
            )
            job.ring_at = timezone.now() + timedelta(seconds=pause_s)
        self.bulk_update(jobs, ["rings", "ring_at"])
