"""What an import came to, in numbers of orders. To count a large one takes long: a worker does, and
its count is kept until one of the orders changes.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models

from notifications.models.changes import settled_until
from orders.imports.became import CANCELLED, WAYS, ImportOrder, ImportOrderQuerySet
from orders.models.client import Client
from orders.states import UNMET


class Counts(models.Model):
    """`ok` orders were accepted and `failed` were not; `counts` tells what became of the former."""

    ok = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    # how many of its orders had gone which way, with all changes before that moment
    ways = models.JSONField(null=True)
    ways_until = models.DateTimeField(null=True)
    client_id: UUID

    class Meta:
        abstract = True

    def counts(self, ways: dict[str, int] | None = None) -> dict[str, Any]:
        """Numbers of orders: `ok` for those that are there or on their way, `failed` for the
        others, and `became` by what became of them. As they are now, or, if given, by these ways.
        """
        ways = ways or self.known_ways() or self._accepted.ways()
        became = {**ways, "refused": self.failed}
        became[CANCELLED] += self.ok + self.failed - sum(became.values())  # elsewhere, unpaid
        unmet = sum(became[way] for way in UNMET.values())
        return {"ok": self.ok - unmet, "failed": self.failed + unmet, "became": became}

    def kept_ways(self) -> dict[str, int] | None:
        """How many of its orders had gone each of WAYS at `ways_until`; None where nobody has
        counted just these.
        """
        kept = self.ways or {}
        return {way: kept[way] for way in WAYS} if kept.keys() == set(WAYS) else None

    def known_ways(self) -> dict[str, int] | None:
        """The ways that are kept, if none of its orders has changed since. None if one has, or if
        more orders of its client have than IMPORT_CHANGES_LOOKED_AT.
        """
        kept = self.kept_ways()
        if kept is None or self.ways_until is None:
            return None
        theirs, most = Client(pk=self.client_id).orders, settings.IMPORT_CHANGES_LOOKED_AT
        changed = theirs.filter(updated_at__gte=self.ways_until).order_by("-updated_at")
        ids = list(changed.values_list("pk", flat=True)[: most + 1])
        is_outdated = len(ids) > most or self._accepted.filter(order__in=ids).exists()
        return None if is_outdated else kept

    def keep_ways(self) -> int:
        """Keep the ways as they are now. Returns how many orders were counted for that: none where
        the ways that are kept are still true.
        """
        until = settled_until()
        kept = self.known_ways()
        ways = kept or self._accepted.ways()
        mine = type(self)._default_manager.filter(pk=self.pk)
        mine.update(ways=ways, ways_until=until)
        return 0 if kept else self.ok

    @property
    def _accepted(self) -> ImportOrderQuerySet:
        return ImportOrder.objects.filter(batch=self.pk)
