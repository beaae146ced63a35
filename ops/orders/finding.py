"""How staff find an order: one box for whatever they hold in their hands, and filters beside it."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, Q, Value

from celery_ledger import Job
from orders.models import Client, Order
from orders.models.placed.finding import those
from values import money

NUMBER = re.compile(r"[0-9A-Za-z]{4}[-‐‑–—ー−\s]?[0-9A-Za-z]{4}")
COLUMNS = (
    *("number", "client__name", "state", "held", "payment_state", "fulfilment_state"),
    *("customer_name", "email", "created_at", "currency", "total"),
)
LINES_LOOKED_AT_MAX = 100  # of a sku: each leads to its order by another way
# what most orders are: found by anything else that is asked for, and then looked at for this
COMMON = {
    "payment_state": ("paid",),
    "fulfilment_state": ("full", "none"),
    "state": ("completed", "confirmed"),
}


@dataclass(frozen=True)
class Search:
    """What staff ask for beside the term: `filters` as `Order.objects.narrowed` takes them, the
    `clients` whose orders are meant, and with `before` only older orders than that one.
    """

    filters: dict[str, Any] = field(default_factory=dict)
    clients: Sequence[Client] = ()
    before: UUID | None = None


@dataclass(frozen=True)
class Hits:
    orders: list[Order]
    older: UUID | None = None  # before it others may be
    looked_at: int = 0  # of those that were added up; 0: of all
    totals: dict[str, int] = field(default_factory=dict)  # by currency
    number: int = 0  # of orders that were added up
    way: dict[str, str] = field(default_factory=dict)  # what the term was taken for
    job: UUID | None = None

    @property
    def sums(self) -> list[str]:
        return [money.written(amount, currency) for currency, amount in self.totals.items()]


def found(term: str, search: Search | None = None) -> Hits:
    """The newest orders that the term names and that fit the search; without a term the newest of
    all. The term is taken for the first thing that any order is found by: see `_ways`. A job's id
    leads to the job.
    """
    search = search or Search(clients=list(Client.objects.all()))
    if id_ := _uuid(term):
        if order := Order.objects.filter(pk=id_).first():
            return Hits([order])
        return Hits([], job=Job.objects.filter(pk=id_).values_list("pk", flat=True).first())
    for way in _ways(term):
        looked, is_cut = _looked_at(way, search)
        if looked:
            return _hits(way, looked, is_cut=is_cut)
    return Hits([])


def _hits(way: dict[str, str], looked: list[Any], *, is_cut: bool) -> Hits:
    """A page of those that fit, and the sums of all that fit. `is_cut`: there are orders beyond
    those that were looked at.
    """
    most, totals = settings.OPS_ROWS_MAX, defaultdict[str, int](int)
    fitting = [order for order in looked if order.fits]
    for order in fitting:
        totals[order.currency] += order.total
    older = None
    if len(fitting) > most:
        older = fitting[most - 1].pk
    elif is_cut:
        older = looked[-1].pk
    return Hits(
        fitting[:most],
        older=older,
        looked_at=len(looked) if is_cut else 0,
        totals=dict(sorted(totals.items())),
        number=len(fitting),
        way=way,
    )


def _looked_at(way: dict[str, str], search: Search) -> tuple[list[Any], bool]:
    """The newest orders that one index holds together, each with whether it `fits` the other
    filters; and whether there are more. At most `_most` are read, so a page costs no more for a
    filter that few orders fit, or none. Read client by client: every index begins with the client.
    """
    driver, rest = _split(way, search.filters)
    each = _most(way, search) // max(1, len(search.clients))
    each = max(each, settings.OPS_ROWS_MAX + 1)
    looked, floor = list[Any](), UUID(int=0)
    for client in search.clients:
        fits = ExpressionWrapper(those(**rest), BooleanField()) if rest else Value(True)
        orders = Order.objects.of(client).narrowed(**driver).annotate(fits=fits)
        if search.before:
            orders = orders.filter(Q(pk__lt=search.before))
        newest = orders.order_by("-pk").select_related("client").only(*COLUMNS)
        piece = list(newest[: each + 1])
        if len(piece) > each:
            piece.pop()
            floor = max(floor, piece[-1].pk)
        looked += piece
    together = [order for order in looked if order.pk >= floor]  # of each client read that far
    return sorted(together, key=_id, reverse=True), floor.int > 0


def _most(way: dict[str, str], search: Search) -> int:
    """How many orders are read at most; 0 for a single page of them."""
    if "sku" in way:
        return LINES_LOOKED_AT_MAX
    return settings.OPS_LOOKED_AT_MAX if way or search.filters else 0


def _split(way: dict[str, str], filters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The filters that an index is asked for, and those that each order is then compared with.
    Moments go with the index: they are compared with the id, which each index holds.
    """
    moments = {name: value for name, value in filters.items() if name.startswith("created_")}
    rest = {name: value for name, value in filters.items() if name not in moments}
    if way or not rest:
        return {**way, **moments}, rest
    best = min(rest, key=lambda name: _rank(name, rest[name]))
    return {best: rest.pop(best), **moments}, rest


def _rank(name: str, value: Any) -> int:
    """The lower, the fewer orders have that value."""
    by_index = {"tag": 0, "held": 1}
    return by_index.get(name, 3 if value in COMMON.get(name, ()) else 2)


def _ways(term: str) -> Iterator[dict[str, str]]:
    """What the term may be, as `Order.objects.narrowed` takes it."""
    if not term:
        yield {}
        return
    if NUMBER.fullmatch(term):
        yield {"number": term}
    yield {"external_id": term}
    if "@" in term:
        yield {"email": term}
        return
    if sum(letter.isdigit() for letter in term) >= settings.OPS_PHONE_DIGITS_MIN:
        yield {"phone": term}
    yield {"customer_name": term}
    yield {"sku": term}
    yield {"tag": term}


def _id(order: Order) -> UUID:
    id_: UUID = order.pk
    return id_


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
