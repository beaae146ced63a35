"""Due jobs whose bells were not heard, or should stand in a queue: whom the clock rings."""

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


class UnheardQuerySet(models.QuerySet["Job"]):
    def due_for(self, seconds: float) -> Self:
        """Those that wait, and have been due for so long or longer."""
        longest = (
            ledger_settings.RING_CAP_S + ledger_settings.RING_GRACE_S
        )  # which none rings after
        return self.filter(
            state=State.WAITING,
            due_at__lte=Now() - timedelta(seconds=seconds),
            ring_at__lte=Now() + timedelta(seconds=longest),
        )

    def by_bell(self) -> Self:
        """Those whose time to be rung comes first, first; what waits is found by an index."""
        return self.filter(ring_at__gte=BEGINNING).order_by("ring_at")

    def take_for_ring(self, limit: int, *, lost: bool = False) -> list["Job"]:
        """Lock up to `limit` due jobs whose time to be rung has come, those that waited longest
        first.

        `lost`: also those whose time has not come, but whose bells are known to be lost. What rings
        later than a back-off's cap from now is not due yet, and is not looked at.
        """
        grace, cap = (
            timedelta(seconds=ledger_settings.RING_GRACE_S),
            timedelta(seconds=ledger_settings.RING_CAP_S),
        )
        unheard = Q(ring_at__lte=Now())
        if lost:
            unheard = (unheard | Q(due_at__lte=Now() - grace)) & Q(ring_at__lte=Now() + cap + grace)
        return self._taken(self.filter(unheard, state=State.WAITING).by_bell()[:limit])

    def _taken(self, some: Self) -> list["Job"]:
        return list(
            self.filter(pk__in=some.values("pk"))
            .select_for_update(skip_locked=True, no_key=True)
            .defer("args", "result")
            .order_by("pk")
        )

    def believed_rung(self) -> Self:
        """Due jobs that the clock rings again only later: their bells should stand in the queue."""
        longest = timedelta(seconds=ledger_settings.RING_CAP_S + ledger_settings.RING_GRACE_S)
        rung = self.filter(state=State.WAITING, due_at__lte=Now())
        return rung.filter(ring_at__gt=Now(), ring_at__lte=Now() + longest).by_bell()

    def take_missing(self, limit: int) -> list["Job"]:
        """Lock up to `limit` jobs that were rung longer ago than a grace: fewer bells stand in the
        queue than should.
        """
        grace = timedelta(seconds=ledger_settings.RING_GRACE_S)
        cap = timedelta(seconds=ledger_settings.RING_CAP_S)
        doubled = Power(Value(2.0), Least(F("rings"), Value(30))) * Value(grace)
        pause = Least(ExpressionWrapper(doubled, models.DurationField()), Value(cap))  # of `rang`
        long_rung = self.believed_rung().filter(
            due_at__lte=Now() - grace, ring_at__lte=Now() - grace + pause
        )
        return self._taken(long_rung[:limit])

    def rang(self, jobs: Sequence["Job"]) -> None:
        """Note one more bell for these locked jobs and when the next may follow."""
        for job in jobs:
            job.rings += 1
            pause_s = ring_delay_s(
                job.rings, base_s=ledger_settings.RING_GRACE_S, cap_s=ledger_settings.RING_CAP_S
            )
            job.ring_at = timezone.now() + timedelta(seconds=pause_s)
        self.bulk_update(jobs, ["rings", "ring_at"])
