"""How an order is paid otherwise than by its first charge: with another card, or elsewhere. Each
verb takes a locked order, and refuses with `not-payable` where that cannot be.
"""

from typing import TYPE_CHECKING, NoReturn

from django.conf import settings
from django.db.models.functions import Now

from orders import snapshots
from orders.payments.models import PaymentOperation
from orders.states import PaymentMethod, PaymentState, State
from values.refused import Refused, Sentence, invalid

if TYPE_CHECKING:
    from orders.models.placed.order import Order


def try_again(order: "Order", token: str) -> PaymentOperation:
    """Choose another card, and record it. Returns the charge whose job is next: that card's; or one
    that still waits for its customer, which is then called off, and whose end leads to the other.
    """
    if order.payment_method != PaymentMethod.CARD:
        _refuse(order, "is paid by %(state)s: mark it as paid once it is", order.payment_method)
    if order.state != State.RESERVED or order.held or order.is_expired:
        _refuse(order, "is %(state)s", "held" if order.held else _standing(order))
    if order.charge_state == "pending":
        _refuse(order, "has a payment under way")
    if order.operations.charges().count() >= order.payment_attempts:
        _refuse(order, "has no attempt left")
    order.record("order.payment_pending", charge_state="pending", payment_token=token)
    waiting = order.operations.charges().open().first()
    return waiting or charge_anew(order)


def charge_anew(order: "Order") -> PaymentOperation:
    """Write down the charge of the card that the customer has chosen, in the place of one that has
    failed.
    """
    tried = PaymentOperation.objects.make_way(order)
    return PaymentOperation.objects.intend_charge(order, attempt=tried + 1)


def mark_paid(order: "Order", *, reference: str, amount: int | None) -> None:
    """Note that the whole order was paid elsewhere. Refuses with `invalid` any other amount."""
    if amount not in (None, order.total):
        total = Sentence("must be what the order comes to, %(total)s", total=order.total)
        raise invalid(("/amount", total))
    if order.captured == order.total or not (order.state == State.RESERVED or order.is_confirmed):
        _refuse(order, "is %(state)s", _standing(order))
    if order.payment_method == PaymentMethod.CARD and order.charge_state != "failed":
        _refuse(order, "has a payment under way")
    _take(order, reference)


def collect(order: "Order") -> None:
    """Note the money of an order whose goods are handed over: if it was not paid before, it is paid
    now, wholly.
    """
    if order.captured < order.total:
        _take(order, "")


def is_awaited(order: "Order") -> bool:
    """Whether a provider is still at the money of an order whose time is over. Its goods are then
    kept for as long as that may take.
    """
    late = order.operations.charges().open().filter(may_take_until__gt=Now()).first()
    if late is not None:
        order.record("order.payment_pending", expires_at=late.may_take_until)
    return late is not None


def payment_of(order: "Order") -> snapshots.Payment:
    """How an order is paid, and what its customer has to do, as the API shows it. It is for that
    customer: nothing may log or keep it.
    """
    charges = list(order.operations.charges().order_by("pk"))
    can_try = order.state == State.RESERVED and order.payment_method == PaymentMethod.CARD
    return {
        "order_id": str(order.pk),
        "method": PaymentMethod(order.payment_method),
        "state": PaymentState(order.payment_state),
        "amount": order.total,
        "currency": order.currency,
        "captured": order.captured,
        "attempts_left": order.payment_attempts - len(charges) if can_try else 0,
        "expires_at": order.expires_at.isoformat() if order.expires_at else None,
        "action": action_of(order),
        "attempts": [charge.attempt() for charge in charges],
    }


def action_of(order: "Order") -> snapshots.Action | None:
    """What the customer of an order has to do; None unless the order waits for that."""
    if order.state != State.RESERVED or order.charge_state != "action_required":
        return None
    waiting = order.operations.charges().open().first()
    if waiting is None or waiting.action is None:
        return None
    asked = waiting.action
    return {
        "type": asked["type"],
        "url": asked["url"],
        "client_secret": asked["client_secret"],
        "publishable_key": settings.STRIPE_PUBLISHABLE_KEY or None,
    }


def _take(order: "Order", reference: str) -> None:
    PaymentOperation.objects.make_way(order)
    PaymentOperation.objects.note_paid(order, reference=reference)
    if order.is_confirmed:
        order.record("order.paid", captured=order.total)
    else:
        order.confirm(captured=order.total)


def _standing(order: "Order") -> str:
    if order.state == State.RECEIVED:
        return "received: wait until its goods are set aside"
    if order.is_expired:
        return "expired"
    return "paid" if order.captured and not order.has_ended else order.state


def _refuse(order: "Order", why: str, state: str = "") -> NoReturn:
    detail = Sentence(f"Order %(number)s {why}.", number=order.number, state=Sentence(state))
    raise Refused("not-payable", detail)
