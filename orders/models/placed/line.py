"""A line of an order: so much of one sku at this price, and how much of it was sent, taken back and
paid back.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q

from orders import snapshots
from orders.models.stocked.stock import Stock
from values.apportion import portion
from values.refused import Sentence, invalid

if TYPE_CHECKING:
    from orders.inputs.order import UnitsInput


class OrderLine(models.Model):
    order = models.ForeignKey(  # found by the constraint below
        "orders.Order", on_delete=models.CASCADE, related_name="lines", db_index=False
    )
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
    announced = models.BigIntegerField(default=0, db_default=0)  # sent units of open returns
    returned = models.BigIntegerField(default=0, db_default=0)  # sent units that came back
    units_refunded = models.BigIntegerField(default=0, db_default=0)
    refunded = models.BigIntegerField(default=0, db_default=0)  # money, promised or given back

    class Meta:
        ordering = ["position"]
        indexes = [models.Index(name="line_by_sku", fields=["sku", "-order"])]
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
                name="line_units_announced",
                condition=Q(announced__gte=0, fulfilled__gte=F("announced") + F("returned")),
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
    def title(self) -> str:
        """The name under which it is shown: its sku, if it was sold without a name."""
        return self.name or self.sku

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
    def restockable(self) -> int:
        """Units that can be taken back: still to be sent, or with the customer."""
        return self.open + self.returnable

    @property
    def returnable(self) -> int:
        """Units that the customer has, and that no open return announces."""
        return self.fulfilled - self.announced - self.returned

    @property
    def unsendable(self) -> int:
        """Sent units that have not come back, are not announced, and were not paid back."""
        return min(self.returnable, self.fulfilled + self.withdrawn - self.units_refunded)

    @property
    def units_refundable(self) -> int:
        return self.quantity - self.units_refunded

    def worth(self, units: int) -> int:
        """The money for so many more of its units, of what has not been given back."""
        asked = portion(self.amount, of=self.quantity, before=self.units_refunded, units=units)
        return min(asked, self.refundable)

    def change(self, **deltas: int) -> None:
        """Add these deltas to its counters, and save it. The caller holds the order's lock;
        Postgres refuses counters that do not add up.
        """
        changed = [name for name, delta in deltas.items() if delta]
        for name in changed:
            setattr(self, name, getattr(self, name) + deltas[name])
        if changed:
            self.save(update_fields=changed)

    def snapshot(self) -> snapshots.OrderLine:
        return {
            "position": self.position,
            "sku": self.sku,
            "name": self.title,
            "quantity": self.quantity,
            "unit_price": self.unit_price,
            "discount": self.discount,
            "tax": self.tax,
            "fulfilled": self.fulfilled,
            "withdrawn": self.withdrawn,
            "announced": self.announced,
            "returned": self.returned,
            "units_refunded": self.units_refunded,
            "refunded": self.refunded,
        }


Units = list[tuple[OrderLine, int]]


def named(lines: Sequence[OrderLine], requested: Sequence["UnitsInput"]) -> Units:
    """The lines of an order that are asked for, each with how many units of it.

    Refuses with `invalid`, and names what leads to no line, to more than one, or to one twice.
    """
    found: Units = []
    wrong: list[tuple[str, str]] = []
    for index, units in enumerate(requested):
        match _meant(lines, units):
            case OrderLine() as line:
                found.append((line, units.quantity))
            case field, message:
                wrong.append((f"/lines/{index}/{field}", message))
    if len({line.position for line, _ in found}) < len(found):
        wrong.append(("/lines", "name each line once"))
    if wrong:
        raise invalid(*wrong)
    return found


def _meant(lines: Sequence[OrderLine], units: "UnitsInput") -> OrderLine | tuple[str, str]:
    """The one line that these units name, or the field by which they do not and a message."""
    if units.position is not None:
        return _at_position(lines, units)
    of_sku = [line for line in lines if line.sku == units.sku]
    if not of_sku:
        return "sku", Sentence("no line of the order is of this sku: %(sku)s", sku=units.sku)
    if len(of_sku) > 1:
        positions = ", ".join(str(line.position) for line in of_sku)
        return "sku", Sentence(
            "lines %(positions)s are of this sku: name the line by its position",
            positions=positions,
        )
    return of_sku[0]


def _at_position(
    lines: Sequence[OrderLine], units: "UnitsInput"
) -> OrderLine | tuple[str, Sentence]:
    line = next((line for line in lines if line.position == units.position), None)
    if line is None:
        text = "the lines of the order are 0 to %(last)s"
        return "position", Sentence(text, last=len(lines) - 1)
    if units.sku not in (None, line.sku):
        text = "line %(position)s is of another sku: %(sku)s"
        return "sku", Sentence(text, position=units.position, sku=line.sku)
    return line


def within(units: Units, *, of: str, verb: str) -> Units:
    """These units, if each line has so many by its property named `of`. Refuses with `invalid`, and
    names the lines that do not: so many of them can be `verb`, like "sent".
    """
    short: list[tuple[str, str]] = []
    for index, (line, number) in enumerate(units):
        most = getattr(line, of)
        if number > most:
            message = Sentence(f"%(number)s of %(sku)s can be {verb}", number=most, sku=line.sku)
            short.append((f"/lines/{index}/quantity", message))
    if short:
        raise invalid(*short)
    return units
