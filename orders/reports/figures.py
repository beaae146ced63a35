"""The figures of a stretch of time, from the orders' events, in SQL. What they mean stands in
`orders.reports`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from orders.reports.days import Day

SOLD_COLUMNS = ("sku", "name", "quantity", "amount")
Figures = list[dict[str, Any]]  # one for each currency: what the API shows
FiguresOf = dict[tuple[UUID | None, str], dict[str, Any]]  # by client, or None, and currency

# The one place that says when money counts: what an event shows as captured or refunded beyond the
# event before it. The table of refunds would do for the latter, if it kept the time at which a
# refund succeeded.
MOVED = """
moved AS (
    SELECT event.owner AS client_id, event.data #>> '{order,currency}' AS currency,
           floor(extract(epoch FROM event.at - %(day_begin)s) / 3600)::int AS hour,
           (event.kind = 'order.confirmed')::int AS orders,
           coalesce((event.data #>> '{order,captured}')::bigint, 0)
               - coalesce((earlier.data #>> '{order,captured}')::bigint, 0) AS gross,
           coalesce((event.data #>> '{order,refunded}')::bigint, 0)
               - coalesce((earlier.data #>> '{order,refunded}')::bigint, 0) AS refunds
      FROM notifications_event AS event
      LEFT JOIN notifications_event AS earlier
        ON earlier.subject = event.subject AND earlier.seq = event.seq - 1
     WHERE event.at >= %(begin)s AND event.at < %(end)s AND event.kind LIKE 'order.%%'
       AND (%(client)s::uuid IS NULL OR event.owner = %(client)s)
)"""

SOLD = """
sold AS (
    SELECT event.owner AS client_id, event.data #>> '{order,currency}' AS currency,
           line ->> 'sku' AS sku,
           coalesce(nullif(line ->> 'name', line ->> 'sku'), '') AS name, -- called by its sku: none
           (line ->> 'quantity')::bigint AS quantity,
           (line ->> 'quantity')::bigint * (line ->> 'unit_price')::bigint
               - (line ->> 'discount')::bigint + (line ->> 'tax')::bigint AS amount
      FROM notifications_event AS event
     CROSS JOIN LATERAL jsonb_array_elements(event.data #> '{order,lines}') AS line
     WHERE event.at >= %(begin)s AND event.at < %(end)s AND event.kind = 'order.confirmed'
       AND (%(client)s::uuid IS NULL OR event.owner = %(client)s)
)"""

KEEP_MOVED = f"""
WITH {MOVED}
INSERT INTO orders_hourfigure (computation_id, client_id, currency, hour, orders, gross, refunds)
SELECT %(computation)s, client_id, currency, hour, sum(orders), sum(gross), sum(refunds) FROM moved
 WHERE orders <> 0 OR gross <> 0 OR refunds <> 0 GROUP BY client_id, currency, hour
"""  # noqa: S608 - put together from the texts above

KEEP_SOLD = f"""
WITH {SOLD}
INSERT INTO orders_skufigure (computation_id, client_id, currency, sku, name, quantity, amount)
SELECT %(computation)s, client_id, currency, sku, max(name COLLATE "C"), sum(quantity), sum(amount)
  FROM sold
 GROUP BY client_id, currency, sku
"""  # noqa: S608 - put together from the texts above

KEPT_MOVED = "moved AS (SELECT * FROM orders_hourfigure WHERE computation_id = %(computation)s)"
KEPT_SOLD = "sold AS (SELECT * FROM orders_skufigure WHERE computation_id = %(computation)s)"

# For each client, and with NULL in its place for all of them.
BY_HOUR = """
SELECT client_id, currency, hour, sum(orders)::bigint, sum(gross)::bigint, sum(refunds)::bigint
  FROM moved
 WHERE orders <> 0 OR gross <> 0 OR refunds <> 0
 GROUP BY GROUPING SETS ((client_id, currency, hour), (currency, hour)) ORDER BY currency, hour
"""

BY_SKU = """
SELECT client_id, currency, sku, name, quantity, amount FROM (
    SELECT client_id, currency, sku, max(name COLLATE "C") AS name,
           sum(quantity)::bigint AS quantity, sum(amount)::bigint AS amount,
           row_number() OVER (PARTITION BY client_id, currency
                              ORDER BY sum(amount) DESC, sum(quantity) DESC, sku COLLATE "C")
               AS place
      FROM sold GROUP BY GROUPING SETS ((client_id, currency, sku), (currency, sku))
) AS ranked WHERE place <= %(top)s ORDER BY place
"""

CUTS = """
SELECT DISTINCT at FROM (
    SELECT at, row_number() OVER (ORDER BY at) AS place
      FROM notifications_event WHERE at >= %(begin)s AND at < %(end)s
) AS numbered WHERE place > 1 AND place %% %(size)s = %(rest)s ORDER BY at
"""


COUNT = """
SELECT count(*) FROM (
    SELECT FROM notifications_event WHERE at >= %(begin)s AND at < %(end)s LIMIT %(n)s
) AS counted
"""


def parts(day: Day, *, until: datetime) -> list[tuple[datetime, datetime]]:
    """The day up to then, cut into stretches of about REPORT_PART_EVENTS events each."""
    end, size = min(day.end, until), settings.REPORT_PART_EVENTS
    stretch = {"begin": day.begin, "end": end, "size": size, "rest": 1 % size}
    cuts = [cut for (cut,) in _rows(CUTS, stretch)]
    return [(begin, end) for begin, end in pairwise([day.begin, *cuts, end]) if begin < end]


def keep_part(computation: UUID, day: Day, *, begin: datetime, end: datetime) -> None:
    """Write down what moved and what was sold in that stretch of the day."""
    stretch = {
        "computation": computation,
        "client": None,
        "day_begin": day.begin,
        "begin": begin,
        "end": end,
    }
    with connection.cursor() as cursor:
        cursor.execute(KEEP_MOVED, stretch)
        cursor.execute(KEEP_SOLD, stretch)


def added_up(computation: UUID, day: Day) -> dict[UUID | None, Figures]:
    """The figures of each client for which anything moved, and under None those of all clients
    together.
    """
    return _figures(KEPT_MOVED, KEPT_SOLD, day, {"computation": computation})


def at_once(client: UUID | None, day: Day, *, until: datetime) -> Figures:
    """One client's figures up to then, or those of all, computed on the spot. For a day of few
    events: see `is_small`.
    """
    stretch = {
        "client": client,
        "day_begin": day.begin,
        "begin": day.begin,
        "end": min(day.end, until),
    }
    return _figures(MOVED, SOLD, day, stretch).get(client, [])


def is_small(day: Day, most: int) -> bool:
    """True when no more than so many events have to be read."""
    [(count,)] = _rows(COUNT, {"begin": day.begin, "end": day.end, "n": most + 1})
    return int(count) <= most


def first_moment() -> datetime | None:
    """When anything happened for the first time."""
    [(first,)] = _rows("SELECT min(at) FROM notifications_event WHERE kind LIKE 'order.%%'", {})
    moment: datetime | None = first
    return moment


def _figures(moved: str, sold: str, day: Day, where: dict[str, Any]) -> dict[UUID | None, Figures]:
    """The figures of each client, and under None those of all: what `moved` and `sold` find in SQL
    with these parameters.
    """
    hours = day.hours()
    found: FiguresOf = {}
    for client, currency, hour, *amounts in _rows(f"WITH {moved} {BY_HOUR}", where):
        if (client, currency) not in found:
            found[client, currency] = _nothing(currency, hours)
        of_currency = found[client, currency]
        _add(of_currency, amounts)
        _add(of_currency["by_hour"][hour], amounts)
    top = {**where, "top": settings.REPORT_TOP_SKUS}
    for client, currency, *of_sku in _rows(f"WITH {sold} {BY_SKU}", top):
        goods = dict(zip(SOLD_COLUMNS, of_sku, strict=True))
        found[client, currency]["top_skus"].append(goods)
    return _by_client(found)


def _nothing(currency: str, hours: Iterable[datetime]) -> dict[str, Any]:
    zeros = {"orders": 0, "gross": 0, "refunds": 0, "net": 0}
    by_hour = [{"hour": hour.isoformat(), **zeros} for hour in hours]
    return {"currency": currency, **zeros, "by_hour": by_hour, "top_skus": []}


def _add(to: dict[str, Any], amounts: Sequence[int]) -> None:
    orders, gross, refunds = amounts
    to["orders"] += orders
    to["gross"] += gross
    to["refunds"] += refunds
    to["net"] += gross - refunds


def _by_client(found: FiguresOf) -> dict[UUID | None, Figures]:
    figures: dict[UUID | None, Figures] = {}
    for (client, _), of_currency in found.items():
        figures.setdefault(client, []).append(of_currency)
    return figures


def _rows(query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
