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
TOLD_OF = 20  # ... and those of them whose mails and webhooks are compared
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
    """One of the newest orders, for whoever looks on: nothing of whose it is."""

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
    told_max: int = TOLD_OF

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
    """A machine should be at it: it is not over, waits for no customer, and for no person."""
    is_charged = (
        order.state == State.RESERVED
        and order.payment_method == PaymentMethod.CARD
        and order.payment_state == PaymentState.PENDING
    )
    return not order.held and (order.state == State.RECEIVED or is_charged)


def _under_way(client: Client) -> list[Order]:
    return [
        order
        for state in (State.RECEIVED, State.RESERVED)
        for order in Order.objects.filter(client=client, state=state).order_by("-pk")[:OPEN_MAX]
        if is_under_way(order)
    ]


# --- lost -----------------------------------------------------------------------------------------


def _lost(client: Client, open_: list[Order]) -> list[Order]:
    """A step and the promise of the next one are one transaction. So an order that had no job after
    it was read, and has not moved since, has none.
    """
    late = timezone.now() - LATE_AFTER
    served = _served(client, open_)
    lost = [order for order in open_ if order.pk not in served or order.updated_at < late]
    now = dict(Order.objects.filter(pk__in=[one.pk for one in lost]).values_list("pk", "version"))
    return [order for order in lost if now.get(order.pk) == order.version]


def _served(client: Client, orders: list[Order]) -> set[UUID]:
    """Those of them for which a job waits or runs."""
    if not orders:
        return set()
    of = {str(order.pk): order.pk for order in orders}
    operations = PaymentOperation.objects.filter(order__in=of.values())
    of |= {str(operation): order for operation, order in operations.values_list("pk", "order_id")}
    named = list(_named_by_jobs(str(client.pk)))
    return set(of.values()) if len(named) >= JOBS_MAX else {of[id_] for id_ in named if id_ in of}


def _named_by_jobs(owner: str) -> Iterator[str]:
    """The first argument of each open job of this owner: an order's id, or its payment's."""
    mine = Job.objects.filter(owner=owner, queue__in=settings.LEDGER["QUEUES"])
    for state in (JobState.WAITING, JobState.RUNNING):
        first = mine.filter(state=state).annotate(first=KT("args__0__0"))
        yield from first.values_list("first", flat=True)[:JOBS_MAX]


# --- doubled --------------------------------------------------------------------------------------


def _doubled(newest: list[Order]) -> set[UUID]:
    return _of_one_key(newest) | _charged_twice(newest) | _told_twice(newest[:TOLD_OF])


def _of_one_key(orders: list[Order]) -> set[UUID]:
    """One key is one order: Postgres has it so (`order_external_id_once`), and here it is asked."""
    again = _twice(order.external_id for order in orders if order.external_id)
    return {order.pk for order in orders if order.external_id in again}


def _charged_twice(orders: list[Order]) -> set[UUID]:
    """In our book, or in that of the sandbox, which is a provider of its own."""
    operations = PaymentOperation.objects.filter(order__in=orders, kind__in=CHARGES)
    rows = list(operations.values_list("pk", "order_id", "state"))
    ours = _twice(order for _pk, order, state in rows if state == "succeeded")
    theirs = _twice(taken.operation for taken in Sandbox().newest(CHARGES_MAX) if taken.operation)
    return ours | {order for pk, order, _state in rows if pk in theirs}


def _told_twice(orders: list[Order]) -> set[UUID]:
    """One event, one channel, one target: one delivery, and unless staff sent it again one that
    arrived once.
    """
    subjects = Event.objects.filter(subject__in=[one.pk for one in orders])
    events = dict(subjects.values_list("pk", "subject"))
    deliveries = list(Delivery.objects.filter(event__in=events)[:DELIVERIES_MAX])
    written = _twice((one.event_id, one.channel, one.target) for one in deliveries)
    tried = {one.pk: one.event_id for one in deliveries if one.tries > 1 and not one.resent_at}
    arrivals = Attempt.objects.filter(delivery__in=tried, ok=True).values("delivery")
    again = arrivals.annotate(n=Count("pk")).filter(n__gt=1).values_list("delivery", flat=True)
    return {events[event] for event, _channel, _target in written} | {
        events[tried[delivery]] for delivery in again
    }


def _twice[Thing](things: Iterable[Thing]) -> set[Thing]:
    return {thing for thing, times in Counter(things).items() if times > 1}
