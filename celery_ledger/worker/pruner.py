"""The pruner: deletes what ended long ago, batch by batch."""

from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Chord, Group, Job, Rate, Worker
from celery_ledger.worker.lead import we_lead


class Pruner:
    def __init__(self) -> None:
        self.pruned_at = monotonic()

    def prune_now_and_then(self) -> None:
        """Every PRUNE_EVERY_S, and at each call while there is more than one call takes."""
        if monotonic() - self.pruned_at >= ledger_settings.PRUNE_EVERY_S and self.prune_all():
            self.pruned_at = monotonic()

    def prune_all(self) -> bool:
        """Prune batch by batch. False when PRUNE_BATCHES were not enough: the next tick goes on."""
        return any(
            self.prune() < ledger_settings.BATCH for _ in range(ledger_settings.PRUNE_BATCHES)
        )

    def prune(self) -> int:
        """Delete a batch each of the jobs, workers, chords and groups that ended long ago, and of
        the rates whose time has passed; the size of the largest.
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
    """Delete up to BATCH of these rows."""
    ids = list(old.values_list("pk", flat=True)[: ledger_settings.BATCH])
    old.filter(pk__in=ids).delete()
    return len(ids)
