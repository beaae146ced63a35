"""An order with all that became of it, as the body that an import reads back."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import connection

from orders.imports.files.columns import COUNTED
from orders.models.placed.line import OrderLine
from orders.models.placed.order import Order
from orders.states import PaymentMethod, State

# the events tell what has moved, and when, as in the reports
EVENTS = """
SELECT subject, kind, at, coalesce((data #>> '{order,captured}')::bigint, 0),
       coalesce((data #>> '{order,refunded}')::bigint, 0)
  FROM notifications_event WHERE subject = ANY(%s) AND kind LIKE 'order.%%'
 ORDER BY subject, seq
"""


class OrderEvent(NamedTuple):
    """An event of an order, as far as it counts here; money in integer minor units."""

    subject: Any
    kind: str
    at: datetime
    captured: int
    refunded: int


def bodies(orders: Sequence[Order]) -> Iterator[dict[str, Any]]:
    """A body for each order, in their order; without what is blank, which takes no room."""
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, [[order.pk for order in orders]])
        found = [OrderEvent(*row) for row in cursor.fetchall()]
    events_of = {pk: list(events) for pk, events in groupby(found, key=attrgetter("subject"))}
    for order in orders:
        yield _without_blanks(_body(order, events_of.get(order.pk, [])))


def _body(order: Order, events: Sequence[OrderEvent]) -> dict[str, Any]:
    history = _history(order, events)
    return {
        "external_id": order.external_id or order.number,
        "number": order.number,
        "currency": order.currency,
        "locale": order.locale,
        **order.particulars(),
        "lines": [_line(line, with_history=bool(history)) for line in order.own_lines],
        "shipping": {"amount": order.shipping_amount, "tax": order.shipping_tax},
        "total": order.total,
        "payment": _payment(order, is_past=bool(history)),
        "placed_at": order.created_at.isoformat(),
        **history,
    }


def _payment(order: Order, *, is_past: bool) -> dict[str, str]:
    """How the order is paid, unless whoever reads the body assumes just that. A card serves once:
    an order that was paid with one has been paid, from now on, elsewhere.
    """
    usual = (PaymentMethod.CARD, PaymentMethod.MANUAL) if is_past else (PaymentMethod.CARD,)
    return {} if order.payment_method in usual else {"method": order.payment_method}


def _line(line: OrderLine, *, with_history: bool) -> dict[str, Any]:
    left_out = {"position", "announced"}.union(() if with_history else COUNTED)
    return {name: value for name, value in line.snapshot().items() if name not in left_out}


def _history(order: Order, events: Sequence[OrderEvent]) -> dict[str, Any]:
    """What became of it, and when. Empty for an order that is not paid for, and may still be."""
    paid = next((event for event in events if event.captured), None)
    if not order.total:
        paid = _last(events, "confirmed")
    ended = order.was_cancelled or order.state == State.CANCELLED
    if not (paid or ended):
        return {}
    sent = _last(events, "fulfilled") or _last(events, "completed")
    end = _last(events, order.state) if ended else None
    return {
        "paid_at": paid.at.isoformat() if paid else None,
        "fulfilled_at": sent.at.isoformat() if sent and order.units_fulfilled else None,
        "cancelled_at": end.at.isoformat() if end else None,
        "reason": order.reason if end else None,
        "refunds": list(_refunds(order, events)),
        "shipping_refunded": order.shipping_refunded,
    }


def _refunds(order: Order, events: Sequence[OrderEvent]) -> Iterator[dict[str, Any]]:
    """Each movement of money back; to whoever reads the body, money that is promised has gone."""
    before = 0
    for event in events:
        if event.refunded != before:
            yield {"amount": event.refunded - before, "at": event.at.isoformat()}
        before = event.refunded
    if order.refund_pending:
        yield {"amount": order.refund_pending, "at": events[-1].at.isoformat()}


def _last(events: Sequence[OrderEvent], word: str) -> OrderEvent | None:
    return next((event for event in reversed(events) if event.kind == f"order.{word}"), None)


def _without_blanks(body: dict[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, value in body.items():
        if value in (None, "", [], {}):
            continue
        is_part = isinstance(value, dict) and name != "metadata"
        filled[name] = _without_blanks(value) if is_part else value
    return filled
