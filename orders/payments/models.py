"""What we intend to charge or give back, committed before the call, so that no money moves unknown
to us.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from celery_ledger import outside
from orders import snapshots
from orders.payments.operation_queryset import OperationQuerySet
from orders.payments.provider import Charge, ChargeStatus, Intent, provider

if TYPE_CHECKING:
    from orders.models.placed.order import Order

SHOWN: dict[str, snapshots.AttemptState] = {
    "succeeded": "succeeded",
    "declined": "failed",
    "void": "withdrawn",
}


class PaymentOperation(models.Model):
    """One movement of money that we ask of the provider. Its key makes the provider do it once."""

    class Kind(models.TextChoices):
        CHARGE = "charge"
        REFUND = "refund"
        TRIED = "tried"  # a charge that came to nothing, and whose order has another

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
    # what its customer has to do, while that is so: shown to whoever asks for the payment and
    # nowhere else, since who knows it can pay
    action = models.JSONField(null=True)
    # what the provider says while it is pending, where that may take long
    may_take_until = models.DateTimeField(null=True)
    # the customer has asked the bank for it back, and the staff was told so; of which disputes
    disputed = models.BooleanField(default=False, db_default=False)
    disputes = ArrayField(models.TextField(), null=True)
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
    def is_refund(self) -> bool:
        return self.kind == self.Kind.REFUND

    @property
    def is_open(self) -> bool:
        """Whether, by its row as it is now, the provider may know it and has not decided."""
        return type(self).objects.open().filter(pk=self.pk).exists()

    @property
    def is_moot(self) -> bool:
        """Whether it is a charge that nobody wants any more, sent so long ago that whoever sent it
        has ended.
        """
        late = self.created_at < timezone.now() - settings.PAYMENT_MOOT_AFTER
        return late and self.kind == self.Kind.CHARGE and self.order.state == "cancelled"

    def is_wanted_by(self, order: "Order") -> bool:
        """Whether its order is not cancelled, and its customer has chosen no other card."""
        return order.state != "cancelled" and self.token == order.payment_token

    @property
    def may_take_long(self) -> bool:
        return self.may_take_until is not None and self.may_take_until > timezone.now()

    def as_noted(self) -> Charge:
        """The answer for an operation past every provider: it has succeeded once it is noted."""
        return Charge(
            self.reference, self.key, self.amount, self.currency, status=ChargeStatus.SUCCEEDED
        )

    def attempt(self) -> snapshots.Attempt:
        """A charge as the API shows it."""
        waits: snapshots.AttemptState = "action_required" if self.action else "pending"
        return {
            "id": str(self.pk),
            "provider": self.provider,
            "state": SHOWN.get(self.state, waits),
            "amount": self.amount,
            "reason": self.reason or None,
            "reference": self.reference or None,
            "created_at": self.created_at.isoformat(),
        }

    def exchange(self) -> Charge | None:
        """Make the operation at the provider, or find what an earlier attempt made. None when it
        may not be made (any more).

        Talks to the outside world: no transaction may be open. Raises ProviderUnavailable and
        ProviderRefused.
        """
        if self.state != self.State.INTENDED and (made := self.ask()):
            return made
        if not self._note_sent():
            return None
        other_side, intent = provider(self.provider), self._intent()
        make = other_side.refund if self.is_refund else other_side.charge
        with outside():
            return make(intent)

    def ask(self) -> Charge | None:
        """The operation as the provider's book has it; None where it does not. No transaction may
        be open. Raises as `exchange` does.

        A charge that waits for a customer who has left it, or could still be paid after it has
        failed, is called off: nobody pays for it later.
        """
        type(self).objects.filter(pk=self.pk).update(asked_at=Now())
        answer = self.look_up()
        if answer is None or self.is_refund:
            return answer
        left = answer.action_required and not self.is_wanted_by(self.order)
        return self._called_off(answer) if left or self._may_come_back(answer) else answer

    def look_up(self) -> Charge | None:
        """As `ask`, but it is neither called off nor is the asking noted."""
        other_side, intent = provider(self.provider), self._intent()
        find = other_side.find_refund if self.is_refund else other_side.find
        with outside():
            return find(intent)

    def _called_off(self, answer: Charge) -> Charge | None:
        """Call it off at the provider. Returns what became of it; a failure keeps its reason."""
        other_side, intent = provider(self.provider), self._intent()
        with outside():
            ended = other_side.call_off(intent)
        return answer if ended is None or ended.status == answer.status else ended

    def _may_come_back(self, answer: Charge) -> bool:
        """Whether it failed and its customer, who was shown how to pay for it, still could."""
        with_action = type(self).objects.filter(pk=self.pk, action__isnull=False)
        return answer.still_payable and with_action.exists()

    def note(self, charge: Charge) -> None:
        """Take the provider's answer over into its columns."""
        self.reference, self.reason = charge.id, charge.reason
        self.state = self.State(charge.status)
        self.action = charge.action if charge.status == ChargeStatus.PENDING else None
        self.may_take_until = charge.may_take_until
        changed = ["reference", "reason", "state", "action", "may_take_until"]
        self.save(update_fields=changed)

    def note_disputes(self, ids: Sequence[str]) -> bool:
        """Write the ids of its disputes down, the newest first. Returns whether one is news: the
        provider goes on naming a dispute, also when it is over. The caller holds the lock of its
        order. A release before this noted that there was one and not which: it was the oldest.
        """
        before = self.disputes or (ids[-1:] if self.disputed else [])
        if not set(ids).difference(self.disputes or []):
            return False
        self.disputed, self.disputes = True, list(ids)
        self.save(update_fields=["disputed", "disputes"])
        return not set(ids).issubset(before)

    def _note_sent(self) -> bool:
        """Note that from here on the provider may know it. False when nobody wants it any more: a
        charge needs a reserved order, and is not begun while a person looks at it.

        An order that is cancelled after this line and before the call is charged, and gets its
        money back. `asked_at` keeps others from asking about it meanwhile: what the provider does
        not know yet would be taken for never made.
        """
        intended, sent = Q(state=self.State.INTENDED), Q(state=self.State.SENT)
        still_due = intended | sent
        if self.kind == self.Kind.CHARGE:
            begun_or_free = sent | (intended & Q(order__held=False))
            still_due = Q(order__state="reserved") & begun_or_free
        due = type(self).objects.filter(still_due, pk=self.pk)
        return bool(due.update(state=self.State.SENT, asked_at=Now()))

    def _intent(self) -> Intent:
        return Intent(
            key=self.key,
            amount=self.amount,
            currency=self.currency,
            token=self.token,
            intended_at=self.created_at,
            reference=self.reference,
            return_url=f"{settings.SITE_URL}/o/{self.order.public_token}/",
            metadata={"order": str(self.order_id), "operation": str(self.pk)},
        )
