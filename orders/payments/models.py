"""What we intend to charge, committed before the call, so that no charge can ever be unknown to us."""

import logging
from typing import TYPE_CHECKING

from celery import current_app
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from orders.payments.provider import Bell, Charge, Intent, provider

if TYPE_CHECKING:
    from orders.models import Order

log = logging.getLogger(__name__)


class OperationQuerySet(models.QuerySet["PaymentOperation"]):
    def intend_charge(self, order: "Order") -> "PaymentOperation":
        """Write down the one charge of this locked order."""
        return self.create(
            order=order, kind=PaymentOperation.Kind.CHARGE, provider=provider().name, key=f"{order.pk}-charge",
            amount=order.total, currency=order.currency, token=order.payment_token,
        )  # fmt: skip

    def unsettled(self) -> "OperationQuerySet":
        return self.filter(state__in=(PaymentOperation.State.SENT, PaymentOperation.State.PENDING))

    def meant_by(self, provider: str, bell: Bell) -> "PaymentOperation | None":
        """The operation that an event is about. One that comes before we know the reference names ours."""
        named = Q(pk=bell.operation) | Q(key=bell.key)
        if bell.reference:
            named |= Q(reference=bell.reference)
        return self.filter(named, provider=provider).first()


class PaymentOperation(models.Model):
    """One movement of money that we ask of the provider. Its key makes the provider do it once."""

    class Kind(models.TextChoices):
        CHARGE = "charge"

    class State(models.TextChoices):
        INTENDED = "intended"  # written down, never sent
        SENT = "sent"  # the provider may know it; if this job has no verdict, ask before sending again
        PENDING = "pending"  # the provider knows it and has not decided
        SUCCEEDED = "succeeded"
        DECLINED = "declined"

    id = models.UUIDField(primary_key=True, default=uuid7)
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="operations")
    kind = models.TextField(choices=Kind)
    provider = models.TextField()
    key = models.TextField(unique=True)
    amount = models.BigIntegerField()
    currency = models.TextField()
    token = models.TextField()
    state = models.TextField(choices=State, default=State.INTENDED)
    reference = models.TextField(default="")  # the provider's id of the charge
    reason = models.TextField(default="")
    created_at = models.DateTimeField(db_default=Now())

    objects = OperationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_charge_per_order", fields=["order"], condition=Q(kind="charge")),
            models.CheckConstraint(name="operation_amount_gt_0", condition=Q(amount__gt=0)),
        ]
        indexes = [models.Index(name="operation_reference", fields=["reference"], condition=~Q(reference=""))]

    def __str__(self) -> str:
        return self.key

    @property
    def settled(self) -> bool:
        return self.state in (self.State.SUCCEEDED, self.State.DECLINED)

    def carry_out(self) -> Charge:
        """Make the charge at the provider, or find the one that an earlier attempt made.

        Talks to the outside world: no transaction may be open. Raises ProviderUnavailable and
        ProviderRefused.
        """
        desk = provider(self.provider)
        if self.state != self.State.INTENDED and (made := desk.find(self._intent())):
            return made
        self._note_sent()
        return desk.charge(self._intent())

    def ask(self) -> Charge | None:
        """What the provider's book says of it. No transaction may be open. Raises as `carry_out` does."""
        return provider(self.provider).find(self._intent())

    def _note_sent(self) -> None:
        type(self).objects.filter(pk=self.pk, state=self.State.INTENDED).update(state=self.State.SENT)

    def _intent(self) -> Intent:
        return Intent(
            key=self.key, amount=self.amount, currency=self.currency, token=self.token,
            intended_at=self.created_at, reference=self.reference,
            metadata={"order": str(self.order_id), "operation": str(self.pk)},
        )  # fmt: skip


class ProviderEventQuerySet(models.QuerySet["ProviderEvent"]):
    def hear(self, provider: str, bell: Bell) -> bool:
        """Note the event and let a job ask what is true. False when it was heard before.

        One that concerns no operation of ours is noted too: an account may serve other shops beside this one.
        """
        with transaction.atomic():
            operation = PaymentOperation.objects.meant_by(provider, bell)
            key = operation.key if operation else bell.key or bell.reference
            _, new = self.get_or_create(provider=provider, event_id=bell.event_id, defaults={"key": key})
            if operation is None:
                log.info("Event %s (%s) of %s is about nothing of ours", bell.event_id, bell.kind, provider)
            elif new:
                self._let_ask(operation)
        return new

    def _let_ask(self, operation: PaymentOperation) -> None:
        desk = current_app.signature(
            "orders.tasks.put_on_desk", (str(operation.order_id), "payment_unknown"), immutable=True
        )
        current_app.send_task("orders.tasks.heed_bell", [str(operation.pk)], link_error=desk)


class ProviderEvent(models.Model):
    """A provider's webhook, heard once. It decides nothing: a job asks the provider what is true."""

    provider = models.TextField()
    event_id = models.TextField()
    key = models.TextField()  # of the operation it is about, or else what it says it is about
    heard_at = models.DateTimeField(db_default=Now())

    objects = ProviderEventQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="provider_event_once", fields=["provider", "event_id"])]

    def __str__(self) -> str:
        return self.event_id
