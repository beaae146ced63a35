"""What staff can do to an order: each verb is rehearsed before it is done, so that its page says in
figures what it comes to, and leaves a row of who did it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from notifications import events
from notifications.models import Delivery
from ops.models import StaffAction
from ops.orders.forms import (
    CancelForm,
    FulfilForm,
    HoldForm,
    PaidForm,
    RefundForm,
    VerbForm,
    units_of,
)
from orders.models import Asked, Fulfilment, Order, Refund
from orders.payments.paying import mark_paid
from orders.states import PaymentMethod, State
from orders.tasks import give_back, go_on
from values import money
from values.refused import invalid

Said = Mapping[str, Any]
STANDING = ("version", "state", "payment_state", "captured", "refunded", "refund_pending", "held")


class Overtaken(Exception):
    """The order is not any more as the page showed it."""


@dataclass(frozen=True)
class Verb:
    word: Promise
    may: Callable[[Order], bool]
    do: Callable[[Order, Said], None]
    form: type[VerbForm] = VerbForm
    is_dangerous: bool = False


def _hold(order: Order, said: Said) -> None:
    order.hold(said["reason"])


def _release(order: Order, said: Said) -> None:
    order.release()
    go_on(order)


def _fulfil(order: Order, said: Said) -> None:
    units = units_of(order, said)
    if not units:
        raise invalid(("/lines", "name a piece to send"))
    Fulfilment.objects.ship(order, units, carrier=said["carrier"], tracking=said["tracking"])


def _mark_paid(order: Order, said: Said) -> None:
    mark_paid(order, reference=said["reference"], amount=None)


def _refund(order: Order, said: Said) -> None:
    amount = _read(said["amount"], order.currency) if said["amount"] else None
    asked = Asked(amount, units_of(order, said) or None, restock=said["restock"])
    give_back(Refund.objects.promise(order, asked, reason="staff"))


def _read(text: str, currency: str) -> int:
    try:
        amount = money.read(text, currency)
    except ValueError as exc:
        raise invalid(("/amount", str(exc))) from None
    if amount <= 0:
        raise invalid(("/amount", "must be more than 0"))
    return amount


def _cancel(order: Order, said: Said) -> None:
    give_back(order.cancel(said["reason"]))


def _is_sendable(order: Order) -> bool:
    return order.state == State.CONFIRMED and not order.held and bool(order.open_units)


def _is_unpaid(order: Order) -> bool:
    """By a method that is noted here, and in a state in which it can be."""
    elsewhere = order.payment_method != PaymentMethod.CARD
    return elsewhere and not order.captured and order.state in (State.RESERVED, State.CONFIRMED)


VERBS: dict[str, Verb] = {
    "release": Verb(gettext_lazy("Release"), lambda order: order.held, _release),
    "hold": Verb(
        gettext_lazy("Put on hold"),
        lambda order: not (order.held or order.has_ended),
        _hold,
        HoldForm,
    ),
    "fulfil": Verb(gettext_lazy("Send"), _is_sendable, _fulfil, FulfilForm),
    "mark_paid": Verb(gettext_lazy("Mark as paid"), _is_unpaid, _mark_paid, PaidForm),
    "refund": Verb(
        gettext_lazy("Give money back"), lambda order: order.refundable > 0, _refund, RefundForm
    ),
    "cancel": Verb(
        gettext_lazy("Cancel the order"),
        lambda order: not order.has_ended,
        _cancel,
        CancelForm,
        is_dangerous=True,
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How an order stood and how it stands then, and who is told of it."""

    before: dict[str, Any]
    after: dict[str, Any]
    told: list[Delivery]

    @property
    def paid_back(self) -> int:
        """Minor units that are promised back by it."""
        back = "refunded", "refund_pending"
        return sum(self.after[name] - self.before[name] for name in back)


def standing(order: Order) -> dict[str, Any]:
    """What a verb may change: JSON, amounts in minor units."""
    shown = {name: getattr(order, name) for name in STANDING}
    return shown | {"to_send": sum(units for _line, units in order.open_units)}


def rehearse(order_id: UUID, verb: Verb, said: Said) -> Outcome:
    """What it would come to now: it is done, looked at and rolled back. Raises Overtaken when the
    order is beyond it, and Refused.
    """
    with transaction.atomic():
        outcome = _done(Order.objects.locked(order_id), verb, said)
        transaction.set_rollback(True)
    return outcome


def perform(order_id: UUID, slug: str, said: Said, *, version: str, by: Any) -> None:
    """Do it to the order of that version. Raises Overtaken when somebody or something was faster,
    and Refused.
    """
    with transaction.atomic():
        order = Order.objects.locked(order_id)
        if version != str(order.version):
            raise Overtaken
        outcome = _done(order, VERBS[slug], said)
        seen = {"said": dict(said), "before": outcome.before, "after": outcome.after}
        StaffAction.note(by, slug, order_id, **seen)


def _done(order: Order, verb: Verb, said: Said) -> Outcome:
    before = standing(order)
    if not verb.may(order):
        raise Overtaken
    verb.do(order, said)
    order.refresh_from_db()
    news = events.timeline(order.pk, after=before["version"])
    told = Delivery.objects.filter(event__in=news).select_related("endpoint", "event")
    return Outcome(before, standing(order), list(told.order_by("channel", "pk")))
