"""What stands in an order's row, and what follows from it."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from notifications import events
from notifications.models import Shop
from notifications.models.changes import Written
from orders.models.client import Client
from orders.models.placed.particulars import Particulars
from orders.states import ENDED, FULFILMENT_STATE, PAYMENT_STATE, UNMET, PaymentMethod, State


class Columns(Particulars):
    id = models.UUIDField(primary_key=True, default=uuid7)
    number = models.TextField()  # for people: K7QM-3XH9
    public_token = models.TextField(unique=True)  # of the customer's status page
    client = models.ForeignKey(  # found by the indexes below
        Client, on_delete=models.PROTECT, related_name="orders", db_index=False
    )
    external_id = models.TextField(null=True)

    state = models.TextField(choices=State, default=State.RECEIVED)
    reason = models.TextField(default="")  # why it was cancelled
    held = models.BooleanField(default=False)
    hold_reason = models.TextField(default="", db_default="")
    version = models.IntegerField(default=0)  # counts events

    currency = models.TextField()
    total = models.BigIntegerField()
    shipping_amount = models.BigIntegerField(default=0)
    shipping_tax = models.BigIntegerField(default=0)
    shipping_refunded = models.BigIntegerField(default=0, db_default=0)  # promised or given back
    captured = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    refund_pending = models.BigIntegerField(default=0, db_default=0)  # promised, not given back yet
    # what the provider says of the charge while nothing is captured
    charge_state = models.TextField(default="none")
    payment_state = models.GeneratedField(
        expression=PAYMENT_STATE, output_field=models.TextField(), db_persist=True
    )
    units = models.BigIntegerField()  # sent or to be sent; fewer once some are withdrawn
    units_fulfilled = models.BigIntegerField(default=0)
    fulfilment_state = models.GeneratedField(
        expression=FULFILMENT_STATE, output_field=models.TextField(), db_persist=True
    )

    locale = models.TextField()
    payment_method = models.TextField(
        choices=PaymentMethod, default=PaymentMethod.CARD, db_default=PaymentMethod.CARD
    )
    payment_token = models.TextField()  # of the card that its customer has chosen
    payment_attempts = models.SmallIntegerField(default=1, db_default=1)  # cards that may be tried
    withdrawn_at = models.DateTimeField(null=True)  # its customer withdrew from the contract
    withdrawn_by = models.TextField(default="", db_default="")  # by this name, if they gave one
    # [{"position", "sku", "quantity"}]: of what, the last time; null of withdrawals from before
    withdrawn_lines = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Written())
    expires_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    @property
    def is_confirmed(self) -> bool:
        return self.state == State.CONFIRMED

    @property
    def was_confirmed(self) -> bool:
        """Its goods are for the customer: to be sent, or sent."""
        return self.state in (State.CONFIRMED, State.COMPLETED)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def was_cancelled(self) -> bool:
        """It was cancelled wholly, or completed with what was sent of it."""
        return self.has_ended and bool(self.reason)

    @property
    def is_unmet(self) -> bool:
        """Its customer never had it, and no money of theirs is here."""
        return self.state == State.CANCELLED and self.reason in UNMET and not self.captured

    @property
    def was_erased(self) -> bool:
        """Nothing tells any more for whom it was. One that was placed elsewhere, and came without
        an address, was not erased.
        """
        return not self.email and events.timeline(self.pk).filter(kind="order.erased").exists()

    @property
    def is_expired(self) -> bool:
        """Its goods have been set aside for long enough, and nobody has paid."""
        late = self.expires_at is not None and self.expires_at <= timezone.now()
        return late and self.state == State.RESERVED and not self.held

    @property
    def keep(self) -> timedelta:
        """For how long its goods are set aside for whoever has to pay."""
        of_method: timedelta | None = settings.RESERVATION_KEEP_OF.get(self.payment_method)
        return of_method or Shop.objects.of(self.client_id).reservation

    @property
    def refundable(self) -> int:
        """Money that is neither given back nor promised back."""
        return self.captured - self.refunded - self.refund_pending

    @property
    def shipping_refundable(self) -> int:
        return self.shipping_amount + self.shipping_tax - self.shipping_refunded
