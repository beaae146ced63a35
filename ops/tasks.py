"""What staff have done to many jobs at once, as jobs."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import connection, transaction
from django.utils import timezone

from celery_ledger import Job, PauseKind, pausing, scheduled
from ops.jobs import batches
from ops.jobs.choosing import Chosen
from ops.models import JobBatch, StaffAction


@shared_task
def do_portion(batch_id: str) -> None:
    """The next portion of a batch, the row that says how far it has come, and the job of the
    portion after it are one transaction.
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
    """One batch for one id, however often it is asked for."""
    with transaction.atomic():
        until = _now()
        asked = {
            "who": by.get_username(),
            "verb": verb,
            "chosen": chosen.said,
            "until": until,
            "counted": batches.counted(chosen, until=until)[0],
        }
        batch, is_new = JobBatch.objects.get_or_create(pk=id_, defaults=asked)
        if is_new:
            StaffAction.note(
                by, f"job_{verb}", f"batch {id_}", said={**chosen.said, "jobs": batch.counted}
            )
            batch.job = do_portion.delay(str(id_)).id
            batch.save(update_fields=["job"])
    return batch


def act_on_one(job: Job, verb: str, *, by: Any) -> bool:
    """False when it was beyond that by then."""
    with transaction.atomic():
        one = Job.objects.filter(pk=job.pk)
        done = bool(batches.VERBS[verb].do(one, by.get_username(), _now()))
        if done:
            said = {"task": job.task}
            StaffAction.note(
                by, f"job_{verb}", f"job {job.pk}", said=said, before={"state": job.state}
            )
    return done


def act_on_queue(verb: str, said: dict[str, str], *, by: Any) -> bool:
    """False when it was so already."""
    kind, name, note = PauseKind(said["kind"]), said["name"], said["note"]
    with transaction.atomic():
        done = ON_QUEUES[verb](kind, name, by.get_username(), note)
        if done:
            StaffAction.note(by, f"queue_{verb}", f"{kind} {name}", said={"note": note})
    return done


def _run_now(kind: PauseKind, name: str, _by: str, _note: str) -> bool:
    if kind == PauseKind.SCHEDULE:
        scheduled.run_out_of_turn(name)
    return kind == PauseKind.SCHEDULE


ON_QUEUES: dict[str, Callable[[PauseKind, str, str, str], bool]] = {
    "pause": lambda kind, name, by, note: pausing.pause(kind, name, by=by, note=note),
    "resume": lambda kind, name, by, _note: pausing.resume(kind, name, by=by),
    "run": _run_now,
}


def _now() -> Any:
    """By the clock that says when a job was promised."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]
