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

# what has moved, and when, is told by the events, as in the reports
EVENTS = """
SELECT subject, kind, at, coalesce((data #>> '{order,captured}')::bigint, 0),
       coalesce((data #>> '{order,refunded}')::bigint, 0)
  FROM notifications_event WHERE subject = ANY(%s) AND kind LIKE 'order.%%'
 ORDER BY subject, seq
"""


class Told(NamedTuple):
    """An event of an order, as far as it counts here."""

    subject: Any
    kind: str
    at: datetime
    captured: int
    refunded: int


def bodies(orders: Sequence[Order]) -> Iterator[dict[str, Any]]:
    """One for each, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, [[order.pk for order in orders]])
        told = [Told(*row) for row in cursor.fetchall()]
    told_of = {pk: list(events) for pk, events in groupby(told, key=attrgetter("subject"))}
    return (_without_blanks(_body(order, told_of.get(order.pk, []))) for order in orders)


def _body(order: Order, told: Sequence[Told]) -> dict[str, Any]:
    history = _history(order, told)
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
    """A card serves once: what was paid with one was paid, from now on, elsewhere."""
    usual = (PaymentMethod.CARD, PaymentMethod.MANUAL) if is_past else (PaymentMethod.CARD,)
    return {} if order.payment_method in usual else {"method": order.payment_method}


def _line(line: OrderLine, *, with_history: bool) -> dict[str, Any]:
    left_out = {"position", "announced"}.union(() if with_history else COUNTED)
    return {name: value for name, value in line.snapshot().items() if name not in left_out}


def _history(order: Order, told: Sequence[Told]) -> dict[str, Any]:
    """Empty for an order that is not paid for, and may still be."""
    paid = next((event for event in told if event.captured), None)
    if not order.total:
        paid = _last(told, "confirmed")
    ended = order.was_cancelled or order.state == State.CANCELLED
    if not (paid or ended):
        return {}
    sent = _last(told, "fulfilled") or _last(told, "completed")
    end = _last(told, order.state) if ended else None
    return {
        "paid_at": paid.at.isoformat() if paid else None,
        "fulfilled_at": sent.at.isoformat() if sent and order.units_fulfilled else None,
        "cancelled_at": end.at.isoformat() if end else None,
        "reason": order.reason if end else None,
        "refunds": list(_refunds(order, told)),
        "shipping_refunded": order.shipping_refunded,
    }


def _refunds(order: Order, told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """What was promised has gone back, as whoever reads this sees it."""
    before = 0
    for event in told:
        if event.refunded != before:
            yield {"amount": event.refunded - before, "at": event.at.isoformat()}
        before = event.refunded
    if order.refund_pending:
        yield {"amount": order.refund_pending, "at": told[-1].at.isoformat()}


def _last(told: Sequence[Told], word: str) -> Told | None:
    return next((event for event in reversed(told) if event.kind == f"order.{word}"), None)


def _without_blanks(body: dict[str, Any]) -> dict[str, Any]:
    """What is not said takes no room."""
    return {
        name: _without_blanks(value) if isinstance(value, dict) and name != "metadata" else value
        for name, value in body.items()
        if value not in (None, "", [], {})
    }
