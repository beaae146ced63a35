"""The states of an order: those that are set, step by step, and those that follow from amounts and
counters.
"""

from django.db import models
from django.db.models import Case, F, Q, Value, When

TEXT = models.TextField()


class PaymentState(models.TextChoices):
    NONE = "none"
    PENDING = "pending"
    ACTION_REQUIRED = "action_required"
    AUTHORIZED = "authorized"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    FAILED = "failed"


class PaymentMethod(models.TextChoices):
    CARD = "card"  # charged by a provider
    MANUAL = "manual"  # the others are paid elsewhere, and noted here
    COD = "cod"  # when the goods are handed over
    BANK_TRANSFER = "bank_transfer"


class FulfilmentState(models.TextChoices):
    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"


class State(models.TextChoices):
    RECEIVED = "received"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ReturnState(models.TextChoices):
    ANNOUNCED = "announced"
    RECEIVED = "received"
    CANCELLED = "cancelled"


class HeldFor(models.TextChoices):
    """Why the machine itself puts an order on hold: nobody else may give these reasons."""

    RESERVATION_FAILED = "reservation_failed"
    PAYMENT_UNKNOWN = "payment_unknown"
    REFUND_UNKNOWN = "refund_unknown"
    PAID_TWICE = "paid_twice"
    DISPUTED = "disputed"
    REFUND_FAILED = "refund_failed"
    REFUNDED_BY_HAND = "refunded_by_hand"


PASSING = (HeldFor.PAYMENT_UNKNOWN, HeldFor.REFUND_UNKNOWN)  # held until the provider tells

# Reasons of a cancelled order that its customer never had, and what became of it in one word: its
# external_id may be imported again.
UNMET = {"out_of_stock": "sold_out", "payment_declined": "declined", "expired": "expired"}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.RESERVED, State.CANCELLED}),
    State.RESERVED: frozenset({State.CONFIRMED, State.CANCELLED}),
    State.CONFIRMED: frozenset({State.COMPLETED, State.CANCELLED}),
    State.COMPLETED: frozenset({State.CONFIRMED}),  # what was booked as sent was not
    State.CANCELLED: frozenset(),
}
ENDED = (State.COMPLETED, State.CANCELLED)


def under_way(path: str = "") -> Q:
    """The condition of orders that are worked on, and wait for no customer. `path`: what leads to
    the order from the rows that are asked for, as `order__`.
    """
    charging = {"state": "reserved", "payment_method": "card", "charge_state": "pending"}
    is_charged = Q(**{f"{path}{name}": value for name, value in charging.items()})
    return Q(**{f"{path}state": State.RECEIVED}) | is_charged


PAYMENT_STATE = Case(
    When(captured=0, then=F("charge_state")),
    When(refunded=0, then=Value("paid", TEXT)),
    When(refunded=F("captured"), then=Value("refunded", TEXT)),
    default=Value("partially_refunded", TEXT),
    output_field=TEXT,
)
FULFILMENT_STATE = Case(
    When(units_fulfilled=0, then=Value("none", TEXT)),
    When(units_fulfilled__lt=F("units"), then=Value("partial", TEXT)),
    default=Value("full", TEXT),
    output_field=TEXT,
)
