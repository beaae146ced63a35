"""How staff find an order: one box for whatever they hold in their hands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from celery_ledger import Job
from orders.models import Client, Order
from orders.models.placed.finding import those

NUMBER = re.compile(r"[0-9A-Za-z]{4}[-‐‑–—ー−\s]?[0-9A-Za-z]{4}")


@dataclass(frozen=True)
class Hits:
    orders: list[Order]
    more: bool = False
    job: UUID | None = None


def found(term: str, *, held: bool = False) -> Hits:
    """The newest orders that a term names, in the order of how surely it does; without a term the
    newest of all. A job's id leads to the job.
    """
    whose = Q(client__in=Client.objects.all()) & (Q(held=True) if held else Q())
    if id_ := _uuid(term):
        if Order.objects.filter(pk=id_).exists():
            return Hits([Order.objects.get(pk=id_)])
        return Hits([], job=Job.objects.filter(pk=id_).values_list("pk", flat=True).first())
    for way in _ways(term) if term else [Q()]:
        rows = Order.objects.filter(whose, way).order_by("-pk").select_related("client")
        some = list(rows.distinct()[: settings.OPS_ROWS_MAX + 1])
        if some:
            return Hits(some[: settings.OPS_ROWS_MAX], more=len(some) > settings.OPS_ROWS_MAX)
    return Hits([])


def _ways(term: str) -> Iterator[Q]:
    if NUMBER.fullmatch(term):
        yield those(number=term)
    yield those(external_id=term)
    if "@" in term:
        yield those(email=term)
        return
    if sum(letter.isdigit() for letter in term) >= settings.OPS_PHONE_DIGITS_MIN:
        yield those(phone=term)
    yield those(customer_name=term)
    yield those(sku=term)
    yield those(tag=term)


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
