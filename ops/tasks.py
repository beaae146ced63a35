"""What staff have done to many jobs at once, as jobs."""

from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import connection, transaction
from django.utils import timezone

from ops.jobs import batches
from ops.jobs.choosing import Chosen
from ops.models import JobBatch, StaffAction


@shared_task
def do_portion(batch_id: str) -> None:
    """Do the next portion of a batch. The portion, the batch's row with how far it has come, and
    the promise of the job for the portion after it are one transaction.
    """
    batch = JobBatch.objects.locked(UUID(batch_id))
    if batch.ended_at:
        return
    if batches.advance(batch):
        batch.job = do_portion.delay(batch_id).id
    else:
        batch.ended_at = timezone.now()
    batch.save(update_fields=["looked", "done", "place", "job", "ended_at"])


def begin(id_: UUID, verb: str, chosen: Chosen, *, by: Any) -> JobBatch:
    """Begin a batch of the verb for all chosen jobs. One id begins one batch, however often it is
    asked for.
    """
    with transaction.atomic():
        until = _now()
        counted, more = batches.counted(chosen, until=until)
        columns = {
            "who": by.get_username(),
            "verb": verb,
            "chosen": chosen.fields,
            "until": until,
            "counted": counted,
            "more": more,
        }
        batch, is_new = JobBatch.objects.get_or_create(pk=id_, defaults=columns)
        if is_new:
            noted = {**chosen.fields, "jobs": batch.counted}
            StaffAction.note(by, f"job_{verb}", f"batch {id_}", said=noted)
            batch.job = do_portion.delay(str(id_)).id
            batch.save(update_fields=["job"])
    return batch


def _now() -> Any:
    """Now, by the clock of Postgres: it also says when a job was promised."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]
