"""A line of an order: so much of one sku at this price, and how much of it was sent, taken back and
paid back.
"""

from collections.abc import Iterable, Mapping

from django.db import models
from django.db.models import F, Q

from orders import snapshots
from orders.models.stock import Stock
from values.apportion import portion
from values.refused import invalid


class OrderLine(models.Model):
    order = models.ForeignKey("orders.Order", on_delete=models.CASCADE, related_name="lines")
    position = models.IntegerField()
    stock = models.ForeignKey(Stock, on_delete=models.PROTECT, related_name="+")
    sku = models.TextField()
    name = models.TextField()
    quantity = models.BigIntegerField()
    unit_price = models.BigIntegerField()
    discount = models.BigIntegerField(default=0)
    tax = models.BigIntegerField(default=0)

    fulfilled = models.BigIntegerField(default=0, db_default=0)  # units sent
    withdrawn = models.BigIntegerField(default=0, db_default=0)  # units that will not be sent
    returned = models.BigIntegerField(default=0, db_default=0)  # sent units that came back
    units_refunded = models.BigIntegerField(default=0, db_default=0)
    refunded = models.BigIntegerField(default=0, db_default=0)  # money, promised or given back

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(name="line_position_once", fields=["order", "position"]),
            models.CheckConstraint(
                name="line_amounts",
                condition=Q(quantity__gt=0, unit_price__gte=0, discount__gte=0, tax__gte=0),
            ),
            models.CheckConstraint(
                name="line_units",
                condition=Q(
                    fulfilled__gte=0, withdrawn__gte=0, returned__gte=0, units_refunded__gte=0
                )
                & Q(quantity__gte=F("fulfilled") + F("withdrawn"))
                & Q(returned__lte=F("fulfilled"), units_refunded__lte=F("quantity")),
            ),
            models.CheckConstraint(
                name="line_refunded",
                condition=Q(refunded__gte=0)
                & Q(refunded__lte=F("quantity") * F("unit_price") - F("discount") + F("tax")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price - self.discount + self.tax

    @property
    def refundable(self) -> int:
        """Money that has not been given back."""
        return self.amount - self.refunded

    @property
    def open(self) -> int:
        """Units still to be sent."""
        return self.quantity - self.fulfilled - self.withdrawn

    @property
    def units_refundable(self) -> int:
        return self.quantity - self.units_refunded

    def worth(self, units: int) -> int:
        """What so many more of its units come to, of the money that has not been given back."""
        asked = portion(self.amount, of=self.quantity, before=self.units_refunded, units=units)
        return min(asked, self.refundable)

    def change(self, **deltas: int) -> None:
        """Count up. The caller holds the order's lock; Postgres refuses what does not add up."""
        for name, delta in deltas.items():
            setattr(self, name, getattr(self, name) + delta)
        self.save(update_fields=list(deltas))

    def snapshot(self) -> snapshots.OrderLine:
        return {
            "sku": self.sku,
            "name": self.name,
            "quantity": self.quantity,
            "unit_price": self.unit_price,
            "discount": self.discount,
            "tax": self.tax,
            "fulfilled": self.fulfilled,
            "withdrawn": self.withdrawn,
            "units_refunded": self.units_refunded,
            "refunded": self.refunded,
        }


Units = list[tuple[OrderLine, int]]


def distributed(
    lines: Iterable[OrderLine], requested: Mapping[str, int], *, of: str, verb: str
) -> Units:
    """Units of skus as units of lines, each line up to its property named `of`, in the order of the
    lines.

    Raises a 422 problem that names the sku of which there are not so many.
    """
    left, found = dict(requested), []
    for line in lines:
        units = min(left.get(line.sku, 0), getattr(line, of))
        if units:
            left[line.sku] -= units
            found.append((line, units))
    short = [
        (f"/lines/{position}/quantity", f"{requested[sku] - left[sku]} of {sku} can be {verb}")
        for position, sku in enumerate(requested)
        if left[sku]
    ]
    if short:
        raise invalid(*short)
    return found
