"""The steps of an export: part after part in the bulk queue, until all is written."""

from celery import Task, shared_task
from django.conf import settings

from celery_ledger import bulk, context
from orders.exports.models import Export


def begin(export: Export) -> None:
    """Promise the first job of an export, and so all of them, in the caller's transaction."""
    failed = give_up.si(str(export.pk))
    with context.bound(client=str(export.client_id)), bulk():
        write_part.apply_async((str(export.pk),), link_error=failed)


@shared_task(bind=True, cancellable=True)
def write_part(self: Task, export_id: str) -> None:
    export = Export.objects.locked(export_id)
    if export and not export.write_part():
        self.replace(write_part.si(export_id))  # commits; others may go before the rest


@shared_task
def give_up(export_id: str) -> None:
    """Mark an export as failed: a part of it could not be written, or was cancelled."""
    if export := Export.objects.locked(export_id):
        export.give_up()


@shared_task
def forget_old_exports() -> int:
    """Exports are kept for EXPORT_KEEP; what one run leaves, its follow-up deletes."""
    forgotten = Export.objects.forget_old(settings.BATCH_ROWS)
    if forgotten == settings.BATCH_ROWS:
        forget_old_exports.delay()
    return forgotten
