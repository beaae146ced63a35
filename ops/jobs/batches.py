"""All jobs of a filter, by one press: counted first, then done in portions by a job of its own."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from celery_ledger import Job
from ops.jobs.choosing import Chosen, Place, portion
from ops.jobs.verbs import VERBS
from ops.models import JobBatch, StaffAction


def counted(chosen: Chosen, *, until: datetime) -> tuple[int, bool]:
    """How many jobs are meant among the first OPS_COUNTED_MAX that are looked at; and whether
    there are more to be looked at.
    """
    found = portion(chosen, None, until=until, most=settings.OPS_COUNTED_MAX)
    return len(found.jobs), found.place is not None


def advance(batch: JobBatch) -> bool:
    """Do the next portion of a batch that the caller has locked, in the caller's transaction, and
    count it in the batch, which the caller saves. Returns whether there is more.
    """
    place = Place.read(batch.place) if batch.place else None
    most = settings.OPS_BATCH_PORTION
    found = portion(Chosen(**batch.chosen), place, until=batch.until, most=most)
    jobs = Job.objects.filter(pk__in=[job.pk for job in found.jobs])
    verb = VERBS[batch.verb]
    if verb.leaves_begun:
        jobs = jobs.exclude(started_at__gt=batch.until)
    batch.done += len(verb.do(jobs, by=batch.who)) if found.jobs else 0
    batch.looked += found.looked_at
    batch.place = found.place and found.place.written()
    return found.place is not None


def stop(id_: UUID, *, by: Any) -> bool:
    """End the batch; what it has done stays done. False when it has ended already."""
    with transaction.atomic():
        batch = JobBatch.objects.locked(id_)
        if batch.ended_at:
            return False
        JobBatch.objects.filter(pk=id_).update(ended_at=Now(), stopped_by=by.get_username())
        StaffAction.note(by, "job_stop", f"batch {id_}", said={"done": batch.done})
    return True
