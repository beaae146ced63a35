"""The newest orders as plates on the belt: what is being done for each, and which stand still."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from notifications.models import Delivery
from orders.models import Order
from orders.states import PaymentMethod, PaymentState, State

SHOWN = 30  # the newest orders
STILL_AFTER = timedelta(minutes=1)  # in one lane, while a machine should be at it
WAITS_FOR_CUSTOMER = (PaymentState.ACTION_REQUIRED, PaymentState.FAILED)
LANES: dict[str, Promise] = {
    "reserve": gettext_lazy("Goods"),
    "charge": gettext_lazy("Payment"),
    "tell": gettext_lazy("Telling"),
    "there": gettext_lazy("All told"),
}


@dataclass(frozen=True)
class Plate:
    order: Order
    is_still: bool


@dataclass(frozen=True)
class Lane:
    word: Promise
    plates: list[Plate] = field(default_factory=list)


def lanes() -> list[Lane]:
    """The lanes from left to right. A cancelled order is in none."""
    newest = list(Order.objects.order_by("-pk")[:SHOWN])
    untold = _with_deliveries_waiting(newest)
    found: dict[str, list[Plate]] = defaultdict(list)
    for order in newest:
        if order.state != State.CANCELLED:
            lane = _lane_of(order, is_told=order.pk not in untold)
            found[lane].append(Plate(order, lane != "there" and _is_still(order)))
    return [Lane(word, found[slug]) for slug, word in LANES.items()]


def _lane_of(order: Order, *, is_told: bool) -> str:
    if order.state == State.RECEIVED:
        return "reserve"
    if order.state == State.RESERVED:
        return "charge"
    return "there" if is_told else "tell"


def _is_still(order: Order) -> bool:
    """It is on hold; or nothing happened to it for STILL_AFTER, and it waits for no customer."""
    waits_for_customer = order.state == State.RESERVED and (
        order.payment_state in WAITS_FOR_CUSTOMER or order.payment_method != PaymentMethod.CARD
    )
    is_old = order.updated_at < timezone.now() - STILL_AFTER
    return order.held or (is_old and not waits_for_customer)


def _with_deliveries_waiting(orders: list[Order]) -> set[object]:
    """The ids of those orders of which a mail or webhook has not arrived yet."""
    waiting = Delivery.objects.filter(
        event__subject__in=[order.pk for order in orders], state=Delivery.State.WAITING
    )
    return set(waiting.values_list("event__subject", flat=True))
