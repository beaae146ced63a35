"""The pruner: deletes old rows, batch by batch."""

from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Chord, Group, Job, Rate, Worker
from celery_ledger.worker.lead import we_lead


class Pruner:
    """The clock's part that deletes rows that are older than KEEP."""

    def __init__(self) -> None:
        self.pruned_at = monotonic()

    def prune_now_and_then(self) -> None:
        """Prune every PRUNE_EVERY_S; and at each call, as long as one call does not delete all."""
        if monotonic() - self.pruned_at >= ledger_settings.PRUNE_EVERY_S and self.prune_all():
            self.pruned_at = monotonic()

    def prune_all(self) -> bool:
        """Delete up to PRUNE_BATCHES batches. False when that was not enough; the next tick goes
        on.
        """
        return any(
            self.prune() < ledger_settings.BATCH for _ in range(ledger_settings.PRUNE_BATCHES)
        )

    def prune(self) -> int:
        """Delete a batch each of old jobs, workers, chords and groups, and of rates that say
        nothing any more. Returns the size of the largest batch; 0 if another clock prunes.
        """
        with transaction.atomic():
            if not we_lead("prune"):
                return 0
            before = timezone.now() - ledger_settings.KEEP
            return max(
                Job.objects.prune(before=before, limit=ledger_settings.BATCH),
                _delete_some(Worker.objects.filter(seen_at__lt=before)),
                _delete_some(Chord.objects.filter(fired=True, created_at__lt=before)),
                _delete_some(Group.objects.filter(created_at__lt=before)),
                _delete_some(Rate.objects.over()),
            )


def _delete_some(old: QuerySet[Any]) -> int:
    """Delete up to BATCH of these rows; return how many."""
    ids = list(old.values_list("pk", flat=True)[: ledger_settings.BATCH])
    old.filter(pk__in=ids).delete()
    return len(ids)
