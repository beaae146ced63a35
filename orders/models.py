"""An order: what was bought, where it is on the belt, and the verbs that move it.

::

    received ──► reserved ──► confirmed ──► completed
        │            │             │
        └────────────┴─────────────┴──────► cancelled

The other tables of the shop live beside this file, one noun each: `clients`, `stock`, `payments`.
"""

import secrets
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from notifications import events
from orders.clients import ApiKey, Client, IdempotencyKey
from orders.lines import OrderLine
from orders.payments.models import PaymentOperation, ProviderEvent
from orders.payments.provider import Charge, ChargeStatus
from orders.payments.sandbox import SandboxCharge, SandboxFailure
from orders.problems import Problem, invalid
from orders.stock import Stock, StockMovement

if TYPE_CHECKING:
    from orders.schemas import OrderDraft

__all__ = [
    "ApiKey", "Client", "IdempotencyKey", "Order", "OrderLine", "PaymentOperation", "ProviderEvent", "SandboxCharge",
    "SandboxFailure", "Stock", "StockMovement",
]  # fmt: skip

NUMBER_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # no 0/O, 1/I/L, U: read aloud without doubt
NUMBER_TRIES = 5
TEXT = models.TextField()


class State(models.TextChoices):
    RECEIVED = "received"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.RESERVED, State.CANCELLED}),
    State.RESERVED: frozenset({State.CONFIRMED, State.CANCELLED}),
    State.CONFIRMED: frozenset({State.COMPLETED, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.CANCELLED: frozenset(),
}


class OrderQuerySet(models.QuerySet["Order"]):
    def place(self, client: Client, draft: "OrderDraft") -> "Order":
        """Accept an order: its row, its lines and its first event, in the caller's transaction.

        Raises a 422 problem for an unknown sku and a 409 problem, with the Location of the first order, when the
        client has used this external_id before.
        """
        stock = {row.sku: row for row in Stock.objects.filter(sku__in={line.sku for line in draft.lines})}
        unknown = [
            (f"/lines/{at}/sku", f"no such sku: {line.sku}")
            for at, line in enumerate(draft.lines)
            if line.sku not in stock
        ]
        if unknown:
            raise invalid(*unknown)
        order = self._insert(Order.drafted(client, draft))
        OrderLine.objects.bulk_create(
            OrderLine(
                order=order, position=at, stock=stock[line.sku], sku=line.sku, name=line.name or stock[line.sku].name,
                quantity=line.quantity, unit_price=line.unit_price, discount=line.discount, tax=line.tax,
            )
            for at, line in enumerate(draft.lines)
        )  # fmt: skip
        order.record("order.received")
        return order

    def _insert(self, order: "Order") -> "Order":
        """Insert under a number nobody has; a taken external_id is a 409 problem."""
        for _ in range(NUMBER_TRIES):
            order.number = new_number()
            try:
                with transaction.atomic():
                    order.save(force_insert=True)
                return order
            except IntegrityError as exc:
                constraint = exc.__cause__.diag.constraint_name if exc.__cause__ else None  # type: ignore[attr-defined]
                if constraint == "order_external_id_once":
                    raise self._taken(order) from exc
                if constraint != "order_number_once":
                    raise
        raise RuntimeError(f"{NUMBER_TRIES} random order numbers in a row were taken")

    def _taken(self, order: "Order") -> Problem:
        first = self.get(client_id=order.client_id, external_id=order.external_id)
        detail = f"external_id {order.external_id!r} belongs to an earlier order."
        return Problem(
            409, "external-id-taken", detail,
            errors=[("/external_id", "belongs to an earlier order")], headers={"Location": f"/v1/orders/{first.pk}"},
        )  # fmt: skip

    def locked(self, pk: Any) -> "Order":
        """The order, locked until the transaction ends: before its stock rows, always."""
        return self.select_for_update(no_key=True).get(pk=pk)


class Order(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    number = models.TextField()  # for people: K7QM-3XH9
    public_token = models.TextField(unique=True)  # of the customer's status page
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="orders")
    external_id = models.TextField(null=True)

    state = models.TextField(choices=State, default=State.RECEIVED)
    reason = models.TextField(default="")  # why it was cancelled or is held
    held = models.BooleanField(default=False)
    version = models.IntegerField(default=0)  # counts events

    currency = models.TextField()
    total = models.BigIntegerField()
    shipping_amount = models.BigIntegerField(default=0)
    shipping_tax = models.BigIntegerField(default=0)
    captured = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    charge_state = models.TextField(default="none")  # what the provider says of the charge while nothing is captured
    payment_state = models.GeneratedField(
        expression=Case(
            When(captured=0, then=F("charge_state")),
            When(refunded=0, then=Value("paid", TEXT)),
            When(refunded=F("captured"), then=Value("refunded", TEXT)),
            default=Value("partially_refunded", TEXT),
            output_field=TEXT,
        ),
        output_field=models.TextField(),
        db_persist=True,
    )
    units = models.BigIntegerField()
    units_fulfilled = models.BigIntegerField(default=0)
    fulfilment_state = models.GeneratedField(
        expression=Case(
            When(units_fulfilled=0, then=Value("none", TEXT)),
            When(units_fulfilled__lt=F("units"), then=Value("partial", TEXT)),
            default=Value("full", TEXT),
            output_field=TEXT,
        ),
        output_field=models.TextField(),
        db_persist=True,
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
            models.UniqueConstraint(name="order_external_id_once", fields=["client", "external_id"]),
            models.CheckConstraint(name="order_state", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="order_charge_state",
                condition=Q(charge_state__in=["none", "pending", "action_required", "authorized", "failed"]),
            ),
            models.CheckConstraint(
                name="order_money",
                condition=Q(
                    total__gte=0,
                    captured__gte=0,
                    captured__lte=F("total"),
                    refunded__gte=0,
                    refunded__lte=F("captured"),
                ),
            ),
            models.CheckConstraint(
                name="order_confirmed_is_paid",
                condition=~Q(state__in=[State.CONFIRMED, State.COMPLETED]) | Q(captured=F("total")),
            ),
            models.CheckConstraint(
                name="order_units", condition=Q(units__gt=0, units_fulfilled__gte=0, units_fulfilled__lte=F("units"))
            ),
        ]
        indexes = [models.Index(name="order_by_client", fields=["client", "-id"])]

    def __str__(self) -> str:
        return self.number

    @classmethod
    def drafted(cls, client: Client, draft: "OrderDraft") -> "Order":
        """An unsaved order of what the draft says; it has no number yet."""
        return cls(
            client=client, public_token=secrets.token_urlsafe(18), external_id=draft.external_id,
            currency=draft.currency, total=draft.total, email=draft.email, locale=draft.locale,
            shipping_amount=draft.shipping.amount, shipping_tax=draft.shipping.tax,
            units=sum(line.quantity for line in draft.lines), payment_token=draft.payment.token,
            metadata=draft.metadata,
        )  # fmt: skip

    # --- verbs; the caller holds the order's lock ---------------------------------------------------

    def reserve(self) -> bool:
        """Promise the goods. False, and cancelled, when something is short."""
        try:
            with transaction.atomic():
                if not Stock.objects.reserve(self):
                    raise OutOfStock
        except OutOfStock:
            self.move(State.CANCELLED, reason="out_of_stock")
            return False
        self.move(State.RESERVED)
        return True

    def intend_charge(self) -> PaymentOperation:
        self._set(charge_state="pending")
        return PaymentOperation.objects.intend_charge(self)

    def level(self, operation: PaymentOperation, charge: Charge) -> None:
        """Bring our rows in line with the provider's book. Once, however often and in whatever order we hear."""
        operation.refresh_from_db()
        if operation.settled:
            return
        operation.reference, operation.reason = charge.id, charge.reason
        operation.state = PaymentOperation.State(charge.status)
        operation.save(update_fields=["reference", "reason", "state"])
        if operation.settled and self.held and self.reason == "payment_unknown":
            self.release()
        match charge.status:
            case ChargeStatus.SUCCEEDED:
                self._set(captured=charge.amount)
                self.confirm()
            case ChargeStatus.DECLINED:
                self._set(charge_state="failed")
                self.cancel("payment_declined")
            case ChargeStatus.PENDING if charge.action_required and self.charge_state != "action_required":
                self._set(charge_state="action_required")
                self.record("order.action_required")

    def confirm(self) -> None:
        self.move(State.CONFIRMED)

    def cancel(self, reason: str) -> None:
        """Give the goods back and stop."""
        Stock.objects.release(self)
        self.move(State.CANCELLED, reason=reason)

    def hold(self, reason: str) -> None:
        """Put it on the staff's desk, with the reason. One that has ended or is paid has no business there."""
        if not self.held and self.state in (State.RECEIVED, State.RESERVED):
            self._set(held=True, reason=reason)
            self.record("order.held")

    def release(self) -> None:
        """Take it off the desk."""
        self._set(held=False, reason="")
        self.record("order.released")

    def move(self, to: State, *, reason: str = "") -> None:
        """Change the state and record the event: the only line that does either.

        Raises ValueError for a step that TRANSITIONS does not have.
        """
        if to not in TRANSITIONS[State(self.state)]:
            raise ValueError(f"order {self.number} cannot go from {self.state} to {to}")
        self._set(state=to, reason=reason)
        self.record(f"order.{to}")

    def record(self, kind: str) -> None:
        """Count the version up and write the event, with a snapshot of the order as it is now."""
        self._set(version=self.version + 1)
        self.refresh_from_db(fields=["payment_state", "fulfilment_state", "created_at"])
        events.record(kind, subject=self.pk, seq=self.version, owner=self.client_id, data={"order": self.snapshot()})

    def _set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        self.save(update_fields=list(changes))

    def snapshot(self) -> dict[str, Any]:
        """The order as the API and the webhooks show it: JSON, money in integer minor units."""
        return {
            "id": str(self.pk), "number": self.number, "external_id": self.external_id, "state": self.state,
            "payment_state": self.payment_state, "fulfilment_state": self.fulfilment_state,
            "held": self.held, "reason": self.reason or None, "version": self.version,
            "currency": self.currency, "total": self.total, "captured": self.captured, "refunded": self.refunded,
            "email": self.email, "locale": self.locale, "metadata": self.metadata,
            "lines": [line.snapshot() for line in self.lines.all()],
            "shipping": {"amount": self.shipping_amount, "tax": self.shipping_tax},
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "links": {
                "self": f"/v1/orders/{self.pk}", "events": f"/v1/orders/{self.pk}/events",
                "status_page": f"/o/{self.public_token}/",
            },
        }  # fmt: skip


class OutOfStock(Exception):
    """Rolls the half-made reservation back to its savepoint."""


def new_number() -> str:
    """Eight random characters in two groups, for reading aloud."""
    letters = [secrets.choice(NUMBER_ALPHABET) for _ in range(8)]
    return f"{''.join(letters[:4])}-{''.join(letters[4:])}"
