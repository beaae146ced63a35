"""How staff find a delivery among very many: by whichever index has it, and where none has, by a
look at the newest so many, which says how far it went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Prefetch
from django.utils import timezone

from notifications.events import KINDS, SHOP_KINDS
from notifications.models import Delivery, Event
from notifications.models.event import BEGINNING, END, TEST
from ops.orders import finding
from orders.models import Client
from values.ids import first_id

ALL_KINDS = (*KINDS, *SHOP_KINDS, TEST)
LATEST_MS = 253_000_000_000_000  # in the year 9987, of which every zone has a clock
FAILED, WAITING = Delivery.State.FAILED, Delivery.State.WAITING


@dataclass(frozen=True)
class Wanted:
    """What is empty is not asked for."""

    channel: str = ""
    state: str = ""
    kind: str = ""  # of the event
    client: UUID | None = None  # whose event it is
    endpoint: UUID | None = None
    address: str = ""  # of a mail
    since: datetime | None = None
    may_be_mailed: bool = False  # without what was given up since its address is on the list

    @property
    def of_event(self) -> dict[str, Any]:
        said = {"event__kind": self.kind, "event__owner": self.client}
        return {name: value for name, value in said.items() if value}

    @property
    def of_delivery(self) -> dict[str, Any]:
        said = {"channel": self.channel, "state": self.state, "target": self.address}
        said["endpoint"] = str(self.endpoint or "")
        wanted: dict[str, Any] = {name: value for name, value in said.items() if value}
        return wanted | ({"suppressed": False} if self.may_be_mailed else {})


@dataclass(frozen=True)
class Page:
    """The newest first."""

    deliveries: list[Delivery]
    older: UUID | None = None  # `before` of the page that goes on
    looked_back_to: datetime | None = None  # there the look ended, before the page was full
    of_newest_orders: int = 0  # as many of a mail address were looked at, and it has more
    of_newest_clients: int = 0  # as many were looked at, and there are more


def found(wanted: Wanted, before: UUID | None = None, *, limit: int | None = None) -> Page:
    """A page of them, from before that place on, which is the `older` of the page before; of those
    of one event on the last place all are there.
    """
    most = limit or settings.OPS_ROWS_MAX
    if wanted.address and (orders := finding.found(wanted.address).orders):
        return _of_orders([order.pk for order in orders], wanted, before, most)
    if wanted.of_event and not wanted.endpoint and wanted.state != FAILED:
        return _of_events(wanted, before, most)
    return _of_deliveries(wanted, before, most)


def _of_deliveries(wanted: Wanted, before: UUID | None, most: int) -> Page:
    """As they lie in an index of deliveries. What that does not tell apart is looked for among so
    many of them.
    """
    way, rest = Delivery.objects.order_by("-pk"), {**wanted.of_delivery, **wanted.of_event}
    if wanted.endpoint:
        way = way.filter(endpoint=rest.pop("endpoint"))
    if wanted.state == FAILED or (wanted.endpoint and wanted.state == WAITING):
        way = way.filter(state=rest.pop("state"))
    is_apart = bool(wanted.endpoint or wanted.state == FAILED)
    way = way.filter(pk__gte=first_id(wanted.since)) if wanted.since else way
    way = way.filter(pk__lt=before) if before else way
    if not rest:
        return _page(list(_shown(way)[: most + 1]), most)
    number = settings.OPS_LOOKED_AT_APART if is_apart else settings.OPS_LOOKED_AT
    number = settings.OPS_LOOKED_AT_WITH_EVENTS if wanted.of_event else number
    last = next(iter(way.values_list("pk", flat=True)[number - 1 : number]), None)
    looked_at = way.filter(pk__gte=last) if last else way
    page = _page(list(_shown(looked_at.filter(**rest))[: most + 1]), most)
    if page.older or not last:
        return page
    return Page(page.deliveries, last, looked_back_to=_moment(last))


def _of_events(wanted: Wanted, before: UUID | None, most: int) -> Page:
    """By the index of events, each with all of its deliveries on one page."""
    clients: list[UUID] = []
    if not wanted.client:
        newest = Client.objects.order_by("-pk").values_list("pk", flat=True)
        clients = list(newest[: settings.OPS_CLIENTS_LOOKED_AT + 1])
    number = settings.OPS_EVENTS_LOOKED_AT
    events = Event.objects.newest(
        [wanted.client] if wanted.client else [*clients[: settings.OPS_CLIENTS_LOOKED_AT], None],
        [wanted.kind] if wanted.kind else ALL_KINDS,
        before=_place(before),
        since=wanted.since or BEGINNING[0],
        limit=number + 1,
    )
    more, looked_at = len(events) > number, events[:number]
    told, end = _whole_events([id_ for id_, _ in looked_at], wanted, most)
    is_full = end is not None
    older = end or (looked_at[-1][0] if more else None)
    return Page(
        told,
        older,
        looked_back_to=looked_at[-1][1] if more and not is_full else None,
        of_newest_clients=_if_more(clients, settings.OPS_CLIENTS_LOOKED_AT),
    )


def _whole_events(
    ids: Sequence[UUID], wanted: Wanted, most: int
) -> tuple[list[Delivery], UUID | None]:
    """The deliveries of these events, until a page is full; and then the last event that is on it,
    unless that is the last of all.
    """
    place = {id_: number for number, id_ in enumerate(ids)}
    of_events = _shown(Delivery.objects.filter(event__in=ids, **wanted.of_delivery))
    found = sorted(of_events, key=lambda one: (place[one.event_id], one.pk))
    told: list[Delivery] = []
    for event_id, some in groupby(found, key=lambda one: one.event_id):
        told += some
        if len(told) >= most and event_id != ids[-1]:
            return told, event_id
    return told, None


def _of_orders(order_ids: list[UUID], wanted: Wanted, before: UUID | None, most: int) -> Page:
    """What was sent to a customer, by their newest orders."""
    orders = order_ids[: settings.OPS_ORDERS_LOOKED_AT]
    named = {name.removeprefix("event__"): value for name, value in wanted.of_event.items()}
    events = Event.objects.filter(subject__in=orders, **named).values_list("pk", flat=True)
    way = Delivery.objects.filter(event__in=list(events), **wanted.of_delivery)
    way = way.filter(pk__gte=first_id(wanted.since)) if wanted.since else way
    way = way.filter(pk__lt=before) if before else way
    newest = sorted(_shown(way), key=lambda one: one.pk, reverse=True)
    page = _page(newest[: most + 1], most)
    more = _if_more(order_ids, settings.OPS_ORDERS_LOOKED_AT)
    return Page(page.deliveries, page.older, of_newest_orders=more)


def _shown(way: Any) -> Any:
    """With what a list says of each, read once it is known which they are: joined, the events of
    all that were looked at would be.
    """
    return way.prefetch_related(Prefetch("event", Event.objects.defer("data")), "endpoint")


def _page(rows: list[Delivery], most: int) -> Page:
    """A page of these rows; one more than it has says that there is another."""
    shown = rows[:most]
    return Page(shown, shown[-1].pk if len(rows) > len(shown) else None)


def _place(event_id: UUID | None) -> tuple[datetime, UUID]:
    """Of an event among those of its kind; an unknown one is a place in time, as every id is."""
    if event_id is None:
        return END
    event = Event.objects.filter(pk=event_id).defer("data").first()
    return event.place if event else (_moment(event_id), event_id)


def _moment(id_: UUID) -> datetime:
    """In which it was made; of what is no such id, the latest that there is."""
    ms = min(id_.int >> 80, LATEST_MS)
    return timezone.localtime(datetime.fromtimestamp(ms / 1000, UTC))


def _if_more(found: Sequence[Any], limit: int) -> int:
    return limit if len(found) > limit else 0
