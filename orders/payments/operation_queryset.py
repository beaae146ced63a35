"""Every query for operations, and how one is written down: a charge, one that was paid elsewhere, a
refund.
"""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orders.payments.provider import ELSEWHERE, EventNotice, amount_objection, provider
from values.refused import invalid

if TYPE_CHECKING:
    from orders.models.placed.order import Order
    from orders.models.refund import Refund
    from orders.payments.models import PaymentOperation


class OperationQuerySet(models.QuerySet["PaymentOperation"]):
    def intend_charge(self, order: "Order", *, attempt: int = 1) -> "PaymentOperation":
        """Write down the one charge of this locked order, in the place of those before it."""
        return self.create(
            order=order,
            kind=self.model.Kind.CHARGE,
            provider=provider().name,
            key=f"{order.pk}-charge-{attempt}" if attempt > 1 else f"{order.pk}-charge",
            amount=order.total,
            currency=order.currency,
            token=order.payment_token,
        )

    def make_way(self, order: "Order") -> int:
        """The charge of this locked order that came to nothing leaves its place to the next one.
        Returns how many have done so.
        """
        self.filter(
            order=order,
            kind=self.model.Kind.CHARGE,
            state__in=(self.model.State.DECLINED, self.model.State.VOID),
        ).update(kind=self.model.Kind.TRIED)
        return self.filter(order=order, kind=self.model.Kind.TRIED).count()

    def note_paid(self, order: "Order", *, reference: str) -> "PaymentOperation":
        """Write down that the whole of this locked order was paid elsewhere."""
        return self.create(
            order=order,
            kind=self.model.Kind.CHARGE,
            provider=ELSEWHERE,
            key=f"{order.pk}-paid",
            amount=order.total,
            currency=order.currency,
            token="",
            state=self.model.State.SUCCEEDED,
            reference=reference,
        )

    def intend_refund(self, order: "Order", refund: "Refund") -> "PaymentOperation":
        """Write down one refund of the charge that paid this locked order. Refuses with `invalid`
        an amount that its provider cannot move.
        """
        charge = self.get(order=order, kind=self.model.Kind.CHARGE)
        if objection := amount_objection(refund.amount, refund.currency, charge.provider):
            raise invalid(("/amount", objection))
        return self.create(
            order=order,
            kind=self.model.Kind.REFUND,
            provider=charge.provider,
            key=f"{order.pk}-refund-{refund.pk}",
            amount=refund.amount,
            currency=refund.currency,
            token=charge.reference,
        )

    def with_order(self, pk: Any) -> "PaymentOperation":
        return self.select_related("order").get(pk=pk)

    def charges(self) -> "OperationQuerySet":
        """The charges of these operations, with those that were tried before."""
        return self.exclude(kind=self.model.Kind.REFUND)

    def open(self) -> "OperationQuerySet":
        """The operations that the provider may know and has not decided."""
        return self.filter(state__in=(self.model.State.SENT, self.model.State.PENDING))

    def left_alone(self, limit: int) -> "OperationQuerySet":
        """Up to `limit` open ones that nobody has asked about for PAYMENT_RECONCILE_AFTER, the
        longest first.
        """
        since = Now() - settings.PAYMENT_RECONCILE_AFTER
        return (
            self.open()
            .filter(asked_at__lt=since)
            .select_related("order")
            .order_by("asked_at")[:limit]
        )

    def void(self, order: "Order") -> bool:
        """The charge of this locked order will not be made, if it has not been sent. Returns
        whether that was in time.
        """
        unsent = self.filter(
            order=order, kind=self.model.Kind.CHARGE, state=self.model.State.INTENDED
        )
        return bool(unsent.update(state=self.model.State.VOID))

    def meant_by(self, provider: str, notice: EventNotice) -> "PaymentOperation | None":
        """The operation that an event is about; None for none of ours. An event that comes before
        we know the provider's reference names our operation.

        A refund's event names the refund, and its payment too: our name for it goes first.
        """
        of_provider = self.filter(provider=provider).select_related("order")
        named = of_provider.filter(Q(pk=notice.operation) | Q(key=notice.key)).first()
        if named is None and notice.reference:
            return of_provider.filter(reference=notice.reference).first()
        return named
