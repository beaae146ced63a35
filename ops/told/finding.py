"""How staff find a delivery among very many: by whichever index has it, and where none has, by a
look at the newest so many, which says how far it went.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """What the deliveries must be; an empty field asks for nothing."""

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
    """Deliveries, the newest first, and how far they were looked for."""

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
    rows, rest = Delivery.objects.order_by("-pk"), {**search.of_delivery, **search.of_event}
    if search.endpoint:
        rows = rows.filter(endpoint=rest.pop("endpoint"))
    if search.state == FAILED or (search.endpoint and search.state == WAITING):
        rows = rows.filter(state=rest.pop("state"))
    rows = _in_time(rows, search, before)
    if not rest:
        return _page(list(_listed(rows)[: most + 1]), most)
    number = _looked_at_max(search)
    last = next(iter(rows.values_list("pk", flat=True)[number - 1 : number]), None)
    looked_at = rows.filter(pk__gte=last) if last else rows
    page = _page(list(_listed(looked_at.filter(**rest))[: most + 1]), most)
    if page.older or not last:
        return page
    return Page(page.deliveries, last, looked_back_to=_moment(last))


def _looked_at_max(search: Search) -> int:
    """How many deliveries are compared: fewer when each has its event read, and fewer when they lie
    apart from each other in the table.
    """
    if search.of_event:
        return int(settings.OPS_LOOKED_AT_WITH_EVENTS)
    if search.endpoint or search.state == FAILED:
        return int(settings.OPS_LOOKED_AT_APART)
    return int(settings.OPS_LOOKED_AT)


def _in_time(rows: Any, search: Search, before: UUID | None) -> Any:
    """Those of these deliveries that are made since then, and before that place."""
    if search.since:
        rows = rows.filter(pk__gte=first_id(search.since))
    return rows.filter(pk__lt=before) if before else rows


def _of_events(search: Search, before: UUID | None, most: int) -> Page:
    """By the index of events, each with all of its deliveries on one page."""
    owners, of_newest_clients = _owners(search)
    number = settings.OPS_EVENTS_LOOKED_AT
    events = Event.objects.newest(
        owners,
        [search.kind] if search.kind else ALL_KINDS,
        before=_place(before),
        since=search.since or BEGINNING[0],
        limit=number + 1,
    )
    looked_at = events[:number]
    deliveries, end = _whole_events([id_ for id_, _moment in looked_at], search, most)
    page = Page(deliveries, end, of_newest_clients=of_newest_clients)
    if end is None and len(events) > number:
        last, moment = looked_at[-1]
        return replace(page, older=last, looked_back_to=moment)
    return page


def _owners(search: Search) -> tuple[list[UUID | None], int]:
    """Whose events are meant, and how many of the newest clients these are if there are more. None
    among them stands for events of nobody's.
    """
    if search.client:
        return [search.client], 0
    limit = settings.OPS_CLIENTS_LOOKED_AT
    newest = Client.objects.order_by("-pk").values_list("pk", flat=True)
    clients = list(newest[: limit + 1])
    return [*clients[:limit], None], _if_more(clients, limit)


def _whole_events(
    ids: Sequence[UUID], search: Search, most: int
) -> tuple[list[Delivery], UUID | None]:
    """The deliveries of these events, until a page is full; and the event that then ends the page,
    None when it is the last of all.
    """
    place = {id_: number for number, id_ in enumerate(ids)}
    of_events = _listed(Delivery.objects.filter(event__in=ids, **search.of_delivery))
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
    rows = Delivery.objects.filter(event__in=list(events), **search.of_delivery)
    rows = _in_time(rows, search, before)
    newest = sorted(_listed(rows), key=lambda one: one.pk, reverse=True)
    page = _page(newest[: most + 1], most)
    more = _if_more(order_ids, settings.OPS_ORDERS_LOOKED_AT)
    return Page(page.deliveries, page.older, of_newest_orders=more)


def _listed(rows: Any) -> Any:
    """With the event and endpoint of each, for a list. They are read afterwards, of the page alone:
    a join would read those of all that are looked at.
    """
    return rows.prefetch_related(Prefetch("event", Event.objects.defer("data")), "endpoint")


def _page(rows: list[Delivery], most: int) -> Page:
    """A page of these rows; one more than it has says that there is another."""
    page = rows[:most]
    return Page(page, page[-1].pk if len(rows) > len(page) else None)


def _place(event_id: UUID | None) -> tuple[datetime, UUID]:
    """The place of an event in the index; of an unknown id the moment that it holds."""
    if event_id is None:
        return END
    event = Event.objects.filter(pk=event_id).defer("data").first()
    return event.place if event else (_moment(event_id), event_id)


def _moment(id_: UUID) -> datetime:
    """The moment in which that id was made; of a UUID that is no such id, LATEST_MS at most."""
    ms = min(id_.int >> 80, LATEST_MS)
    return timezone.localtime(datetime.fromtimestamp(ms / 1000, UTC))


def _if_more(found: Sequence[Any], limit: int) -> int:
    """The limit when more were found than it allows, else 0."""
    return limit if len(found) > limit else 0
