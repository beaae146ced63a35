"""An order: what was bought, where it is on the belt, and the verbs that move it.

::

    received ──► reserved ──► confirmed ──► completed
        │            │             │
        └────────────┴─────────────┴──────► cancelled

The other tables of the shop live beside this file, one noun each: `clients`, `stock`, `payments`.
"""

import secrets
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.functional import cached_property
from uuid_utils.compat import uuid7

from notifications import events
from orders import snapshots
from orders.models.client import Client
from orders.models.order_line import OrderLine
from orders.models.order_queryset import OrderQuerySet
from orders.models.refund import Refund
from orders.models.stock import Stock, StockMovement
from orders.payments.models import PaymentOperation
from orders.states import (
    FULFILMENT_STATE,
    PASSING,
    PAYMENT_STATE,
    TRANSITIONS,
    UNMET,
    FulfilmentState,
    PaymentState,
    State,
)
from values.refused import Refused

if TYPE_CHECKING:
    from orders.order_input import OrderInput


class Order(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    number = models.TextField()  # for people: K7QM-3XH9
    public_token = models.TextField(unique=True)  # of the customer's status page
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="orders")
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

    email = models.TextField()
    locale = models.TextField()
    payment_token = models.TextField()
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="order_number_once", fields=["number"]),
            models.UniqueConstraint(
                name="order_external_id_once", fields=["client", "external_id"]
            ),
            models.CheckConstraint(name="order_state", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="order_charge_state",
                condition=Q(
                    charge_state__in=["none", "pending", "action_required", "authorized", "failed"]
                ),
            ),
            models.CheckConstraint(
                name="order_money",
                condition=Q(
                    total__gte=0,
                    captured__gte=0,
                    captured__lte=F("total"),
                    refunded__gte=0,
                    refunded__lte=F("captured"),
                    refund_pending__gte=0,
                )
                & Q(captured__gte=F("refunded") + F("refund_pending")),
            ),
            models.CheckConstraint(
                name="order_confirmed_is_paid",
                condition=~Q(state__in=[State.CONFIRMED, State.COMPLETED]) | Q(captured=F("total")),
            ),
            models.CheckConstraint(
                name="order_units",
                condition=Q(units__gte=0, units_fulfilled__gte=0, units_fulfilled__lte=F("units")),
            ),
        ]
        indexes = [
            models.Index(name="order_by_client", fields=["client", "-id"]),
            models.Index(name="order_by_state", fields=["client", "state", "-id"]),
            models.Index(name="order_by_email", fields=["client", "email", "-id"]),
            models.Index(
                name="order_expiry", fields=["expires_at"], condition=Q(state=State.RESERVED)
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @classmethod
    def from_input(cls, client: Client, order_input: "OrderInput") -> "Order":
        """An unsaved order of what order_input says, at its first event; it has no number yet."""
        return cls(
            client=client,
            version=1,
            public_token=secrets.token_urlsafe(18),
            external_id=order_input.external_id,
            currency=order_input.currency,
            total=order_input.total,
            email=order_input.email,
            locale=order_input.locale,
            shipping_amount=order_input.shipping.amount,
            shipping_tax=order_input.shipping.tax,
            units=sum(line.quantity for line in order_input.lines),
            payment_token=order_input.payment.token,
            metadata=order_input.metadata,
        )

    def refresh_from_db(self, *args: Any, **options: Any) -> None:
        self.__dict__.pop("own_lines", None)
        super().refresh_from_db(*args, **options)

    @cached_property
    def own_lines(self) -> list[OrderLine]:
        """Its lines in order, read once: whoever changes a line changes it here, and a snapshot
        shows it.
        """
        return list(self.lines.all())

    @property
    def is_confirmed(self) -> bool:
        return self.state == State.CONFIRMED

    @property
    def has_ended(self) -> bool:
        return not TRANSITIONS[State(self.state)]

    @property
    def is_unmet(self) -> bool:
        """Its customer never had it, and no money of theirs is here."""
        return self.state == State.CANCELLED and self.reason in UNMET and not self.captured

    @property
    def is_expired(self) -> bool:
        """Its goods have been set aside for long enough, and nobody has paid."""
        late = self.expires_at is not None and self.expires_at <= timezone.now()
        return late and self.state == State.RESERVED and not self.held

    @property
    def refundable(self) -> int:
        """Money that is neither given back nor promised back."""
        return self.captured - self.refunded - self.refund_pending

    @property
    def shipping_refundable(self) -> int:
        return self.shipping_amount + self.shipping_tax - self.shipping_refunded

    # --- verbs; the caller holds the order's lock -------------------------------------------------

    def reserve(self) -> bool:
        """Promise the goods for RESERVATION_KEEP. False, and cancelled, when something is short."""
        if not Stock.objects.reserve(self):
            self.move(State.CANCELLED, reason="out_of_stock")
            return False
        self.move(State.RESERVED, expires_at=timezone.now() + settings.RESERVATION_KEEP)
        return True

    def intend_charge(self) -> PaymentOperation:
        self.assign(charge_state="pending")
        return PaymentOperation.objects.intend_charge(self)

    def confirm(self, *, captured: int | None = None) -> None:
        """It is paid for: with that, or with what was captured before."""
        paid = self.captured if captured is None else captured
        self.move(State.CONFIRMED, captured=paid, expires_at=None)

    def cancel(self, reason: str) -> Refund | None:
        """Give the goods back, and what was paid. Raises a 409 problem for one that is sent in part
        or has ended.

        A charge that is under way goes on; if it succeeds, it is refunded. The caller promises the
        refund's job.
        """
        if self.has_ended or self.units_fulfilled:
            standing = "sent in part" if self.units_fulfilled else self.state
            raise Refused(
                "not-cancellable",
                f"Order {self.number} is {standing}; refund what should come back.",
            )
        if PaymentOperation.objects.void(self):
            self.assign(charge_state="none")
        if self.state != State.RECEIVED:
            self._withdraw_all()
        refund = Refund.objects.promise(self, reason=reason) if self.refundable else None
        self.move(State.CANCELLED, reason=reason, expires_at=None, held=False, hold_reason="")
        return refund

    def _withdraw_all(self) -> None:
        units = [(line, line.open) for line in self.own_lines if line.open]
        Stock.objects.move(self, StockMovement.Kind.RELEASED, units)
        for line, number in units:
            line.change(withdrawn=number)

    def hold(self, reason: str) -> None:
        """Put it on hold, with the reason: it is neither charged, sent nor expired meanwhile.

        The last reason stands, but one that passes by itself takes no other's place.
        """
        if not self.held or (reason != self.hold_reason and reason not in PASSING):
            self.record("order.held", held=True, hold_reason=reason)

    def release(self) -> None:
        """Release it. Its goods are set aside for as long again: nobody could pay meanwhile."""
        if self.held:
            anew = (
                {"expires_at": timezone.now() + settings.RESERVATION_KEEP}
                if self.state == State.RESERVED
                else {}
            )
            self.record("order.released", held=False, hold_reason="", **anew)

    def make_way(self) -> None:
        """Leave its external_id to the order that takes the place of this unmet one."""
        self.record("order.replaced", external_id=None)

    def note_refund_promised(self, amount: int, *, shipping: int) -> None:
        self.assign(
            refund_pending=self.refund_pending + amount,
            shipping_refunded=self.shipping_refunded + shipping,
        )

    def note_shipped(self, units: int) -> None:
        self.record("order.fulfilled", units_fulfilled=self.units_fulfilled + units)
        self._complete_when_all_is_sent()

    def note_withdrawn(self, units: int) -> None:
        """Units that were to be sent stay here. With none left, nothing of the order remains."""
        self.assign(units=self.units - units)
        if self.state == State.CONFIRMED and not self.units:
            self.move(State.CANCELLED, reason="refunded", held=False, hold_reason="")
        elif units:
            self._complete_when_all_is_sent()

    def _complete_when_all_is_sent(self) -> None:
        if self.state == State.CONFIRMED and self.units_fulfilled == self.units:
            self.move(State.COMPLETED)

    def move(self, to: State, *, reason: str = "", **changes: Any) -> None:
        """Change the state, and what changes with it, and record the event: the only way to do
        either.

        Raises ValueError for a step that TRANSITIONS does not have.
        """
        if to not in TRANSITIONS[State(self.state)]:
            raise ValueError(f"order {self.number} cannot go from {self.state} to {to}")
        self.record(f"order.{to}", state=to, reason=reason, **changes)

    def record(self, kind: str, **changes: Any) -> None:
        """Set columns, count the version up and write the event, with a snapshot of the order as it
        is then.
        """
        self.assign(version=self.version + 1, **changes)
        self.tell(kind)

    def tell(self, kind: str) -> None:
        """Write the event of this version."""
        events.record(
            kind,
            subject=self.pk,
            seq=self.version,
            owner=self.client_id,
            data={"order": self.snapshot()},
        )

    def assign(self, **changes: Any) -> None:
        """Set columns. The caller holds the lock; a state is set by `move` only."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.save(update_fields=list(changes))

    def snapshot(self) -> snapshots.Order:
        """The order as the API and the webhooks show it: JSON, money in integer minor units."""
        return {
            "id": str(self.pk),
            "number": self.number,
            "external_id": self.external_id,
            "state": State(self.state),
            "payment_state": PaymentState(self.payment_state),
            "fulfilment_state": FulfilmentState(self.fulfilment_state),
            "held": self.held,
            "hold_reason": self.hold_reason or None,
            "reason": self.reason or None,
            "version": self.version,
            "currency": self.currency,
            "total": self.total,
            "captured": self.captured,
            "refunded": self.refunded,
            "refund_pending": self.refund_pending,
            "email": self.email,
            "locale": self.locale,
            "metadata": self.metadata,
            "lines": [line.snapshot() for line in self.own_lines],
            "shipping": {"amount": self.shipping_amount, "tax": self.shipping_tax},
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "links": {
                "self": f"/v1/orders/{self.pk}",
                "events": f"/v1/orders/{self.pk}/events",
                "status_page": f"/o/{self.public_token}/",
            },
        }
