"""Refunds: money that is given back, divided over the lines that it is for, and goods that come
back with it, or alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from orders import snapshots
from orders.models.goods import take_back
from orders.models.placed.line import Units, within
from orders.payments.models import PaymentOperation
from values.apportion import split
from values.refused import Refused, Sentence, invalid

if TYPE_CHECKING:
    from orders.models.placed.order import Order

OfLines = Mapping[int, int]  # units by the position of their line


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked back of an order: an amount, units of lines, so much of the shipping, or all
    that is left. An amount beside units is so much of what these come to. With `restock` the goods
    are taken back too; for an amount of 0, the goods alone.
    """

    amount: int | None = None
    units: Units | None = None
    restock: bool = False
    shipping: int = 0


EVERYTHING = Asked()


class RefundQuerySet(models.QuerySet["Refund"]):
    def promise(self, order: "Order", asked: Asked = EVERYTHING, *, reason: str) -> "Refund":
        """Write down a refund of this locked order, with its event.

        The caller promises the operation's job. Refuses with `nothing-to-refund` when nothing is
        left, and with `invalid` more than is left.
        """
        refund = self.write_down(order, asked, reason=reason)
        order.note_refund(refund)
        return refund

    def write_down(self, order: "Order", asked: Asked, *, reason: str) -> "Refund":
        """As `promise`, but the caller records the event."""
        goods = _goods(order, asked)
        if not (order.refundable or goods):
            detail = Sentence(f"Order %(number)s has {_nothing(asked)}.", number=order.number)
            raise Refused("nothing-to-refund", detail)
        units, shares, shipping = _divided(order, asked)
        given = sum(shares) + shipping
        if not (given or goods):
            raise invalid(("/lines", "come to no money"))
        refund = self._insert(
            order,
            reason=reason,
            amount=given,
            restock=asked.restock,
            lines=_parts(order, units, shares, goods),
            shipping=shipping,
        )
        order.assign(refund_pending=order.refund_pending + given)
        refund.count(order)
        if goods:
            take_back(order, [(line, goods.get(line.position, 0)) for line in order.own_lines])
        return refund

    def _insert(self, order: "Order", **columns: Any) -> "Refund":
        """A refund with the operation that will move its money, if there is any."""
        refund = self.model(id=uuid7(), order=order, currency=order.currency, **columns)
        if refund.amount:
            refund.operation = PaymentOperation.objects.intend_refund(order, refund)
        refund.save(force_insert=True)
        return refund


class Refund(models.Model):
    id = models.UUIDField(primary_key=True)
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="refunds")
    operation = models.OneToOneField(
        PaymentOperation, on_delete=models.PROTECT, null=True, related_name="refund"
    )
    amount = models.BigIntegerField()
    currency = models.TextField()
    reason = models.TextField()
    restock = models.BooleanField()
    # [{"position", "sku", "quantity", "restocked", "amount"}]: units whose money goes back, units
    # that are taken back, and the money
    lines = models.JSONField()
    shipping = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    objects = RefundQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="refund_moves_money_or_goods",
                condition=Q(amount__gt=0) | Q(amount=0, restock=True, operation=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    @property
    def state(self) -> Literal["pending", "succeeded", "failed"]:
        """What became of it at the provider; succeeded at once where no money moves."""
        match self.operation and self.operation.state:
            case PaymentOperation.State.DECLINED:
                return "failed"
            case None | PaymentOperation.State.SUCCEEDED:
                return "succeeded"
        return "pending"

    def count(self, order: "Order", *, sign: int = 1) -> None:
        """Note its money on the lines and the shipping of its locked order. With a sign of -1 the
        money is not given after all, and can be refunded again.
        """
        by_position = {part["position"]: part for part in self.lines}
        for line in order.own_lines:
            if part := by_position.get(line.position):
                line.change(refunded=sign * part["amount"], units_refunded=sign * part["quantity"])
        order.assign(shipping_refunded=order.shipping_refunded + sign * self.shipping)

    def snapshot(self) -> snapshots.Refund:
        return {
            "id": str(self.pk),
            "order_id": str(self.order_id),
            "state": self.state,
            "amount": self.amount,
            "currency": self.currency,
            "reason": self.reason,
            "restock": self.restock,
            "lines": self.lines,
            "shipping": self.shipping,
            "created_at": self.created_at.isoformat(),
        }


def _goods(order: "Order", asked: Asked) -> OfLines:
    """The units that are taken back: those asked for; or all that were not sent, and all whose
    money goes back now. An order that was never confirmed has none.
    """
    if not (asked.restock and order.was_confirmed):
        return {}
    if asked.units is None:
        units = [(line, max(line.open, line.units_refundable)) for line in order.own_lines]
    else:
        units = within(asked.units, of="restockable", verb="taken back")
    goods = {line.position: min(number, line.restockable) for line, number in units}
    return {position: number for position, number in goods.items() if number}


def _nothing(asked: Asked) -> str:
    if asked.restock:
        return (
            "no money left to give back, and nothing that was not sent: "
            "name the lines of which goods come back"
        )
    return "no money left to give back"


def _divided(order: "Order", asked: Asked) -> tuple[OfLines, list[int], int]:
    """Units whose money goes back, money by line, and money for the shipping."""
    if asked.shipping > order.shipping_refundable:
        left = Sentence(
            "is more than what is left of it to refund, %(left)s", left=order.shipping_refundable
        )
        raise invalid(("/shipping", left))
    if asked.units is not None or asked.shipping:
        return *_of_units(order, asked.units or [], asked), asked.shipping
    given = order.refundable if asked.amount is None else asked.amount
    if given > order.refundable:
        left = Sentence("is more than what is left to refund, %(left)s", left=order.refundable)
        raise invalid(("/amount", left))
    weights = [line.refundable for line in order.own_lines]
    *shares, shipping = split(given, [*weights, order.shipping_refundable])
    units = {}
    if given == order.refundable:
        units = {line.position: line.units_refundable for line in order.own_lines}
    return units, shares, shipping


def _of_units(order: "Order", units: Units, asked: Asked) -> tuple[OfLines, list[int]]:
    """Units whose money goes back, and money by line. Goods may come back whose money went back
    before: then they come to what is left.
    """
    if not asked.restock:
        within(units, of="units_refundable", verb="refunded")
    refunded: dict[int, int] = {}
    if asked.amount != 0:
        refunded = {line.position: min(number, line.units_refundable) for line, number in units}
    shares = [line.worth(refunded.get(line.position, 0)) for line in order.own_lines]
    if sum(shares) > order.refundable:
        left = Sentence("come to more than what is left to refund, %(left)s", left=order.refundable)
        raise invalid(("/lines", left))
    if asked.amount:
        if asked.amount > sum(shares):
            most = Sentence("is more than the lines come to, %(most)s", most=sum(shares))
            raise invalid(("/amount", most))
        shares = split(asked.amount, shares)
    return refunded, shares


def _parts(
    order: "Order", units: OfLines, shares: list[int], goods: OfLines
) -> list[dict[str, Any]]:
    parts = [
        {
            "position": line.position,
            "sku": line.sku,
            "quantity": units.get(line.position, 0),
            "restocked": goods.get(line.position, 0),
            "amount": share,
        }
        for line, share in zip(order.own_lines, shares, strict=True)
    ]
    return [part for part in parts if part["quantity"] or part["restocked"] or part["amount"]]
