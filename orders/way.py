"""Where an order is on its way, as a picture of it shows: each step with its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from notifications import events
from orders.models import Order
from orders.states import PaymentMethod, State

STEPS: dict[str, Promise] = {
    "received": gettext_lazy("Received"),
    "reserved": gettext_lazy("Set aside"),
    "paid": gettext_lazy("Payment"),
    "confirmed": gettext_lazy("Confirmed"),
    "completed": gettext_lazy("Delivery"),
}
KINDS = tuple(f"order.{step}" for step in STEPS)  # of the events that say when


@dataclass(frozen=True, slots=True)
class Step:
    slug: str  # of STEPS
    look: str  # done, now, stuck, or nothing yet
    at: datetime | None

    @property
    def word(self) -> Promise:
        return STEPS[self.slug]


def way_of(order: Order) -> list[Step]:
    """Every step of the order's way, with its time. The first one that has none is where the order
    is, or where it got stuck.
    """
    return steps(order, {event.kind: event.at for event in events.timeline(order.pk)})


def steps(order: Order, moments: Mapping[str, datetime]) -> list[Step]:
    """As `way_of`, for whoever has read the order's events: by kind, the newest moment of each."""
    times = {kind.removeprefix("order."): moment for kind, moment in moments.items()}
    if "confirmed" in times:
        times["paid"] = times["confirmed"]  # one event says both
    if not order.has_ended:
        times.pop("completed", None)  # by a mistake that was taken back
    here = "stuck" if order.held or order.state == State.CANCELLED else "now"
    way: list[Step] = []
    for slug in STEPS:
        if slug == "paid" and order.payment_method == PaymentMethod.COD:
            continue
        is_next = not way or way[-1].look == "done"
        look = here if is_next else ""
        if slug in times:
            look = "done"
        way.append(Step(slug, look, times.get(slug)))
    return way
