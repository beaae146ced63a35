"""What a page of orders costs among a million of them, by each parameter of the list.

`bin/bench -k finding`. Figures are buffers (pages of 8 kB that Postgres looked at), the orders and
their lines apart, for values that many orders have, some, few and none. A page of orders costs no
more than LIMIT, but for DEAR.
"""

from datetime import datetime
from functools import partial
from typing import Any

import pytest
from django.db import connection

from ops.orders.finding import Search
from ops.orders.finding import found as found_by_staff
from orders.models import Client
from tests.bench.shop.million_orders import fill
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]

LIMIT = 100
STAFF_LIMIT = 1000  # of one search, which tries one meaning after the other
STAFF_TERMS = ["", "AAKA-AAAB", "shop-90000", "often@example.com", "佐藤花", "nobody here"]
STAFF_TERMS += ["090-0001-7000", "HOT", "SKU-17", "RARE", "gift", "vip"]
STAFF_FILTERS: list[dict[str, Any]] = [
    {"state": "completed"},
    {"state": "cancelled"},
    {"state": "received"},
    {"payment_state": "failed"},
    {"payment_state": "refunded"},
    {"fulfilment_state": "partial"},
    {"held": True},
    {"tag": "gift"},
    {"tag": "vip"},
    {"tag": "none"},
    {"state": "completed", "payment_state": "failed"},
    {"state": "confirmed", "fulfilment_state": "partial", "held": True},
    {"payment_state": "refunded", "tag": "vip"},
]
DEAR = {
    "tag=vip": 110,  # a buffer for each of the hundred that have it
    "updated_after={month}&sku=HOT": 450,  # four for each that changed, until twenty have it
}
MONTH_AGO = "(now() - interval '30 days')"
QUERIES: dict[str, list[str]] = {
    "nothing": [""],
    "number": ["number=aakaaaab", "number=AAKA-AAAB", "number=ZZZZ-ZZZZ"],
    "external_id": ["external_id=shop-900000", "external_id=none"],
    "email": ["email=OFTEN@example.com", "email=c17@example.com", "email=none@example.com"],
    "customer_name": ["customer_name=佐藤花", "customer_name=CUSTOMER 17017", "customer_name=none"],
    "phone": ["phone=090-0001-7000", "phone=+819099999999"],
    "state": ["state=completed", "state=cancelled", "state=confirmed", "state=received"],
    "payment_state": [
        "payment_state=paid",
        "payment_state=failed",
        "payment_state=refunded",
        "payment_state=pending",
    ],
    "fulfilment_state": [
        "fulfilment_state=full",
        "fulfilment_state=none",
        "fulfilment_state=partial",
    ],
    "held": ["held=true", "held=false"],
    "sku": ["sku=HOT", "sku=SKU-17", "sku=RARE", "sku=none"],
    "tag": ["tag=gift", "tag=vip", "tag=none"],
    "created": ["created_after={month}", "created_before={month}"],
    "updated": ["updated_after={month}", "updated_before={month}", "updated_after={now}"],
    "combined": [
        "state=confirmed&fulfilment_state=partial",
        "state=confirmed&held=true",
        "email=often@example.com&payment_state=refunded",
        "customer_name=佐藤&state=cancelled",
        "sku=RARE&payment_state=paid",
        "updated_after={month}&state=completed",
        "updated_after={month}&sku=HOT",
    ],
}


def test_finding_among_a_million_orders(api: Api, shop: Client, stock: Any) -> None:
    fill(shop, stock("HOT"))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {MONTH_AGO}::text, now()::text")
        month, now = (str(moment).replace(" ", "T") + ":00" for moment in cursor.fetchone())
    print(f"\n{'buffers':>10}   of the page's orders, and of the lines that are shown")
    for name, queries in QUERIES.items():
        for query in queries:
            buffers = show(api, name, query.format(month=month, now=now))
            assert buffers <= DEAR.get(query, LIMIT), query
    by_staff(shop, month)


def by_staff(shop: Client, month: str) -> None:
    """What a search costs, and a filter's page with its sums."""
    for term in STAFF_TERMS:
        plans = plans_of(partial(found_by_staff, term))
        buffers = sum(plan.buffers for plan in plans)
        print(f"{buffers:6}   staff look for {term!r}")
        assert buffers <= STAFF_LIMIT, term
    for filters in STAFF_FILTERS:
        month_ago = {"created_before": datetime.fromisoformat(month)}
        for narrowed in (filters, filters | month_ago):
            look = partial(found_by_staff, "", Search(narrowed, [shop]))
            buffers = sum(plan.buffers for plan in plans_of(look))
            print(f"{buffers:6}   staff filter by {narrowed}")
            assert buffers <= STAFF_LIMIT, narrowed


def show(api: Api, name: str, query: str) -> int:
    """The buffers of the page's orders."""
    found: list[Any] = []
    path = f"/v1/orders?{query.replace('+', '%2B')}"
    plans = plans_of(lambda: found.append(api.get(path)))
    assert found[0].status_code == 200, found[0].content
    of_orders = [plan for plan in plans if 'FROM "orders_order"' in plan.sql]
    of_lines = [plan for plan in plans if 'FROM "orders_orderline"' in plan.sql]
    nodes = " < ".join(node for node in of_orders[0].nodes if "Scan" in node)
    figures = [sum(plan.buffers for plan in group) for group in (of_orders, of_lines)]
    rows = len(found[0].json()["data"])
    print(f"{figures[0]:6} {figures[1]:5}   {name:16} {query:60} {rows:3} rows, {nodes}")
    return figures[0]
