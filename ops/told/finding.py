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
class Search:
    """What is empty is not asked for."""

    channel: str = ""
    state: str = ""
    kind: str = ""  # of the event
    client: UUID | None = None  # whose event it is
    endpoint: UUID | None = None
    address: str = ""  # of a mail
    since: datetime | None = None
    may_be_mailed: bool = False  # none that was given up because its address is suppressed

    @property
    def of_event(self) -> dict[str, Any]:
        """What its event must be, as a filter of deliveries."""
        columns = {"event__kind": self.kind, "event__owner": self.client}
        return {name: value for name, value in columns.items() if value}

    @property
    def of_delivery(self) -> dict[str, Any]:
        """What the delivery itself must be, as a filter of deliveries."""
        columns = {"channel": self.channel, "state": self.state, "target": self.address}
        columns["endpoint"] = str(self.endpoint or "")
        filters: dict[str, Any] = {name: value for name, value in columns.items() if value}
        return filters | ({"suppressed": False} if self.may_be_mailed else {})


@dataclass(frozen=True)
class Page:
    """The newest first."""

    deliveries: list[Delivery]
    older: UUID | None = None  # `before` of the page that goes on
    looked_back_to: datetime | None = None  # there the look ended, before the page was full
    of_newest_orders: int = 0  # so many of a mail address were looked at, and it has more; 0: all
    of_newest_clients: int = 0  # so many were looked at, and there are more; 0: all


def found(search: Search, before: UUID | None = None, *, limit: int | None = None) -> Page:
    """A page of the deliveries that a search means. `before` is the `older` of the page before. All
    deliveries of one event may stand on one page, so it may hold more than the limit.
    """
    most = limit or settings.OPS_ROWS_MAX
    if search.address and (orders := finding.found(search.address).orders):
        return _of_orders([order.pk for order in orders], search, before, most)
    if search.of_event and not search.endpoint and search.state != FAILED:
        return _of_events(search, before, most)
    return _of_deliveries(search, before, most)


def _of_deliveries(search: Search, before: UUID | None, most: int) -> Page:
    """In the order of an index of deliveries. What the index does not hold is compared, with a
    number of its newest deliveries that a setting names.
    """
    way, rest = Delivery.objects.order_by("-pk"), {**search.of_delivery, **search.of_event}
    if search.endpoint:
        way = way.filter(endpoint=rest.pop("endpoint"))
    if search.state == FAILED or (search.endpoint and search.state == WAITING):
        way = way.filter(state=rest.pop("state"))
    is_apart = bool(search.endpoint or search.state == FAILED)
    way = way.filter(pk__gte=first_id(search.since)) if search.since else way
    way = way.filter(pk__lt=before) if before else way
    if not rest:
        return _page(list(_shown(way)[: most + 1]), most)
    number = settings.OPS_LOOKED_AT_APART if is_apart else settings.OPS_LOOKED_AT
    number = settings.OPS_LOOKED_AT_WITH_EVENTS if search.of_event else number
    last = next(iter(way.values_list("pk", flat=True)[number - 1 : number]), None)
    looked_at = way.filter(pk__gte=last) if last else way
    page = _page(list(_shown(looked_at.filter(**rest))[: most + 1]), most)
    if page.older or not last:
        return page
    return Page(page.deliveries, last, looked_back_to=_moment(last))


def _of_events(search: Search, before: UUID | None, most: int) -> Page:
    """By the index of events, each with all of its deliveries on one page."""
    clients: list[UUID] = []
    if not search.client:
        newest = Client.objects.order_by("-pk").values_list("pk", flat=True)
        clients = list(newest[: settings.OPS_CLIENTS_LOOKED_AT + 1])
    number = settings.OPS_EVENTS_LOOKED_AT
    events = Event.objects.newest(
        [search.client] if search.client else [*clients[: settings.OPS_CLIENTS_LOOKED_AT], None],
        [search.kind] if search.kind else ALL_KINDS,
        before=_place(before),
        since=search.since or BEGINNING[0],
        limit=number + 1,
    )
    more, looked_at = len(events) > number, events[:number]
    deliveries, end = _whole_events([id_ for id_, _ in looked_at], search, most)
    is_full = end is not None
    older = end or (looked_at[-1][0] if more else None)
    return Page(
        deliveries,
        older,
        looked_back_to=looked_at[-1][1] if more and not is_full else None,
        of_newest_clients=_if_more(clients, settings.OPS_CLIENTS_LOOKED_AT),
    )


def _whole_events(
    ids: Sequence[UUID], search: Search, most: int
) -> tuple[list[Delivery], UUID | None]:
    """The deliveries of these events, until a page is full; and the event that then ends the page,
    None when it is the last of all.
    """
    place = {id_: number for number, id_ in enumerate(ids)}
    of_events = _shown(Delivery.objects.filter(event__in=ids, **search.of_delivery))
    found = sorted(of_events, key=lambda one: (place[one.event_id], one.pk))
    deliveries: list[Delivery] = []
    for event_id, of_event in groupby(found, key=lambda one: one.event_id):
        deliveries += of_event
        if len(deliveries) >= most and event_id != ids[-1]:
            return deliveries, event_id
    return deliveries, None


def _of_orders(order_ids: list[UUID], search: Search, before: UUID | None, most: int) -> Page:
    """What was sent to a customer, by their newest orders."""
    orders = order_ids[: settings.OPS_ORDERS_LOOKED_AT]
    named = {name.removeprefix("event__"): value for name, value in search.of_event.items()}
    events = Event.objects.filter(subject__in=orders, **named).values_list("pk", flat=True)
    way = Delivery.objects.filter(event__in=list(events), **search.of_delivery)
    way = way.filter(pk__gte=first_id(search.since)) if search.since else way
    way = way.filter(pk__lt=before) if before else way
    newest = sorted(_shown(way), key=lambda one: one.pk, reverse=True)
    page = _page(newest[: most + 1], most)
    more = _if_more(order_ids, settings.OPS_ORDERS_LOOKED_AT)
    return Page(page.deliveries, page.older, of_newest_orders=more)


def _shown(way: Any) -> Any:
    """With the event and endpoint of each, for a list. They are read afterwards, of the page alone:
    a join would read those of all that are looked at.
    """
    return way.prefetch_related(Prefetch("event", Event.objects.defer("data")), "endpoint")


def _page(rows: list[Delivery], most: int) -> Page:
    """A page of these rows; one more than it has says that there is another."""
    page = rows[:most]
    return Page(page, page[-1].pk if len(rows) > len(page) else None)


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
