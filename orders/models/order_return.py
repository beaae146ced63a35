"""Returns: sent goods that are announced to come back, and what becomes of them and their money.

::

    announced ──► received
        └───────► cancelled
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from orders import snapshots
from orders.models.placed.line import OrderLine, Units, within
from orders.models.refund import Asked, Refund
from orders.models.stocked.movement import StockMovement
from orders.models.stocked.stock import Stock
from orders.states import ReturnState
from values.refused import Refused, Sentence, invalid

if TYPE_CHECKING:
    from orders.models.placed.order import Order


@dataclass(frozen=True, slots=True)
class Came:
    """So many units of a line that have arrived; `restock`: they can be sold again."""

    line: OrderLine
    quantity: int
    restock: bool = True


class ReturnQuerySet(models.QuerySet["Return"]):
    def announce(self, order: "Order", units: Units | None = None, *, reason: str) -> "Return":
        """Goods of this locked order will come back: units of lines, or all that the customer has.

        Refuses with `nothing-to-return` when there are none, with `too-many-returns`, and with
        `invalid` more units than the customer has.
        """
        has = [(line, line.returnable) for line in order.own_lines if line.returnable]
        if not has:
            detail = Sentence("Of order %(number)s nothing can come back.", number=order.number)
            raise Refused("nothing-to-return", detail)
        if self.filter(order=order).count() >= settings.RETURNS_PER_ORDER:
            detail = Sentence(
                "Order %(number)s has %(most)s returns.",
                number=order.number,
                most=settings.RETURNS_PER_ORDER,
            )
            raise Refused("too-many-returns", detail)
        units = has if units is None else within(units, of="returnable", verb="returned")
        for line, number in units:
            line.change(announced=number)
        lines = [_part(line, number, Came(line, 0)) for line, number in units]
        announced = self.create(order=order, reason=reason, lines=lines)
        order.record("order.return_announced", {"return": announced.snapshot()})
        return announced


class Return(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="returns")
    state = models.TextField(choices=ReturnState, default=ReturnState.ANNOUNCED)
    reason = models.TextField()
    # [{"position", "sku", "quantity", "received", "restocked"}]: units that were announced, that
    # arrived, and that are sold again
    lines = models.JSONField()
    refund = models.OneToOneField(Refund, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    objects = ReturnQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="return_state",
                condition=Q(state__in=ReturnState.values)
                & (Q(refund=None) | Q(state=ReturnState.RECEIVED)),
            )
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.pk}"

    # --- verbs; the caller holds the lock of `order`, which is the row it holds -----------------

    def receive(
        self, came: Sequence[Came] | None = None, *, amount: int | None = None, shipping: int = 0
    ) -> None:
        """All units of it have arrived, or these, and it is open no longer. The money for them goes
        back, or this amount of it, and so much of the shipping. The caller promises the refund's
        job.

        Refuses with `return-has-ended` where it is not open, and with `invalid` more units than
        were announced, or more money than is left.
        """
        self._must_be_open()
        if came is None:
            came = [Came(line, number) for line, number in self._units]
        self._refuse_more_than_announced(came)
        self._count(came)
        sold_again = [(each.line, each.quantity) for each in came if each.restock]
        Stock.objects.move(self.order, StockMovement.Kind.RETURNED, sold_again)
        self.refund = self._paid_back(came, amount, shipping)
        self._end(ReturnState.RECEIVED)

    def _count(self, came: Sequence[Came]) -> None:
        """Note on the order's lines, and on its own, what has arrived of each."""
        arrived = {each.line.position: each for each in came}
        lines = []
        for line, announced in self._units:
            here = arrived.get(line.position, Came(line, 0))
            line.change(announced=-announced, returned=here.quantity)
            lines.append(_part(line, announced, here))
        self.lines = lines

    def cancel(self) -> None:
        """Its goods stay with the customer. Refuses with `return-has-ended` one that came."""
        if self.state == ReturnState.CANCELLED:
            return
        self._must_be_open()
        for line, number in self._units:
            line.change(announced=-number)
        self._end(ReturnState.CANCELLED)

    @property
    def _units(self) -> Units:
        """The units that were announced."""
        return self.order.units_at(self.lines)

    def _must_be_open(self) -> None:
        if self.state != ReturnState.ANNOUNCED:
            detail = Sentence("This return is %(state)s.", state=Sentence(self.state))
            raise Refused("return-has-ended", detail)

    def _refuse_more_than_announced(self, came: Sequence[Came]) -> None:
        announced = {line.position: number for line, number in self._units}
        wrong: list[tuple[str, str]] = []
        for index, each in enumerate(came):
            number = announced.get(each.line.position, 0)
            if each.quantity > number:
                text = "%(number)s of %(sku)s are announced"
                message = Sentence(text, number=number, sku=each.line.sku)
                wrong.append((f"/lines/{index}/quantity", message))
        if wrong:
            raise invalid(*wrong)

    def _paid_back(self, came: Sequence[Came], amount: int | None, shipping: int) -> Refund | None:
        """The refund for what has arrived; None where it comes to nothing. Of units whose money
        went back before, nothing more does.
        """
        units = [(each.line, min(each.quantity, each.line.units_refundable)) for each in came]
        worth = sum(line.worth(number) for line, number in units)
        given = worth if amount is None else amount
        if not (given or shipping):
            return None
        asked = Asked(amount=amount, units=units, shipping=shipping)
        return Refund.objects.write_down(self.order, asked, reason=self.reason)

    def _end(self, state: ReturnState) -> None:
        self.state = state
        self.save(update_fields=["state", "lines", "refund"])
        self.order.record(f"order.return_{state}", {"return": self.snapshot()})

    def snapshot(self) -> snapshots.Return:
        return {
            "id": str(self.pk),
            "order_id": str(self.order_id),
            "state": ReturnState(self.state),
            "reason": self.reason,
            "lines": self.lines,
            "refund": self.refund.snapshot() if self.refund else None,
            "created_at": self.created_at.isoformat(),
        }


def _part(line: OrderLine, announced: int, came: Came) -> snapshots.ReturnLine:
    return {
        "position": line.position,
        "sku": line.sku,
        "quantity": announced,
        "received": came.quantity,
        "restocked": came.quantity if came.restock else 0,
    }
