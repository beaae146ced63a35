"""All jobs of a filter, by one press: counted first, then done in portions by a job of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from celery_ledger import Job, JobQuerySet, State, interventions
from ops.jobs.choosing import Chosen, Place, portion
from ops.models import JobBatch, StaffAction


@dataclass(frozen=True)
class Verb:
    word: Promise
    states: tuple[str, ...]
    do: Callable[[JobQuerySet, str, datetime], int]  # by whom, asked for when; how many it changed
    is_dangerous: bool = False


def _retry(jobs: JobQuerySet, by: str, _asked: datetime) -> int:
    return len(interventions.retry(jobs, by=by))


def _discard(jobs: JobQuerySet, by: str, _asked: datetime) -> int:
    return len(interventions.discard(jobs, by=by))


def _cancel(jobs: JobQuerySet, by: str, _asked: datetime) -> int:
    return len(interventions.cancel(jobs, by=by))


def _run_now(jobs: JobQuerySet, by: str, asked: datetime) -> int:
    """Not those that have begun since: one that waits anew is not hurried twice."""
    return len(interventions.run_now(jobs.exclude(started_at__gt=asked), by=by))


VERBS: dict[str, Verb] = {
    "retry": Verb(gettext_lazy("Try again"), (State.DEAD, State.CANCELLED), _retry),
    "run_now": Verb(gettext_lazy("Run now"), (State.WAITING,), _run_now),
    "cancel": Verb(gettext_lazy("Cancel"), (State.WAITING,), _cancel, is_dangerous=True),
    "discard": Verb(gettext_lazy("Put aside"), (State.DEAD,), _discard, is_dangerous=True),
}


def fitting(state: str) -> dict[str, Verb]:
    """Those that can be done to jobs in that state."""
    return {slug: verb for slug, verb in VERBS.items() if state in verb.states}


def counted(chosen: Chosen, *, until: datetime) -> tuple[int, bool]:
    """How many are meant, of the first OPS_COUNTED_MAX that have to be looked at; and whether
    there are more.
    """
    met = portion(chosen, None, until=until, most=settings.OPS_COUNTED_MAX)
    return len(met.jobs), met.place is not None


def advance(batch: JobBatch) -> bool:
    """Do the next portion of a batch that the caller has locked, in the caller's transaction.
    Returns whether there is more.
    """
    place = Place.read(batch.place) if batch.place else None
    most = settings.OPS_BATCH_PORTION
    met = portion(Chosen(**batch.chosen), place, until=batch.until, most=most)
    if met.jobs:
        jobs = Job.objects.filter(pk__in=[job.pk for job in met.jobs])
        batch.done += VERBS[batch.verb].do(jobs, batch.who, batch.until)
    batch.looked += met.looked
    batch.place = met.place and met.place.written()
    return met.place is not None


def stop(id_: UUID, *, by: Any) -> bool:
    """What is done stays done; False when it has ended already."""
    with transaction.atomic():
        batch = JobBatch.objects.locked(id_)
        if batch.ended_at:
            return False
        JobBatch.objects.filter(pk=id_).update(ended_at=Now(), stopped_by=by.get_username())
        StaffAction.note(by, "job_stop", f"batch {id_}", said={"done": batch.done})
    return True
