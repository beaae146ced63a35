"""Fulfilments: goods that have left the house."""

from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from orders import snapshots
from orders.models.carriers import tracking_url
from orders.models.placed.line import Units, within
from orders.models.stocked.movement import StockMovement
from orders.models.stocked.stock import Stock
from orders.payments.paying import collect
from orders.states import PaymentMethod
from values.refused import Refused, Sentence

if TYPE_CHECKING:
    from orders.models.placed.order import Order


class FulfilmentQuerySet(models.QuerySet["Fulfilment"]):
    def ship(
        self,
        order: "Order",
        requested: Units | None = None,
        *,
        carrier: str = "",
        tracking: str = "",
    ) -> "Fulfilment":
        """Send goods of this locked order: units of lines, or all that is open.

        Refuses with `not-fulfillable` when the order is not to be sent, and with `invalid` more
        than is open.
        """
        _refuse_unless_confirmed(order)
        collect(order)
        units = order.open_units if requested is None else within(requested, of="open", verb="sent")
        for line, number in units:
            line.change(fulfilled=number)
        Stock.objects.move(order, StockMovement.Kind.SHIPPED, units)
        sent = [
            {"position": line.position, "sku": line.sku, "quantity": number}
            for line, number in units
        ]
        fulfilment = self.create(order=order, lines=sent, carrier=carrier, tracking=tracking)
        order.note_shipped(fulfilment, sum(number for _, number in units))
        return fulfilment


def _refuse_unless_confirmed(order: "Order") -> None:
    if order.is_confirmed and not order.held:
        return
    detail = Sentence(
        "Order %(number)s is %(state)s; only a confirmed one is sent.",
        number=order.number,
        state=Sentence("held" if order.held else order.state),
    )
    raise Refused("not-fulfillable", detail)


class Fulfilment(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="fulfilments")
    lines = models.JSONField()  # [{"position", "sku", "quantity"}]
    carrier = models.TextField(default="")
    tracking = models.TextField(default="")
    created_at = models.DateTimeField(db_default=Now())
    cancelled_at = models.DateTimeField(null=True)  # it was booked by mistake

    objects = FulfilmentQuerySet.as_manager()

    def __str__(self) -> str:
        return self.tracking or str(self.pk)

    @property
    def tracking_url(self) -> str | None:
        return tracking_url(self.carrier, self.tracking)

    @property
    def shown_number(self) -> str:
        """The parcel's number for people to read; empty where the shop gave an address in its
        place.
        """
        return "" if self.tracking == self.tracking_url else self.tracking

    def cancel(self) -> None:
        """Take back what was booked by mistake: its goods are to be sent again. The caller holds
        the lock of `order`, which is the row that it holds.

        Refuses with `fulfilment-not-cancellable` once something of it has come back, is announced
        to, or was paid back, and when cash was collected with it; with `order-erased` when nobody
        knows any more where to send the goods.
        """
        if self.cancelled_at:
            return
        self.order.refuse_erased()
        self._refuse_collected()
        units = self.order.units_at(self.lines)
        _refuse_gone(units)
        for line, number in units:
            line.change(fulfilled=-number)
        Stock.objects.move(self.order, StockMovement.Kind.UNSHIPPED, units)
        self.cancelled_at = timezone.now()
        self.save(update_fields=["cancelled_at"])
        self.order.note_unshipped(self, sum(number for _, number in units))

    def _refuse_collected(self) -> None:
        if self.order.payment_method == PaymentMethod.COD and self.order.captured:
            text = "What order %(number)s costs is noted as collected with it."
            detail = Sentence(text, number=self.order.number)
            raise Refused("fulfilment-not-cancellable", detail)

    def snapshot(self) -> snapshots.Fulfilment:
        return {
            "id": str(self.pk),
            "order_id": str(self.order_id),
            "lines": self.lines,
            "carrier": self.carrier or None,
            "tracking": self.tracking or None,
            "tracking_url": self.tracking_url,
            "created_at": self.created_at.isoformat(),
            "cancelled_at": self.cancelled_at.isoformat() if self.cancelled_at else None,
        }


def _refuse_gone(units: Units) -> None:
    """Refuses units of which some have come back, are announced to, or were paid back."""
    for line, number in units:
        if number > line.unsendable:
            text = "Of %(sku)s, something has come back, is announced to, or was paid back."
            raise Refused("fulfilment-not-cancellable", Sentence(text, sku=line.sku))
