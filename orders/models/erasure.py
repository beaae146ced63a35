"""Erasing a person: whatever tells of them goes from their ended orders, and from the events, mails
and kept answers of these; goods, amounts and what happened stay.
"""

import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from notifications import events
from orders.exports.models import Export
from orders.imports.rows import ImportRow
from orders.models.client import Client
from orders.models.idempotency_key import IdempotencyKey
from orders.models.placed.order import Order
from orders.models.placed.particulars import Particulars
from orders.states import ENDED
from values.refused import Refused, Sentence

NAMED_MAX = 5  # orders that a refusal names


class ErasureQuerySet(models.QuerySet["Erasure"]):
    def begin(self, client_id: UUID, email: str, *, by: str) -> "Erasure":
        """An erasure of this person among the orders of the client, or the one under way, in the
        caller's transaction. Refuses with `orders-under-way` while an order of theirs is, or rows
        of an import that name them.
        """
        client = Client.objects.locked(client_id)
        self._refuse_under_way(client, email)
        erasure, _ = self.get_or_create(
            client=client, email=email.lower(), finished_at=None, defaults={"by": by}
        )
        return erasure

    def _refuse_under_way(self, client: Client, email: str) -> None:
        orders = Order.objects.of(client).narrowed(email=email).exclude(state__in=ENDED)
        named = ", ".join(orders.order_by("pk").values_list("number", flat=True)[:NAMED_MAX])
        rows = ImportRow.objects.filter(batch__client=client, said__icontains=email)
        if not named and rows.exists():
            named = Sentence("an import")
        if named:
            detail = Sentence("Under way for this address: %(named)s.", named=named)
            raise Refused("orders-under-way", detail)

    def locked(self, pk: Any) -> "Erasure":
        return self.select_for_update(no_key=True).get(pk=pk)


class Erasure(models.Model):
    """The erasure of a person; when it is done, nothing here tells who it was."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="erasures")
    email = models.TextField()  # until it is done
    by = models.TextField()  # who asked for it: a key by its prefix, or a member of staff
    orders = models.IntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = ErasureQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="erasure_once", fields=["client", "email"], condition=Q(finished_at=None)
            ),
            models.CheckConstraint(
                name="erasure_forgets", condition=Q(finished_at=None) | Q(email="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} ({self.state})"

    @property
    def state(self) -> str:
        return "done" if self.finished_at else "running"

    def go_on(self) -> bool:
        """Erase some of the person's orders; True when more may be left. One that was placed since,
        and is under way, stays. The caller holds the lock.
        """
        Client.objects.locked(self.client_id)  # no export begins before this commits
        theirs = Order.objects.of(self.client).narrowed(email=self.email).filter(state__in=ENDED)
        found = theirs.some_locked(settings.ERASE_ORDERS)
        for order in found:
            _erase(order)
        self.orders += len(found)
        more = len(found) == settings.ERASE_ORDERS
        if not more:
            events.forget_address(self.email)
            self.email, self.finished_at = "", Now()
            Export.objects.of(self.client).forget()  # whose files may say it
        self.save(update_fields=["orders", "email", "finished_at"])
        return more


def _erase(order: Order) -> None:
    """Forget, in the order, its events and the answers that show it, whom it was for."""
    order.record("order.erased", **Particulars.nothing(), withdrawn_by="")
    order.remarks.all().delete()
    nobody = {"order": dict(order.particulars())}
    events.forget(order.pk, members=nobody, nulls=[["order", "withdrawal", "name"]])
    body = json.dumps(order.snapshot(), ensure_ascii=False, separators=(",", ":"))
    times = events.timeline(order.pk).values_list("at", flat=True)
    IdempotencyKey.objects.answer_anew(order, body, times=times)
