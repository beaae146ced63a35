"""What a person does to jobs: have them tried again, cancelled, put aside, begun now."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models, transaction
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models.jobs.columns import ended, noted, waiting
from celery_ledger.models.jobs.history import End, appended
from celery_ledger.models.jobs.states import RETRYABLE, WAITS, State

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


class AskedQuerySet(models.QuerySet["Job"]):
    @transaction.atomic
    def retry(self, *, by: str) -> list["Job"]:
        """The dead and cancelled ones are due now, counted as new, their error kept. Returns them
        as they were.
        """
        jobs = self._take_in(*RETRYABLE)
        ring_at = Now() + timedelta(seconds=ledger_settings.RING_GRACE_S)
        anew = {
            **waiting(Now()),
            "ring_at": ring_at,
            "finished_at": None,
            "attempts": 0,
            "retries": 0,
            "losses": 0,
            "shared_losses": 0,
        }
        anew["history"] = appended(End.RETRIED, {"type": "Retried", "message": f"by {by}"})
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state__in=RETRYABLE).update(**anew)
        return jobs

    @transaction.atomic
    def cancel(self, *, error: dict[str, Any]) -> list["Job"]:
        """The waiting ones will not run. Returns them as they were."""
        jobs = self._take_in(State.WAITING)
        called_off = {**ended(State.CANCELLED), **noted(End.CANCELLED, error)}
        called_off["in_line_since"] = None
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state=State.WAITING).update(**called_off)
        return jobs

    @transaction.atomic
    def discard(self, *, note: dict[str, Any]) -> list["Job"]:
        """The dead ones are put aside, their error kept. Returns them as they were."""
        jobs = self._take_in(State.DEAD)
        aside = {"state": State.CANCELLED, "history": appended(End.DISCARDED, note)}
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state=State.DEAD).update(**aside)
        return jobs

    @transaction.atomic
    def run_now(self, ids: Sequence[UUID], *, queue: str | None = None) -> list[UUID]:
        """Those of these that wait for a later time, and for no limit, are due now, in that queue
        if one is named; the clock rings. Returns which.
        """
        free = {"slot_at": None, "in_line_since": None}
        early = self.filter(pk__in=ids, **WAITS, due_at__gt=Now(), **free)
        held = list(
            early.select_for_update(skip_locked=True, no_key=True)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
        moved = {} if queue is None else {"queue": queue}
        self.filter(pk__in=held).update(**waiting(Now()), **moved)
        return held

    def _take_in(self, *states: State) -> list["Job"]:
        locked = self.filter(state__in=states).select_for_update(no_key=True)
        return list(locked.defer("args", "result").order_by("pk"))
