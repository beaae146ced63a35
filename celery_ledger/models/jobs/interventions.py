"""What a person does to jobs: retry, cancel, discard, run now (`operations.interventions`)."""

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


class InterventionsQuerySet(models.QuerySet["Job"]):
    """How jobs are changed by a person."""

    @transaction.atomic
    def retry(self, *, by: str) -> list["Job"]:
        """Let the dead and cancelled jobs be due now, with their counts at 0 and their error kept;
        return them as they were.
        """
        jobs = self._locked_in(*RETRYABLE)
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
        """Cancel the waiting jobs, with this error; return them as they were."""
        jobs = self._locked_in(State.WAITING)
        called_off = {**ended(State.CANCELLED), **noted(End.CANCELLED, error)}
        called_off["in_line_since"] = None
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state=State.WAITING).update(**called_off)
        return jobs

    @transaction.atomic
    def discard(self, *, note: dict[str, Any]) -> list["Job"]:
        """Let the dead jobs be cancelled ones, with their error kept; return them as they were."""
        jobs = self._locked_in(State.DEAD)
        aside = {"state": State.CANCELLED, "history": appended(End.DISCARDED, note)}
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state=State.DEAD).update(**aside)
        return jobs

    @transaction.atomic
    def run_now(self, ids: Sequence[UUID], *, queue: str | None = None) -> list[UUID]:
        """Let those of these jobs that wait for a later time be due now, in this queue if one is
        named; return their ids. Jobs that wait for a slot or a place, or are locked, are left.

        Nothing is rung: the clock does it.
        """
        held_up_by_no_limit = {"slot_at": None, "in_line_since": None}
        early = self.filter(pk__in=ids, **WAITS, due_at__gt=Now(), **held_up_by_no_limit)
        locked = list(
            early.select_for_update(skip_locked=True, no_key=True)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
        other_queue = {} if queue is None else {"queue": queue}
        self.filter(pk__in=locked).update(**waiting(Now()), **other_queue)
        return locked

    def _locked_in(self, *states: State) -> list["Job"]:
        """The jobs in these states, locked in pk order."""
        locked = self.filter(state__in=states).select_for_update(no_key=True)
        return list(locked.defer("args", "result").order_by("pk"))
