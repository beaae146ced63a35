"""What we intend to charge or give back, committed before the call, so that no money moves unknown
to us.
"""

import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from celery_ledger import outside
from orders.payments.provider import Charge, EventNotice, Intent, amount_objection, provider
from values.refused import invalid

if TYPE_CHECKING:
    from orders.models.order import Order
    from orders.models.refund import Refund

log = logging.getLogger(__name__)


class OperationQuerySet(models.QuerySet["PaymentOperation"]):
    def intend_charge(self, order: "Order") -> "PaymentOperation":
        """Write down the one charge of this locked order."""
        return self.create(
            order=order,
            kind=PaymentOperation.Kind.CHARGE,
            provider=provider().name,
            key=f"{order.pk}-charge",
            amount=order.total,
            currency=order.currency,
            token=order.payment_token,
        )

    def intend_refund(self, order: "Order", refund: "Refund") -> "PaymentOperation":
        """Write down one refund of this locked order's charge. Raises a 422 problem for an amount
        that its provider cannot move.
        """
        charge = self.get(order=order, kind=PaymentOperation.Kind.CHARGE)
        if said := amount_objection(refund.amount, refund.currency, charge.provider):
            raise invalid(("/amount", said))
        return self.create(
            order=order,
            kind=PaymentOperation.Kind.REFUND,
            provider=charge.provider,
            key=f"{order.pk}-refund-{refund.pk}",
            amount=refund.amount,
            currency=refund.currency,
            token=charge.reference,
        )

    def with_order(self, pk: Any) -> "PaymentOperation":
        return self.select_related("order").get(pk=pk)

    def open(self) -> "OperationQuerySet":
        return self.filter(state__in=(PaymentOperation.State.SENT, PaymentOperation.State.PENDING))

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
        """The charge of this locked order will not be made, if it has not been sent: whether that
        was in time.
        """
        unsent = self.filter(
            order=order, kind=PaymentOperation.Kind.CHARGE, state=PaymentOperation.State.INTENDED
        )
        return bool(unsent.update(state=PaymentOperation.State.VOID))

    def meant_by(self, provider: str, notice: EventNotice) -> "PaymentOperation | None":
        """The operation that an event is about. One that comes before we know the reference names
        ours.

        A refund's event names the refund, and its payment too: the name of ours goes first.
        """
        of_provider = self.filter(provider=provider).select_related("order")
        named = of_provider.filter(Q(pk=notice.operation) | Q(key=notice.key)).first()
        return named or (
            of_provider.filter(reference=notice.reference).first() if notice.reference else None
        )


class PaymentOperation(models.Model):
    """One movement of money that we ask of the provider. Its key makes the provider do it once."""

    class Kind(models.TextChoices):
        CHARGE = "charge"
        REFUND = "refund"

    class State(models.TextChoices):
        INTENDED = "intended"  # written down, never sent
        # the provider may know it; if this job has no verdict, ask before sending again
        SENT = "sent"
        PENDING = "pending"  # the provider knows it and has not decided
        SUCCEEDED = "succeeded"
        DECLINED = "declined"
        VOID = "void"  # never made: the order was cancelled before

    ENDED = (State.SUCCEEDED, State.DECLINED, State.VOID)

    id = models.UUIDField(primary_key=True, default=uuid7)
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="operations")
    kind = models.TextField(choices=Kind)
    provider = models.TextField()
    key = models.TextField(unique=True)
    amount = models.BigIntegerField()
    currency = models.TextField()
    token = models.TextField()  # of a refund: the provider's id of the charge
    state = models.TextField(choices=State, default=State.INTENDED)
    reference = models.TextField(default="")  # the provider's id of it
    reason = models.TextField(default="")
    # the customer has asked the bank for it back, and the staff was told so
    disputed = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=Now())
    # when the provider was last asked for it, or about it
    asked_at = models.DateTimeField(db_default=Now())

    objects = OperationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_charge_per_order", fields=["order"], condition=Q(kind="charge")
            ),
            models.CheckConstraint(name="operation_amount_gt_0", condition=Q(amount__gt=0)),
        ]
        indexes = [
            models.Index(
                name="operation_reference", fields=["reference"], condition=~Q(reference="")
            ),
            models.Index(
                name="operation_open",
                fields=["asked_at"],
                condition=Q(state__in=["sent", "pending"]),
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def has_ended(self) -> bool:
        return self.state in self.ENDED

    @property
    def is_open(self) -> bool:
        """As the row says now: the provider may know it, and has not said how it ends."""
        return type(self).objects.open().filter(pk=self.pk).exists()

    @property
    def is_moot(self) -> bool:
        """A charge that nobody wants any more, sent so long ago that whoever sent it has ended."""
        late = self.created_at < timezone.now() - settings.PAYMENT_MOOT_AFTER
        return late and self.kind == self.Kind.CHARGE and self.order.state == "cancelled"

    def exchange(self) -> Charge | None:
        """Make it at the provider, or find what an earlier attempt made. None when it may not be
        made (any more).

        Talks to the outside world: no transaction may be open. Raises ProviderUnavailable and
        ProviderRefused.
        """
        if self.state != self.State.INTENDED and (made := self.ask()):
            return made
        if not self._note_sent():
            return None
        other_side, intent = provider(self.provider), self._intent()
        make = other_side.charge if self.kind == self.Kind.CHARGE else other_side.refund
        with outside():
            return make(intent)

    def ask(self) -> Charge | None:
        """What the provider's book says of it. No transaction may be open. Raises as `exchange`
        does.
        """
        type(self).objects.filter(pk=self.pk).update(asked_at=Now())
        return self.look_up()

    def look_up(self) -> Charge | None:
        """As `ask`, and leaves no trace."""
        other_side, intent = provider(self.provider), self._intent()
        find = other_side.find if self.kind == self.Kind.CHARGE else other_side.find_refund
        with outside():
            return find(intent)

    def call_off(self) -> Charge | None:
        """Nobody wants this charge any more, and the provider has it wait for its customer. As
        `ask`.
        """
        other_side, intent = provider(self.provider), self._intent()
        with outside():
            return other_side.call_off(intent)

    def note(self, charge: Charge) -> None:
        """Take over what the provider says."""
        self.reference, self.reason, self.state = (
            charge.id,
            charge.reason,
            self.State(charge.status),
        )
        self.save(update_fields=["reference", "reason", "state"])

    def note_dispute(self) -> bool:
        """Whether that is news: the provider goes on telling of a dispute, also when it is over."""
        unheard = type(self).objects.filter(pk=self.pk, disputed=False)
        return bool(unheard.update(disputed=True))

    def _note_sent(self) -> bool:
        """From here on the provider may know it. False when nobody wants it: a charge needs a
        reserved order, and is not begun while a person looks at it.

        An order that is cancelled after this line and before the call is charged, and gets its
        money back. Nobody reconciles what is just being made: not known yet would be taken for
        never made.
        """
        still_due = Q(state__in=(self.State.INTENDED, self.State.SENT))
        if self.kind == self.Kind.CHARGE:
            begun_or_free = Q(state=self.State.SENT) | Q(
                state=self.State.INTENDED, order__held=False
            )
            still_due = Q(order__state="reserved") & begun_or_free
        noted = {"state": self.State.SENT, "asked_at": Now()}
        return bool(type(self).objects.filter(still_due, pk=self.pk).update(**noted))

    def _intent(self) -> Intent:
        return Intent(
            key=self.key,
            amount=self.amount,
            currency=self.currency,
            token=self.token,
            intended_at=self.created_at,
            reference=self.reference,
            metadata={"order": str(self.order_id), "operation": str(self.pk)},
        )


class ProviderEventQuerySet(models.QuerySet["ProviderEvent"]):
    def record(self, provider: str, notice: EventNotice) -> "PaymentOperation | None":
        """Note the event, in the caller's transaction. Returns the operation to ask about, None
        when it was noted before.

        One that concerns no operation of ours is noted too: an account may serve other shops beside
        this one.
        """
        operation = PaymentOperation.objects.meant_by(provider, notice)
        key = operation.key if operation else notice.key or notice.reference
        identity = {"provider": provider, "event_id": notice.event_id}
        _, is_new = self.get_or_create(**identity, defaults={"key": key})
        if operation is None:
            about = (notice.event_id, notice.kind, provider)
            log.info("Event %s (%s) of %s is about nothing of ours", *about)
        return operation if is_new else None


class ProviderEvent(models.Model):
    """A provider's webhook, heard once, decides nothing: a job asks the provider what is true."""

    provider = models.TextField()
    event_id = models.TextField()
    key = models.TextField()  # of the operation it is about, or else what it says it is about
    heard_at = models.DateTimeField(db_default=Now())

    objects = ProviderEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="provider_event_once", fields=["provider", "event_id"])
        ]

    def __str__(self) -> str:
        return self.event_id
