"""An export: which orders a client asked for, and the files that are made of them, part by part.

Each part is a file of its own, which an import takes: it begins with a header and holds whole
orders.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from orders.exports.bodies import bodies
from orders.exports.files import head, text_of
from orders.imports.files.reading import Format
from orders.models.client import Client
from orders.models.placed.order import Order
from values.refused import Refused, Sentence

BEFORE_ALL = UUID(int=0)  # as a place
MOMENTS = ("_after", "_before")  # how the names of filters end whose values are moments


class ExportQuerySet(models.QuerySet["Export"]):
    def begin(self, client: Client, filters: dict[str, Any], **columns: Any) -> "Export":
        """A new export of the client's orders that these filters leave, with these columns.

        Refuses with `too-many-exports` when as many of this client run as may.
        """
        Client.objects.locked(client.pk)
        most = settings.EXPORTS_RUNNING_PER_CLIENT
        if self.of(client).filter(finished_at=None).count() >= most:
            text = "%(most)s exports of yours are running. Wait until one is done."
            raise Refused("too-many-exports", Sentence(text, most=most))
        return self.create(client=client, filters=filters, **columns)

    def locked(self, pk: str) -> "Export | None":
        """The export, locked until the transaction ends; None when it was forgotten."""
        return self.select_for_update(no_key=True).filter(pk=pk).first()

    def of(self, client: Client) -> "ExportQuerySet":
        return self.filter(client=client)

    def forget(self) -> None:
        """Delete these exports and their parts, also one that is being written."""
        ids = list(self.select_for_update().order_by("pk").values_list("pk", flat=True))
        self.model.objects.filter(pk__in=ids).delete()

    def forget_old(self, limit: int) -> int:
        """Delete exports that are older than EXPORT_KEEP with their parts, up to `limit` rows."""
        old = self.filter(created_at__lt=Now() - settings.EXPORT_KEEP).order_by("created_at")
        parts = ExportPart.objects.filter(export__in=old).values_list("pk", flat=True)[:limit]
        forgotten = ExportPart.objects.filter(pk__in=list(parts)).delete()[0]
        empty = old.filter(parts=None).values_list("pk", flat=True)[: limit - forgotten]
        return forgotten + self.filter(pk__in=list(empty)).delete()[0]


class Export(models.Model):
    """An export. So many `orders` have been written so far, by the order of their ids, and `place`
    is the last of them. Orders that are placed after the export was begun are not in it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="exports")
    filters = models.JSONField()  # which orders
    form = models.TextField(choices=Format)
    bom = models.BooleanField()
    place = models.UUIDField(default=BEFORE_ALL)
    orders = models.IntegerField(default=0)
    goes_on = models.BooleanField(default=False)  # there are more than one export holds
    failed = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = ExportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="export_failed_is_finished",
                condition=Q(failed=False) | Q(finished_at__isnull=False),
            )
        ]
        indexes = [models.Index(name="export_age", fields=["created_at"])]

    def __str__(self) -> str:
        return f"{self.pk} ({self.state})"

    @property
    def state(self) -> str:
        if self.failed:
            return "failed"
        return "done" if self.finished_at else "running"

    @property
    def forgotten_at(self) -> datetime:
        moment: datetime = self.created_at + settings.EXPORT_KEEP
        return moment

    # --- verbs; the caller holds the export's lock ------------------------------------------------

    def write_part(self) -> bool:
        """Write the next part: EXPORT_PART_ORDERS, or a page more than EXPORT_PART_BYTES, at most.
        Returns whether that was the last.
        """
        form, pieces, size = Format(self.form), list[bytes](), 0
        left = min(settings.EXPORT_PART_ORDERS, settings.EXPORT_MAX_ORDERS - self.orders)
        while size < settings.EXPORT_PART_BYTES and (page := self._next(left)):
            pieces.append(text_of(bodies(page), form).encode())
            size, left = size + len(pieces[-1]), left - len(page)
            self.orders, self.place = self.orders + len(page), page[-1].pk
        if pieces:
            begin = head(form, bom=self.bom).encode()
            self.parts.create(number=self.parts.count() + 1, content=b"".join([begin, *pieces]))
        self.goes_on = bool(self._next(1))
        if not self.goes_on or self.orders >= settings.EXPORT_MAX_ORDERS:
            self.finished_at = timezone.now()
        self.save()
        return self.finished_at is not None

    def give_up(self) -> None:
        self.failed, self.finished_at = True, timezone.now()
        self.save()

    def _next(self, limit: int) -> list[Order]:
        """The next orders, a page at most. Those of one page cost four statements."""
        filters: dict[str, Any] = {
            name: datetime.fromisoformat(value) if name.endswith(MOMENTS) else value
            for name, value in self.filters.items()
        }
        chosen = Order.objects.of(self.client).narrowed(**filters)
        further = chosen.filter(pk__gt=self.place, pk__lt=self.pk).order_by("pk")
        return list(further.prefetch_related("lines")[: min(limit, settings.EXPORT_PAGE_ORDERS)])


class ExportPart(models.Model):
    """A file of an export."""

    export = models.ForeignKey(Export, on_delete=models.CASCADE, related_name="parts")
    number = models.IntegerField()  # from 1
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(name="part_once", fields=["export", "number"])]

    def __str__(self) -> str:
        return f"part {self.number} of {self.export_id}"
