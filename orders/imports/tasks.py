"""The steps of an import: its chunks, one after another in the bulk queue, and its end."""

from uuid import UUID, uuid5

from celery import Task, chord, shared_task
from django.conf import settings

from celery_ledger import FINISHED, Job, State, bulk, context
from orders.imports import placing
from orders.imports.models import Import
from values.refused import Sentence

CHUNKS = UUID("6b616974-656e-5000-8000-6368756e6b73")  # the namespace of the ids of chunks' jobs


def begin(batch: Import) -> None:
    """Promise all jobs of an import, in the caller's transaction. Its chunks become due one after
    another.
    """
    chunks = [
        place_chunk.si(str(batch.pk), first).set(
            task_id=_job_of(batch, first), countdown=index * settings.IMPORT_PACE_S
        )
        for index, first in enumerate(batch.chunks)
    ]
    over = finish.si(str(batch.pk))
    with context.bound(client=str(batch.client_id)), bulk():
        chord(chunks)(over.on_error(finish.si(str(batch.pk))))


@shared_task(bind=True, max_retries=None, cancellable=True)
def place_chunk(self: Task, import_id: str, first: int) -> None:
    """Place the orders of one chunk once all chunks before it are done and there is room for its
    jobs. Until then it is tried again, the later the more chunks are ahead of it.
    """
    batch = Import.objects.find(import_id)
    front = batch.front if batch else None
    if batch is None or front is None:
        return
    if front < first or not Import.objects.take_turn():
        chunks_ahead = (first - front) // settings.IMPORT_CHUNK_ROWS
        raise self.retry(countdown=max(1, chunks_ahead) * settings.IMPORT_PACE_S)
    if not placing.work_off(batch, first):
        # commits; what follows from the placed orders comes first
        self.replace(place_chunk.si(import_id, first))


@shared_task
def finish(import_id: str) -> None:
    """Mark an import done. While a chunk of it waits, since its job died or was cancelled, its
    orders are first noted as failed.
    """
    batch = Import.objects.find(import_id)
    if batch is None or batch.finish():
        return
    _give_up_front_if_dead(batch)
    finish.apply_async((import_id,), countdown=settings.IMPORT_PACE_S)


@shared_task
def see_to_imports() -> int:
    """End the imports that nobody works on any more, whichever of their jobs a person has
    cancelled. Returns how many are running.
    """
    running = Import.objects.running(settings.BATCH_ROWS)
    for batch in running:
        if not batch.finish():
            _give_up_front_if_dead(batch)
    return len(running)


@shared_task
def count_imports() -> int:
    """Keep what the orders of large, finished imports have come to, so that nobody who looks has to
    count them. Counts as many orders in one run as a file may have, and returns how many.
    """
    counted = 0
    for batch in Import.objects.to_be_counted(settings.BATCH_ROWS):
        counted += batch.keep_ways()
        if counted >= settings.IMPORT_MAX_ROWS:
            break
    return counted


@shared_task
def forget_old_imports() -> int:
    """Finished imports are kept for IMPORT_KEEP; what one run leaves, its follow-up deletes."""
    forgotten = Import.objects.forget_old(settings.BATCH_ROWS)
    if forgotten == settings.BATCH_ROWS:
        forget_old_imports.delay()
    return forgotten


def _give_up_front_if_dead(batch: Import) -> None:
    front = batch.front
    if front is None or not Import.objects.take_turn():
        return
    job = Job.objects.filter(pk=_job_of(batch, front)).first()
    if job is None or job.state in FINISHED:
        text = "its part of the file could not be worked off: %(why)s"
        placing.give_up(batch, front, reason=Sentence(text, why=_why_not(job)))


def _why_not(job: Job | None) -> str:
    if job is None or job.state != State.DEAD:
        return Sentence("its job was cancelled")
    return str((job.error or {}).get("message", ""))


def _job_of(batch: Import, first: int) -> str:
    return str(uuid5(CHUNKS, f"{batch.pk} {first}"))
