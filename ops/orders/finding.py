"""How staff find an order: one box for whatever they hold in their hands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from celery_ledger import Job
from orders.models import Client, Order

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
    if id_ := _uuid(term):
        if order := Order.objects.filter(pk=id_).first():
            return Hits([order])
        return Hits([], job=Job.objects.filter(pk=id_).values_list("pk", flat=True).first())
    for way in _ways(term):
        if some := _newest({**way, "held": held or None}):
            return Hits(some[: settings.OPS_ROWS_MAX], more=len(some) > settings.OPS_ROWS_MAX)
    return Hits([])


def _newest(wanted: dict[str, Any]) -> list[Order]:
    """One more than a page of them, found client by client as each client's own list is: every
    index begins with the client.
    """
    most = settings.OPS_ROWS_MAX + 1
    pieces = [
        Order.objects.of(client).narrowed(**wanted).order_by("-pk").values_list("pk")[:most]
        for client in Client.objects.all()
    ]
    ids = [id_ for piece in pieces for (id_,) in piece]
    return list(Order.objects.filter(pk__in=ids).order_by("-pk").select_related("client")[:most])


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


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
