"""Refunds: money that is given back, divided over the lines that it is for, and goods that come
back with it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from orders import snapshots
from orders.models.order_line import OrderLine, Units, distributed
from orders.models.stock import Stock, StockMovement
from orders.payments.models import PaymentOperation
from values.apportion import split
from values.refused import Refused, invalid

if TYPE_CHECKING:
    from orders.models.order import Order


class RefundQuerySet(models.QuerySet["Refund"]):
    def promise(
        self,
        order: "Order",
        *,
        reason: str,
        amount: int | None = None,
        requested: Mapping[str, int] | None = None,
        restock: bool = False,
    ) -> "Refund":
        """Write down what this locked order gets back: an amount, so many units of skus, or all
        that is left.

        The caller promises the job that carries its operation out. Raises a 409 problem when
        nothing is left, and a 422 problem for more than is left.
        """
        if not order.refundable:
            raise Refused(
                "nothing-to-refund", f"Order {order.number} has no money left to give back."
            )
        lines = order.own_lines
        units, shares, shipping = _divided(order, lines, amount, requested)
        given = sum(shares) + shipping
        if not given:
            raise invalid(("/lines", "come to no money"))
        parts = _refunded_lines(lines, units, shares)
        refund = self._write_down(
            order, reason=reason, amount=given, restock=restock, lines=parts, shipping=shipping
        )
        for line, share in zip(lines, shares, strict=True):
            line.change(refunded=share, units_refunded=units.get(line.pk, 0))
        order.note_refund_promised(given, shipping=shipping)
        if restock:
            _take_back(order, [(line, units[line.pk]) for line in lines if units.get(line.pk)])
        return refund

    def _write_down(self, order: "Order", **columns: Any) -> "Refund":
        """With the operation that will move its money."""
        refund = self.create(id=uuid7(), order=order, currency=order.currency, **columns)
        refund.operation = PaymentOperation.objects.intend_refund(order, refund)
        refund.save(update_fields=["operation"])
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
    lines = models.JSONField()  # [{"position", "sku", "quantity", "amount"}]
    shipping = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    objects = RefundQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="refund_amount_gt_0", condition=models.Q(amount__gt=0))
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    @property
    def state(self) -> Literal["pending", "succeeded", "failed"]:
        """What became of it at the provider; one that has nothing to move stays pending."""
        match self.operation and self.operation.state:
            case PaymentOperation.State.SUCCEEDED:
                return "succeeded"
            case PaymentOperation.State.DECLINED:
                return "failed"
        return "pending"

    def take_back(self, order: "Order") -> None:
        """The provider has refused it: the lines of this locked order can be refunded again."""
        by_position = {line["position"]: line for line in self.lines}
        for line in order.own_lines:
            if part := by_position.get(line.position):
                line.change(refunded=-part["amount"], units_refunded=-part["quantity"])

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


def _divided(
    order: "Order", lines: list[OrderLine], amount: int | None, requested: Mapping[str, int] | None
) -> tuple[dict[int, int], list[int], int]:
    """Units by line, money by line, and money for the shipping."""
    if requested is not None:
        units = {
            line.pk: number
            for line, number in distributed(
                lines, requested, of="units_refundable", verb="refunded"
            )
        }
        shares = [line.worth(units.get(line.pk, 0)) for line in lines]
        if sum(shares) > order.refundable:
            raise invalid(
                ("/lines", f"come to more than what is left to refund, {order.refundable}")
            )
        return units, shares, 0
    given = order.refundable if amount is None else amount
    if given > order.refundable:
        raise invalid(("/amount", f"is more than what is left to refund, {order.refundable}"))
    *shares, shipping = split(
        given, [*(line.refundable for line in lines), order.shipping_refundable]
    )
    units = {line.pk: line.units_refundable for line in lines} if given == order.refundable else {}
    return units, shares, shipping


def _refunded_lines(
    lines: list[OrderLine], units: Mapping[int, int], shares: list[int]
) -> list[dict[str, Any]]:
    return [
        {
            "position": line.position,
            "sku": line.sku,
            "quantity": units.get(line.pk, 0),
            "amount": share,
        }
        for line, share in zip(lines, shares, strict=True)
        if share or units.get(line.pk)
    ]


def _take_back(order: "Order", units: Units) -> None:
    """Units that were not sent stay in the house for others; sent ones are back in it."""
    kept = [(line, min(number, line.open)) for line, number in units]
    back = [
        (line, min(number - held, line.fulfilled - line.returned))
        for (line, number), (_, held) in zip(units, kept, strict=True)
    ]
    for (line, held), (_, came) in zip(kept, back, strict=True):
        line.change(withdrawn=held, returned=came)
    Stock.objects.move(order, StockMovement.Kind.RELEASED, kept)
    Stock.objects.move(order, StockMovement.Kind.RETURNED, back)
    order.note_withdrawn(sum(held for _, held in kept))
