"""Orders of the demo shop that were lost or doubled, as Postgres knows it. Both stay at zero, or
something is wrong.

Lost is an order that a machine should be at, with no job that would be, or without any news for
LATE_AFTER. Doubled is an order that its form's key made twice, that was charged twice, or of which
somebody was told the same thing twice. Every query is bounded: it looks at the newest ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count
from django.db.models.fields.json import KT
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from celery_ledger import Job
from celery_ledger import State as JobState
from demo.menu import CLIENT
from notifications.models import Attempt, Delivery, Event
from orders.models import Client, Order, State
from orders.payments.models import PaymentOperation
from orders.payments.sandbox import Sandbox
from orders.states import PaymentMethod, PaymentState

LATE_AFTER = timedelta(minutes=10)
OPEN_MAX = 100  # orders of each state that may be lost
NEWEST = 100  # orders that may be doubled
COMPARED = 20  # ... and those of them whose mails and webhooks are compared
DELIVERIES_MAX = 500
JOBS_MAX = 1000  # that wait or run; of more nobody asks which order each is for
CHARGES_MAX = 300  # the newest ones in the sandbox's book
SHOWN = 8
CHARGES = (PaymentOperation.Kind.CHARGE, PaymentOperation.Kind.TRIED)

WHERE: dict[str, Promise] = {
    State.RECEIVED: gettext_lazy("Goods"),
    State.RESERVED: gettext_lazy("Payment"),
    State.CONFIRMED: gettext_lazy("Confirmed"),
    State.COMPLETED: gettext_lazy("Delivered"),
    State.CANCELLED: gettext_lazy("Cancelled"),
}
WAITING: dict[str, Promise] = {
    PaymentState.ACTION_REQUIRED: gettext_lazy("Asks its customer"),
    PaymentState.FAILED: gettext_lazy("Payment declined"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One of the newest orders as any visitor may see it: nothing of whose it is."""

    order: Order

    @property
    def where(self) -> Promise:
        if self.order.held:
            return gettext_lazy("A person looks at it")
        waits = WAITING.get(self.order.payment_state) if self.order.state == "reserved" else None
        return waits or WHERE[self.order.state]

    @property
    def look(self) -> str:
        """A class of `.state`, or none."""
        if self.order.held:
            return "bad"
        if self.order.state in (State.CONFIRMED, State.COMPLETED):
            return "good"
        return "wait" if is_under_way(self.order) else ""


@dataclass(frozen=True, slots=True)
class Standing:
    newest: list[Seen]
    under_way: int
    lost: list[Order]
    doubled: set[UUID]
    late_minutes: int = int(LATE_AFTER.total_seconds() / 60)
    newest_max: int = NEWEST
    compared_max: int = COMPARED

    @property
    def is_well(self) -> bool:
        return not self.lost and not self.doubled


def standing() -> Standing:
    client = Client.objects.filter(name=CLIENT).first()
    if client is None:
        return Standing([], 0, [], set())
    newest = list(Order.objects.filter(client=client).order_by("-pk")[:NEWEST])
    open_ = _under_way(client)
    seen = [Seen(order) for order in newest[:SHOWN]]
    return Standing(seen, len(open_), _lost(client, open_), _doubled(newest))


def is_under_way(order: Order) -> bool:
    """A machine should be at it: it has not ended, and waits for no customer and no person."""
    is_charged = (
        order.state == State.RESERVED
        and order.payment_method == PaymentMethod.CARD
        and order.payment_state == PaymentState.PENDING
    )
    return not order.held and (order.state == State.RECEIVED or is_charged)


def _under_way(client: Client) -> list[Order]:
    found: list[Order] = []
    for state in (State.RECEIVED, State.RESERVED):
        newest = Order.objects.filter(client=client, state=state).order_by("-pk")[:OPEN_MAX]
        found += [order for order in newest if is_under_way(order)]
    return found


# --- lost -----------------------------------------------------------------------------------------


def _lost(client: Client, open_: list[Order]) -> list[Order]:
    """Those of them that have no job, or no news for LATE_AFTER. A step and the promise of the next
    one are one transaction: an order that has none after it was read, and still is of the version
    that was read, has none at all.
    """
    late = timezone.now() - LATE_AFTER
    served = _served(client, open_)
    lost = [order for order in open_ if order.pk not in served or order.updated_at < late]
    read_again = Order.objects.filter(pk__in=[order.pk for order in lost])
    versions = dict(read_again.values_list("pk", "version"))
    return [order for order in lost if versions.get(order.pk) == order.version]


def _served(client: Client, orders: list[Order]) -> set[UUID]:
    """The ids of those for which a job waits or runs; of all when there are too many jobs."""
    if not orders:
        return set()
    order_of = {str(order.pk): order.pk for order in orders}
    operations = PaymentOperation.objects.filter(order__in=list(order_of.values()))
    for operation, order in operations.values_list("pk", "order_id"):
        order_of[str(operation)] = order
    named = list(_named_by_jobs(str(client.pk)))
    if len(named) >= JOBS_MAX:  # there may be more, for any of them
        return set(order_of.values())
    return {order_of[id_] for id_ in named if id_ in order_of}


def _named_by_jobs(owner: str) -> Iterator[str]:
    """The first argument of each open job of this owner: an order's id, or its payment's."""
    mine = Job.objects.filter(owner=owner, queue__in=settings.LEDGER["QUEUES"])
    for state in (JobState.WAITING, JobState.RUNNING):
        first = mine.filter(state=state).annotate(first=KT("args__0__0"))
        yield from first.values_list("first", flat=True)[:JOBS_MAX]


# --- doubled --------------------------------------------------------------------------------------


def _doubled(newest: list[Order]) -> set[UUID]:
    return _of_one_key(newest) | _charged_twice(newest) | _delivered_twice(newest[:COMPARED])


def _of_one_key(orders: list[Order]) -> set[UUID]:
    """Orders that share an external id, which the constraint `order_external_id_once` forbids."""
    again = _twice(order.external_id for order in orders if order.external_id)
    return {order.pk for order in orders if order.external_id in again}


def _charged_twice(orders: list[Order]) -> set[UUID]:
    """Orders with two charges, in our book or in that of the sandbox."""
    operations = PaymentOperation.objects.filter(order__in=orders, kind__in=CHARGES)
    rows = list(operations.values_list("pk", "order_id", "state"))
    ours = _twice(order for _operation, order, state in rows if state == "succeeded")
    theirs = _twice(taken.operation for taken in Sandbox().newest(CHARGES_MAX) if taken.operation)
    return ours | {order for operation, order, _state in rows if operation in theirs}


def _delivered_twice(orders: list[Order]) -> set[UUID]:
    """Orders with two deliveries of one event to one target, or with one that arrived twice and was
    not sent again by staff.
    """
    subjects = Event.objects.filter(subject__in=[one.pk for one in orders])
    events = dict(subjects.values_list("pk", "subject"))
    deliveries = list(Delivery.objects.filter(event__in=events)[:DELIVERIES_MAX])
    written = _twice((one.event_id, one.channel, one.target) for one in deliveries)
    tried = {one.pk: one.event_id for one in deliveries if one.tries > 1 and not one.resent_at}
    arrivals = Attempt.objects.filter(delivery__in=tried, ok=True).values("delivery")
    arrived = arrivals.annotate(n=Count("pk")).filter(n__gt=1).values_list("delivery", flat=True)
    twice = {event for event, _channel, _target in written}
    twice |= {tried[delivery] for delivery in arrived}
    return {events[event] for event in twice}


def _twice[Thing](things: Iterable[Thing]) -> set[Thing]:
    return {thing for thing, times in Counter(things).items() if times > 1}
