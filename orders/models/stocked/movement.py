"""The stock's book: every movement that made the counters what they are."""

from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orders import snapshots


class StockMovement(models.Model):
    """An entry in the stock's book, never edited: the deltas of one sku add up to its counters."""

    class Kind(models.TextChoices):
        COUNTED = "counted"
        ADJUSTED = "adjusted"
        RESERVED = "reserved"
        RELEASED = "released"
        SHIPPED = "shipped"
        UNSHIPPED = "unshipped"  # it had been booked by mistake
        RETURNED = "returned"

    stock = models.ForeignKey(
        "orders.Stock", on_delete=models.PROTECT, related_name="movements", db_index=False
    )
    order = models.ForeignKey(
        "orders.Order", on_delete=models.PROTECT, null=True, related_name="movements"
    )
    kind = models.TextField(choices=Kind)
    on_hand_delta = models.BigIntegerField()
    reserved_delta = models.BigIntegerField()
    reason = models.TextField(default="", db_default="")  # why somebody counted or adjusted
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(name="stock_movement_of", fields=["stock", "-id"])]
        constraints = [
            models.UniqueConstraint(
                name="stock_reserved_once", fields=["order", "stock"], condition=Q(kind="reserved")
            ),
            models.CheckConstraint(
                name="stock_movement_kind",
                condition=Q(
                    kind__in=[
                        "counted",
                        "adjusted",
                        "reserved",
                        "released",
                        "shipped",
                        "unshipped",
                        "returned",
                    ]
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.stock_id}"

    def snapshot(self, *, to: UUID) -> snapshots.StockMovement:
        """The movement as this client sees it: the order is named if it is the client's own."""
        is_own = self.order is not None and self.order.client_id == to
        return {
            "id": self.pk,
            "sku": self.stock.sku,
            "kind": self.Kind(self.kind).value,
            "on_hand_delta": self.on_hand_delta,
            "reserved_delta": self.reserved_delta,
            "reason": self.reason or None,
            "order_id": str(self.order_id) if is_own else None,
            "created_at": self.created_at.isoformat(),
        }


SIGNS = {  # what a unit does to on_hand and to reserved
    StockMovement.Kind.RELEASED: (0, -1),
    StockMovement.Kind.SHIPPED: (-1, -1),
    StockMovement.Kind.UNSHIPPED: (1, 1),
    StockMovement.Kind.RETURNED: (1, 0),
}
