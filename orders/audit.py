"""The shop's books compared with each other, and with the provider's: a sentence for whatever
differs.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import batched

from django.db import connection
from django.utils import timezone

from orders.payments.models import PaymentOperation
from orders.payments.provider import (
    ELSEWHERE,
    Charge,
    ProviderRefused,
    ProviderUnavailable,
    Taken,
    provider,
)

# Each pair: a sentence with a %s for each column, and the SQL that finds what is so wrong.
STOCK = {
    "%s: on hand %s and reserved %s, but its movements come to %s and %s": """
        SELECT s.sku, s.on_hand, s.reserved,
               coalesce(sum(m.on_hand_delta), 0), coalesce(sum(m.reserved_delta), 0)
          FROM orders_stock s LEFT JOIN orders_stockmovement m ON m.stock_id = s.id GROUP BY s.id
        HAVING s.on_hand <> coalesce(sum(m.on_hand_delta), 0)
            OR s.reserved <> coalesce(sum(m.reserved_delta), 0)
         ORDER BY s.sku""",
    "order %s (%s): its movements hold %s of %s, but %s are to be sent": """
        SELECT o.number, o.state, coalesce(m.held, 0), s.sku, l.open
          FROM orders_order o
          JOIN (SELECT order_id, stock_id, sum(quantity - fulfilled - withdrawn) AS open
                  FROM orders_orderline GROUP BY 1, 2) l ON l.order_id = o.id
          JOIN orders_stock s ON s.id = l.stock_id
          LEFT JOIN (SELECT order_id, stock_id, sum(reserved_delta) AS held
                       FROM orders_stockmovement GROUP BY 1, 2) m
            ON m.order_id = o.id AND m.stock_id = l.stock_id
         WHERE coalesce(m.held, 0)
               <> CASE WHEN o.state IN ('reserved', 'confirmed') THEN l.open ELSE 0 END
         ORDER BY o.number""",
    "order %s: %s of %s units are sent, but its lines come to %s of %s": """
        SELECT o.number, o.units_fulfilled, o.units, l.sent, l.units
          FROM orders_order o
          JOIN (SELECT order_id, sum(fulfilled) AS sent, sum(quantity - withdrawn) AS units
                  FROM orders_orderline GROUP BY 1) l ON l.order_id = o.id
         WHERE o.state <> 'cancelled' AND (o.units_fulfilled <> l.sent OR o.units <> l.units)
         ORDER BY o.number""",
    "order %s: %s of %s are announced to come back, but its open returns come to %s": """
        SELECT o.number, l.announced, l.sku, coalesce(open.units, 0)
          FROM orders_orderline l
          JOIN orders_order o ON o.id = l.order_id
          LEFT JOIN (SELECT r.order_id, part.position, sum(part.quantity)::bigint AS units
                       FROM orders_return r
                      CROSS JOIN LATERAL jsonb_to_recordset(r.lines)
                            AS part (position int, quantity bigint)
                      WHERE r.state = 'announced' GROUP BY 1, 2) open
            ON open.order_id = l.order_id AND open.position = l.position
         WHERE l.announced <> coalesce(open.units, 0)
         ORDER BY o.number""",
}
MONEY = {
    "order %s: captured %s, but its charges come to %s": """
        SELECT o.number, o.captured, coalesce(sum(p.amount), 0) FROM orders_order o
          LEFT JOIN orders_paymentoperation p
            ON p.order_id = o.id AND p.kind = 'charge' AND p.state = 'succeeded'
         GROUP BY o.id HAVING o.captured <> coalesce(sum(p.amount), 0) ORDER BY o.number""",
    "order %s: refunded %s and promised %s, but its refunds come to %s and %s": """
        SELECT o.number, o.refunded, o.refund_pending,
               coalesce(sum(p.amount) FILTER (WHERE p.state = 'succeeded'), 0),
               coalesce(sum(p.amount) FILTER (WHERE p.state IN ('intended', 'sent', 'pending')), 0)
          FROM orders_order o
          LEFT JOIN orders_paymentoperation p ON p.order_id = o.id AND p.kind = 'refund'
         GROUP BY o.id
        HAVING o.refunded <> coalesce(sum(p.amount) FILTER (WHERE p.state = 'succeeded'), 0)
            OR o.refund_pending
               <> coalesce(sum(p.amount)
                           FILTER (WHERE p.state IN ('intended', 'sent', 'pending')), 0)
         ORDER BY o.number""",
    "order %s: its lines and shipping were refunded %s, but the order %s": """
        SELECT o.number, o.shipping_refunded + sum(l.refunded), o.refunded + o.refund_pending
          FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
         GROUP BY o.id HAVING o.shipping_refunded + sum(l.refunded) <> o.refunded + o.refund_pending
         ORDER BY o.number""",
    "order %s: %s, captured %s, refunded %s, promised %s, but its newest event says "
    "%s, %s, %s, %s": """
        SELECT o.number, o.payment_state, o.captured, o.refunded, o.refund_pending,
               newest.payment_state, newest.captured, newest.refunded, newest.refund_pending
          FROM orders_order o
          JOIN notifications_event e ON e.subject = o.id AND e.seq = o.version
         CROSS JOIN LATERAL jsonb_to_record(e.data -> 'order') AS newest
               (payment_state text, captured bigint, refunded bigint, refund_pending bigint)
         WHERE (o.payment_state, o.captured, o.refunded, o.refund_pending) IS DISTINCT FROM
               (newest.payment_state, newest.captured, newest.refunded, newest.refund_pending)
         ORDER BY o.number""",
}
PROVIDER_BATCH = 500
NEVER_MADE = (  # the provider may have none of it
    PaymentOperation.State.INTENDED,
    PaymentOperation.State.SENT,
    PaymentOperation.State.VOID,
)


def broken(books: dict[str, str], *, limit: int) -> Iterator[str]:
    """A sentence for each row that is wrong, `limit` of a kind at most."""
    with connection.cursor() as cursor:
        for sentence, sql in books.items():
            cursor.execute(f"{sql} LIMIT {int(limit)}")
            yield from (sentence % row for row in cursor.fetchall())


def disputed_by_provider(*, since: timedelta) -> Iterator[str]:
    """A sentence for each operation of the last `since` that stands otherwise in the provider's
    book. One question to the provider for each.

    Opens sockets: no transaction may be open. Raises ProviderUnavailable.
    """
    for operation in _operations(since=since):
        try:
            if difference := _difference(operation, operation.look_up()):
                yield f"order {operation.order.number}: {difference}"
        except ProviderRefused as exc:
            yield f"order {operation.order.number}: {operation.provider} does not tell: {exc}"


def taken_without_us(*, since: timedelta) -> Iterator[tuple[bool, str]]:
    """A sentence for each charge that the provider has taken and that pays no order here. Before it
    True for a charge of an order that another charge has paid; False for one that names no order of
    ours: somebody typed it into the provider's own pages, or another shop of this account took it.

    One question for a hundred charges. As `disputed_by_provider` otherwise.
    """
    taken = provider().taken(timezone.now() - since) if since else iter(())
    for some in batched(taken, PROVIDER_BATCH):
        meant = PaymentOperation.objects.charges().filter(pk__in=[one.operation for one in some])
        ours = {operation.pk: operation for operation in meant.select_related("order")}
        for one in some:
            operation = one.operation and ours.get(one.operation)
            if not operation:
                yield False, f"{_named(one)} names no order of ours"
            elif operation.reference not in ("", one.id):
                paid = f"order {operation.order.number}, which {operation.reference} has paid"
                yield True, f"{paid}: {_named(one)} as well"


def _named(one: Taken) -> str:
    return f"{one.id} of {one.amount} {one.currency} ({one.made_at:%Y-%m-%d %H:%M} UTC)"


def _operations(*, since: timedelta) -> Iterator[PaymentOperation]:
    """The operations of the last `since`, in the order of their ids; PROVIDER_BATCH at once."""
    recent = (
        PaymentOperation.objects.exclude(provider=ELSEWHERE)
        .filter(created_at__gt=timezone.now() - since)
        .select_related("order")
    )
    batch = list(recent.order_by("pk")[:PROVIDER_BATCH])
    while batch:
        yield from batch
        batch = list(recent.filter(pk__gt=batch[-1].pk).order_by("pk")[:PROVIDER_BATCH])


def _difference(operation: PaymentOperation, charge: Charge | None) -> str | None:
    ours = f"our {operation.kind} of {operation.amount} {operation.currency} is {operation.state}"
    if charge is None:
        may_be_absent = operation.state in NEVER_MADE
        refused = operation.state == operation.State.DECLINED and not operation.reference
        return None if may_be_absent or refused else f"{ours}, but {operation.provider} has none"
    theirs = f"{operation.provider} says {charge.status} of {charge.amount}"
    if operation.has_ended and charge.status != operation.state:
        return f"{ours}, but {theirs}"
    if operation.state != operation.State.SUCCEEDED:
        return None
    if charge.amount != operation.amount:
        return f"{ours}, but {theirs}"
    return _refunded_elsewhere(operation, charge)


def _refunded_elsewhere(operation: PaymentOperation, charge: Charge) -> str | None:
    """A sentence where money went back by the provider's own pages. Our refunds may move while we
    ask, so what we had given before and what we may have given since are both right.
    """
    if charge.refunded is None:
        return None
    order = operation.order
    least = order.refunded
    order.refresh_from_db(fields=["refunded", "refund_pending"])
    if least <= charge.refunded <= order.refunded + order.refund_pending:
        return None
    return (
        f"we have given {order.refunded} {order.currency} back, "
        f"but {operation.provider} says {charge.refunded}"
    )


__all__ = ["MONEY", "STOCK", "ProviderUnavailable", "broken", "disputed_by_provider"]
